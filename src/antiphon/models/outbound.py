"""Checks the addresses that users choose (a provider's base URL) before this server connects to them.

A user could name services of this machine, of its network or of the cloud (server-side request forgery). So a name is
resolved once, each of its addresses is checked, and the connection goes to an address that was checked: a name that
resolves to another address later (DNS rebinding) has no effect. Only public addresses are allowed, and only over TLS,
unless the operator allows the host (`--allow-outbound`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from antiphon.core.values import Value
from antiphon.errors import Invalid

URL_MAX = 2_048
"""Maximum length of a URL, in characters."""
ADDRESSES_MAX = 16
"""Maximum number of addresses of a host that are used."""
DEFAULT_PORTS = {"http": 80, "https": 443}

GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
PUBLIC_BUT_INSIDE = frozenset({IPv4Address("168.63.129.16")})
"""Services of a cloud for its own machines, at addresses in the public range."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefused(OSError):
    """The host may not be reached from here."""

    def __init__(self, host: str, reason: str = "it is not a public address") -> None:
        super().__init__(f"{host[:255]} may not be reached from here: {reason}")
        self.host = host


class Outbound(Value):
    """The addresses that may be reached. `allowed` are the operator's hosts, each with a port (0: any); `*` is every
    host."""

    allowed: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def make(texts: Sequence[str]) -> Outbound:
        """From `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` and `*`. Raises `Invalid`."""
        return Outbound(allowed=tuple(_read_host(text) for text in texts))

    def allows(self, host: str, port: int) -> bool:
        """Whether the operator allows the host."""
        name = host.strip("[]").rstrip(".").lower()
        return any(allowed in ("*", name) and allowed_port in (0, port) for allowed, allowed_port in self.allowed)

    def check_url(self, url: str, *, field: str = "base_url") -> None:
        """Check a URL without resolving its host. Raises `Invalid`."""
        parts = _split(url, field)
        host = parts.hostname or ""
        is_allowed = self.allows(host, parts.port or DEFAULT_PORTS[parts.scheme])
        if parts.scheme == "http" and not is_allowed:
            raise Invalid(field, "https only; the operator may name a host for http by --allow-outbound")
        address = numeric_address(host)
        if address is not None and not is_allowed and not is_public(address):
            raise Invalid(field, "not a public address; the operator may name it by --allow-outbound")

    async def addresses(self, host: str, port: int, resolve: Resolve | None = None) -> tuple[str, ...]:
        """The addresses of a host, all of them checked. Raises `AddressRefused`, and OSError if it has none."""
        found = tuple(await (resolve or resolve_host)(host, port))[:ADDRESSES_MAX]
        if not found:
            raise OSError(f"{host[:255]} has no address")
        if not self.allows(host, port) and not all(is_public(address) for address in found):
            raise AddressRefused(host)
        return found


def is_public(text: str) -> bool:
    """Whether an address is public. Of an address that embeds another one, the embedded one counts."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
        if inner is not None:
            return is_public(str(inner))
        if address not in GLOBAL_UNICAST or address.teredo is not None:
            return False
    is_usual = address.is_global and not address.is_multicast and not address.is_reserved
    return is_usual and address not in PUBLIC_BUT_INSIDE


def numeric_address(host: str) -> str | None:
    """The address of a host in numeric form, as a resolver reads it (`2130706433` and `0177.1` are 127.0.0.1)."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])


async def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a host from the system's resolver."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host[:255]} is no name of a host") from error
    return tuple(dict.fromkeys(str(item[4][0]) for item in found))


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else None


def _split(url: str, field: str) -> SplitResult:
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Invalid(field, f"an address of at most {URL_MAX} printable ASCII characters")
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise Invalid(field, "an address like https://api.example.com/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Invalid(field, "no name, password, query or fragment goes into the address")
    return parts


def _read_host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    if not host or parts.path or parts.query or "@" in text:
        raise Invalid("--allow-outbound", f"HOST or HOST:PORT, not {text[:80]!r}")
    return host.rstrip(".").lower(), port
