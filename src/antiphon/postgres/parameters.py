"""The parameters of a PostgreSQL URL: those of libpq, each supported or refused by its name, and our own `direct`.

Any other parameter is a setting of the server (`search_path=chats`); the server refuses an unknown one by name. The
`service` of a libpq service file is read here, so that the same rules apply to its parameters.
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from antiphon.core.values import Value
from antiphon.errors import Invalid

PASSED_ON = frozenset(
    {
        "passfile",
        "sslmode",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslrootcert",
        "sslcrl",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "krbsrvname",
        "gsslib",
    }
)
"""Parameters that asyncpg supports as libpq does."""

LOCATION = frozenset({"host", "port", "dbname", "user", "password"})

CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "read-write", "primary"),
    "load_balance_hosts": ("disable", "random"),
    "keepalives": ("0", "1"),
    "client_encoding": ("auto", "UTF8", "utf8", "UTF-8", "utf-8"),
    "gssencmode": ("disable", "prefer"),
    "channel_binding": ("disable", "prefer"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "sslcertmode": ("allow",),
    "gssdelegation": ("0",),
    "replication": ("false", "no", "off", "0"),
}
"""Parameters of which only these values are supported."""

NUMBERS = frozenset(
    {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

REFUSED: Mapping[str, str] = {
    "hostaddr": "write the address as host",
    "require_auth": "the authentication cannot be restricted here",
    "requirepeer": "the server's user cannot be checked here",
    "requiressl": "write sslmode=require",
    "sslcrldir": "name one file with sslcrl",
    "sslkeylogfile": "set the environment variable SSLKEYLOGFILE",
    "min_protocol_version": "the protocol's version cannot be chosen here",
    "max_protocol_version": "the protocol's version cannot be chosen here",
    "authtype": "libpq itself ignores it",
    "tty": "libpq itself ignores it",
    "servicefile": "set the environment variable PGSERVICEFILE",
}
"""Parameters of libpq that are not supported, and what to do instead."""


class Parameters(Value):
    """The parameters of a URL. `passed_on` are for asyncpg, `settings` for the session. Times are in seconds (0: not
    given)."""

    location: dict[str, str]
    passed_on: dict[str, str]
    settings: dict[str, str]
    direct: str = ""
    connect_timeout_s: int = 0
    session_attribute: str = "any"
    is_shuffled: bool = False
    has_keepalives: bool = True
    keepalives_idle: int = 0
    keepalives_interval: int = 0
    keepalives_count: int = 0
    tcp_user_timeout: int = 0


def read_parameters(given: Mapping[str, str]) -> Parameters:
    """The parameters by their names. Raises `Invalid` with the name of one that is not supported."""
    named = dict(given)
    service = named.pop("service", "")
    if service:
        named = _service(service) | named
    if "database" in named:
        named["dbname"] = named.pop("database")
    for name, value in named.items():
        _check(name, value)
    settings = _settings(named)
    numbers = {name: int(named[name]) for name in NUMBERS - {"connect_timeout"} if name in named}
    return Parameters(
        location={name: named[name] for name in LOCATION if name in named},
        passed_on={name: named[name] for name in PASSED_ON if name in named},
        settings=settings,
        direct=named.get("direct", ""),
        connect_timeout_s=int(named.get("connect_timeout", "0")),
        session_attribute=named.get("target_session_attrs", "any"),
        is_shuffled=named.get("load_balance_hosts") == "random",
        has_keepalives=named.get("keepalives") != "0",
        **numbers,
    )


def _check(name: str, value: str) -> None:
    if name in REFUSED:
        raise _refused(name, f"it is not supported; {REFUSED[name]}")
    if name in CHOICES and value not in CHOICES[name]:
        raise _refused(name, f"this value is not supported; write {' or '.join(CHOICES[name])}")
    if name in NUMBERS and not (value.isascii() and value.isdecimal() and len(value) < 8):
        raise _refused(name, "a whole number that is not negative")
    if name in FILES and not os.access(value, os.R_OK):
        raise _refused(name, f"there is no file {value[:200]} that can be read")


def _settings(named: Mapping[str, str]) -> dict[str, str]:
    """The session's settings: those in `options`, and every parameter that is not one of libpq."""
    ours = {*PASSED_ON, *LOCATION, *CHOICES, *NUMBERS, "direct", "options", "fallback_application_name"}
    settings = _options(named.get("options", ""))
    settings |= {name: value for name, value in named.items() if name not in ours}
    fallback = named.get("fallback_application_name")
    if fallback is not None:
        settings.setdefault("application_name", fallback)
    for name in settings:
        if not all(word.replace("_", "a").isalnum() for word in name.split(".")):
            raise _refused(name[:40], "there is no such parameter")
    return settings


def _options(text: str) -> dict[str, str]:
    """The settings in `-c name=value`, `-cname=value` and `--name=value`. A backslash escapes a space in a value."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _refused("options", "a quote or a backslash is not closed") from error
    settings, index = {}, 0
    while index < len(words):
        word = words[index]
        if word == "-c" and index + 1 < len(words):
            index += 1
            pair = words[index]
        elif word.startswith("--") or (word.startswith("-c") and len(word) > 2):
            pair = word[2:]
        else:
            raise _refused("options", f"{word[:40]!r} is not supported; write -c name=value")
        name, separator, value = pair.partition("=")
        if not separator:
            raise _refused("options", f"{pair[:40]!r} is not supported; write -c name=value")
        settings[name.replace("-", "_")] = value
        index += 1
    return settings


def _service(name: str) -> dict[str, str]:
    path = Path(os.environ.get("PGSERVICEFILE") or Path("~/.pg_service.conf").expanduser())
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _refused("service", f"{path} cannot be read as a service file") from error
    if name not in parser.sections():
        raise _refused("service", f"{path} has no service {name[:40]!r}")
    return dict(parser[name])


def _refused(name: str, reason: str) -> Invalid:
    return Invalid(f"the database's URL: {name}", reason)
