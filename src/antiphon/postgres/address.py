"""The address of a PostgreSQL database, read from its URL: its hosts, the login, and the session's parameters.

    postgresql://user@one:5432,two:5432/chats?target_session_attrs=read-write&connect_timeout=3
    postgresql://user@pgbouncer:6432/chats?direct=postgres:5432

`direct` is a second address of the same database, `HOST:PORT` or a URL. Locks and LISTEN need a session, and use it
where the first address leads to a pooler in transaction mode.
"""

from __future__ import annotations

import random
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from msgspec.structs import replace

from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.postgres.parameters import Parameters, read_parameters

PORT = 5432
HOSTS_MAX = 16
"""Maximum number of hosts in a URL."""

Host = tuple[str, int]
"""A host name, an IP address or a socket's folder, and the port."""


class Address(Value):
    """The address. If `hosts` is empty, libpq's environment variables or the local sockets give the server. `direct`
    is the second address, if the URL has one."""

    hosts: tuple[Host, ...]
    user: str | None
    password: str | None
    database: str | None
    parameters: Parameters
    direct: Address | None = None

    @property
    def for_sessions(self) -> Address:
        """The address that supports sessions: not a pooler in transaction mode."""
        return self.direct or self

    @property
    def is_chosen(self) -> bool:
        """Whether the URL names several hosts or a kind of server, so that the right one must be found."""
        return len(self.hosts) > 1 or self.parameters.session_attribute != "any"

    def hosts_to_try(self) -> tuple[Host | None, ...]:
        """The hosts in the order of the URL, or shuffled if it says so. None: the one of the environment."""
        if not self.hosts:
            return (None,)
        hosts = list(self.hosts)
        if self.parameters.is_shuffled:
            random.shuffle(hosts)
        return tuple(hosts)

    def dsn(self) -> str:
        """The URL for asyncpg: its parameters only."""
        return f"postgresql://?{urlencode(self.parameters.passed_on)}" if self.parameters.passed_on else ""


@lru_cache(maxsize=64)
def read_address(url: str) -> Address:
    """The address of a URL. Raises `Invalid`, without quoting the URL: it may contain a password."""
    try:
        parts = urlsplit(url)
        named = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise _unreadable() from None
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
        raise _unreadable()
    parameters = read_parameters(named)
    location = parameters.location
    user, password, host_list = _authority(parts.netloc)
    is_named = "host" in location
    address = Address(
        hosts=_hosts(location["host"], location.get("port", "")) if is_named else _hosts_of(host_list, location),
        user=location.get("user", user),
        password=location.get("password", password),
        database=location.get("dbname", unquote(parts.path[1:]) or None),
        parameters=parameters,
    )
    return replace(address, direct=_direct(address)) if parameters.direct else address


def _authority(netloc: str) -> tuple[str | None, str | None, str]:
    credentials, separator, hosts = netloc.rpartition("@")
    if not separator:
        return None, None, hosts
    user, has_password, password = credentials.partition(":")
    return unquote(user) or None, unquote(password) if has_password else None, hosts


def _hosts_of(text: str, location: dict[str, str]) -> tuple[Host, ...]:
    """The hosts before the path, `h1:p1,h2:p2`. A port in the query applies to those without one."""
    if not text:
        return ()
    default = _port(location.get("port") or str(PORT))
    hosts = []
    for each in text.split(","):
        if each.startswith("["):
            name, closed, rest = each[1:].partition("]")
            if not closed or (rest and not rest.startswith(":")):
                raise _unreadable()
            port = rest[1:]
        else:
            name, _, port = each.partition(":")
        hosts.append((unquote(name) or "localhost", _port(port) if port else default))
    return _bounded(hosts)


def _hosts(names: str, ports: str) -> tuple[Host, ...]:
    """The hosts of `host=h1,h2&port=p1,p2`: one port for all, or one for each host."""
    split, numbers = names.split(","), [_port(port or str(PORT)) for port in ports.split(",")]
    if len(numbers) not in (1, len(split)):
        raise Invalid("the database's URL: port", f"one port, or one for each of the {len(split)} hosts")
    if len(numbers) == 1:
        numbers *= len(split)
    return _bounded([(name or "localhost", port) for name, port in zip(split, numbers, strict=True)])


def _bounded(hosts: list[Host]) -> tuple[Host, ...]:
    if len(hosts) > HOSTS_MAX:
        raise Invalid("the database's URL: host", f"at most {HOSTS_MAX} hosts")
    return tuple(hosts)


def _port(text: str) -> int:
    text = unquote(text)
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536):
        raise _unreadable()
    return int(text)


def _direct(address: Address) -> Address:
    """The second address. `HOST:PORT` stands for the same database and user."""
    text = address.parameters.direct
    if "://" in text:
        direct = read_address(text)
        if direct.direct is not None:
            raise Invalid("the database's URL: direct", "it names a database that has no `direct` of its own")
        return direct
    hosts = _hosts_of(text, {})
    if not hosts:
        raise Invalid("the database's URL: direct", "HOST:PORT or a URL of the same database")
    return replace(address, hosts=hosts, parameters=replace(address.parameters, direct=""))


def _unreadable() -> Invalid:
    return Invalid("store", "it must look like postgresql://user@host:5432/database, or sqlite:PATH")
