"""Opens connections to one provider: resolves and checks addresses, uses the environment's HTTP proxy, and TLS."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.models.outbound import DEFAULT_PORTS, AddressRefused, Outbound, Resolve, resolve_host

PROXY_HEAD_BYTES_MAX = 16 * 1024
"""Maximum size of a proxy's response to CONNECT, in bytes."""
NOT_A_URL = "a URL like https://api.example.com/v1"
ADDRESS_SHARE_S_MIN = 2.0
"""Minimum time for one address of a host that has several, in seconds."""

P = TypeVar("P", bound=asyncio.Protocol)


class ConnectFailed(Exception):
    """Connecting failed; the text says at which step. `is_refused`: the address is forbidden, so a retry is
    useless."""

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


class Origin(Value):
    """The target of requests. `path` is the prefix of every request's path, without a trailing slash."""

    is_tls: bool
    host: str
    port: int
    path: str
    query: str = ""

    @staticmethod
    def parse(url: str) -> Origin:
        """Raises `Invalid` for a URL that is not http(s), contains credentials or is not printable ASCII."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        except ValueError:
            raise Invalid("base_url", NOT_A_URL) from None
        if "@" in parts.netloc:
            raise Invalid("base_url", "credentials do not belong into the URL: set the API key instead")
        is_printable = url.isascii() and url.isprintable() and " " not in url
        if not host or not port or not is_printable:
            raise Invalid("base_url", NOT_A_URL)
        return Origin(
            is_tls=parts.scheme == "https", host=host, port=port, path=parts.path.rstrip("/"), query=parts.query
        )

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"


class Proxy(Value):
    """An HTTP proxy. `authorization` is the value of Proxy-Authorization, empty if none is needed."""

    host: str
    port: int
    authorization: str = ""


def proxy_of(origin: Origin, env: Mapping[str, str]) -> Proxy | None:
    """The proxy that `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` (either case) name for this origin.
    Raises `Invalid` for one that is not supported (SOCKS, or TLS to the proxy itself)."""
    proxies = {name.lower(): value for name, value in env.items() if value and name.lower().endswith("_proxy")}
    found = proxies.get("https_proxy" if origin.is_tls else "http_proxy") or proxies.get("all_proxy")
    if not found or _is_excluded(origin, proxies.get("no_proxy", "")):
        return None
    try:
        parts = urlsplit(found if "://" in found else f"http://{found}")
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise Invalid("proxy", "a proxy is named as http://HOST:PORT") from None
    if parts.scheme != "http" or not host:
        raise Invalid("proxy", "only http:// proxies are supported; no_proxy can exclude a host")
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    token = base64.b64encode(user.encode()).decode() if parts.username else ""
    return Proxy(host=host, port=port, authorization=f"Basic {token}" if token else "")


def _is_excluded(origin: Origin, no_proxy: str) -> bool:
    """`no_proxy` lists hosts, with or without a port, whose subdomains are excluded as well; `*` is every host."""
    host = origin.host.rstrip(".")
    for entry in filter(None, (item.strip().lower() for item in no_proxy.split(","))):
        is_address = entry.count(":") > 1 and not entry.startswith("[")
        name, port = (entry, "") if is_address or not entry.rpartition(":")[2].isdecimal() else entry.rsplit(":", 1)
        name = name.strip("[].") if name == "*" else name.removeprefix("*").strip("[].")
        is_host = name == "*" or host == name or host.endswith(f".{name}")
        if is_host and port in ("", str(origin.port)):
            return True
    return False


def make_tls_context() -> ssl.SSLContext:
    """The system's certificates, or those of SSL_CERT_FILE and SSL_CERT_DIR."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Opens connections to one origin. With `outbound` every address is checked first, and no proxy is used, because
    a proxy would resolve the name itself."""

    def __init__(
        self,
        origin: Origin,
        *,
        proxy: Proxy | None = None,
        outbound: Outbound | None = None,
        resolve: Resolve | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        assert proxy is None or outbound is None, "a proxy resolves names itself: addresses would go unchecked"
        self.origin = origin
        self.proxy = proxy
        self._outbound = outbound
        self._resolve = resolve or resolve_host
        self._tls_context = tls_context

    async def connect(self, make_protocol: Callable[[], P], *, timeout_s: float) -> P:
        """A protocol whose connection is ready for a request. Raises `ConnectFailed` and TimeoutError."""
        tls = await self._tls() if self.origin.is_tls else None
        async with asyncio.timeout(timeout_s):
            try:
                if self.proxy is not None:
                    return await self._connect_by_proxy(self.proxy, make_protocol, tls)
                return await self._connect_to(
                    await self._addresses(), self.origin.port, make_protocol, tls, timeout_s=timeout_s
                )
            except ssl.SSLError as error:
                raise ConnectFailed(f"TLS failed: {error.reason or 'the certificate is not trusted'}") from error
            except TimeoutError:
                raise
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "its host name is not valid"
                raise ConnectFailed(reason or "the connection was refused") from error

    async def _tls(self) -> ssl.SSLContext:
        if self._tls_context is None:
            self._tls_context = await asyncio.to_thread(make_tls_context)  # reads all certificates: 20 ms
        return self._tls_context

    async def _addresses(self) -> tuple[str, ...]:
        try:
            if self._outbound is not None:
                return await self._outbound.addresses(self.origin.host, self.origin.port, self._resolve)
            found = tuple(await self._resolve(self.origin.host, self.origin.port))
        except AddressRefused as error:
            raise ConnectFailed("its address leads to no public place", is_refused=True) from error
        except OSError as error:
            raise ConnectFailed("its host name is not known") from error
        if not found:
            raise ConnectFailed("its host name has no address")
        return found

    async def _connect_to(
        self,
        addresses: tuple[str, ...],
        port: int,
        make_protocol: Callable[[], P],
        tls: ssl.SSLContext | None,
        *,
        timeout_s: float,
    ) -> P:
        """Connect to the first address that answers. Each has its share of the time, so a dead one takes no more."""
        loop = asyncio.get_running_loop()
        share_s = max(timeout_s / len(addresses), ADDRESS_SHARE_S_MIN)
        failure: OSError | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(share_s):
                    _, protocol = await loop.create_connection(
                        make_protocol, address, port, ssl=tls, server_hostname=self.origin.host if tls else None
                    )
                    return protocol
            except ssl.SSLError:
                raise
            except OSError as error:  # TimeoutError is one
                failure = error
        assert failure is not None, "there is at least one address"
        raise failure

    async def _connect_by_proxy(self, proxy: Proxy, make_protocol: Callable[[], P], tls: ssl.SSLContext | None) -> P:
        """Plain requests are sent to the proxy itself, TLS through a tunnel (CONNECT)."""
        loop = asyncio.get_running_loop()
        if tls is None:
            _, direct = await loop.create_connection(make_protocol, proxy.host, proxy.port)
            return direct
        transport, tunnel = await loop.create_connection(_Tunnel, proxy.host, proxy.port)
        try:
            host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
            await tunnel.open(f"{host}:{self.origin.port}", proxy.authorization)
            protocol = make_protocol()
            transport.set_protocol(protocol)
            secured = await loop.start_tls(transport, protocol, tls, server_hostname=self.origin.host)
        except BaseException:
            transport.abort()
            raise
        protocol.connection_made(cast("asyncio.Transport", secured))
        return protocol


class _Tunnel(asyncio.Protocol):
    """Requests a tunnel from a proxy and reads the head of its response."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def open(self, authority: str, authorization: str) -> None:
        credentials = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        self._transport.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n".encode())
        await self._opened

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._opened.done():
            return
        if b"\r\n\r\n" in self._head:
            status = bytes(self._head[:64]).split(b" ")[1:2]
            if status and len(status[0]) == 3 and status[0].startswith(b"2"):
                self._opened.set_result(None)
            else:
                code = b"".join(status).decode("ascii", "replace")[:3]
                self._opened.set_exception(ConnectFailed(f"the proxy refused the tunnel (status {code})"))
        elif len(self._head) > PROXY_HEAD_BYTES_MAX:
            self._opened.set_exception(ConnectFailed("the proxy's answer is too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectFailed("the proxy closed the connection"))
