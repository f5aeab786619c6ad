"""Access checks: Host and Origin first, then the bearer token or the session cookie, then the route's policy."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request

from antiphon.api.http.host_sign_in import HostSignIn
from antiphon.api.http.table import Policy
from antiphon.chats.shares import authenticate_share
from antiphon.chats.tokens import Tokens
from antiphon.errors import Forbidden, Unauthenticated
from antiphon.options import Options
from antiphon.ports import ShareStore, Token

COOKIE = "antiphon_session"
SOCKET_PROTOCOL = "antiphon.v1"
"""The subprotocol of WebSockets."""
ASGI_SOCKET = "antiphon.socket"
"""The extension of a request that came as a WebSocket from another ASGI server."""
SOCKET_TOKEN = "antiphon.token."
"""The beginning of the subprotocol by which a browser gives its token: it cannot set headers of a WebSocket."""
ANY_ADDRESS = "any address"
"""Among the allowed hosts: every numeric address."""

SINGLE_HEADERS = ("host", "origin", "authorization", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
"""Headers that must not be repeated: access depends on them."""

HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::(?P<port>[0-9]{1,5})?)?")
"""A Host header (RFC 9110, section 7.2): a name or an address, and the port. The port may be empty."""


PORT_MAX = 65_535


class OriginGate:
    """Rejects requests that a foreign web page made a browser send."""

    def __init__(self, options: Options) -> None:
        self._hosts = tuple(host.lower() for host in options.hosts)
        if not options.is_loopback:
            self._hosts += (ANY_ADDRESS, options.host.lower())
        self._any_host = options.behind_proxy or "*" in self._hosts
        self._origins = frozenset(options.allow_origin)

    def check(self, request: Request, place: str) -> None:
        """Raises `Forbidden`, or `HTTPException` (400) for headers that contradict each other. `place` is the path
        below where the app is mounted."""
        check_single(request.headers)
        is_read = request.method == "GET"
        check_origin(
            request.headers,
            self._hosts,
            any_host=self._any_host,
            is_page=is_read and place == "/",
            is_asset=is_read and place.startswith("/assets/"),
            allowed_origins=self._origins,
        )


def check_single(headers: Headers) -> None:
    """Reject a repeated Host, Origin, Authorization or Sec-Fetch header: a proxy in front may have read the first one
    and this server the second."""
    for name in SINGLE_HEADERS:
        if len(headers.getlist(name)) > 1:
            raise HTTPException(400, f"The header {name} is repeated in this request; send it once.")


def check_origin(
    headers: Headers,
    allowed_hosts: tuple[str, ...],
    *,
    any_host: bool,
    is_page: bool,
    is_asset: bool = False,
    allowed_origins: frozenset[str] = frozenset(),
) -> None:
    """Refuse what a foreign web page makes a browser send: a foreign Host (DNS rebinding) or Origin. Only
    links to the web UI may come from any site: it is the same for every user. So are its assets, some of which its
    frame without an origin loads; `Cross-Origin-Resource-Policy` protects the others."""
    host = headers.get("host", "")
    if not any_host and not _is_own_host(host, allowed_hosts):
        raise Forbidden("this server does not go by that Host name (`antiphon serve --allow-host NAME` adds one)")
    origin = headers.get("origin")
    if origin in allowed_origins or (is_asset and origin in (None, "null")):
        return
    if origin is not None and (not host or origin.partition("://")[2].lower() != host.lower()):
        raise Forbidden("this origin is not allowed (`antiphon serve --allow-origin ORIGIN` allows one)")
    is_link = is_page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if origin is None and not is_link and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Forbidden("requests from other sites are not accepted")


@lru_cache(1024)
def _is_own_host(host: str, allowed_hosts: tuple[str, ...]) -> bool:
    """Whether `host` is a name of this server. No DNS can point a numeric address at this server, so any is accepted
    where the server can be reached from other machines (ANY_ADDRESS)."""
    found = HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > PORT_MAX:
        return False
    name = (found["name"] or found["address"]).lower()
    if name == "localhost" or name in allowed_hosts:
        return True
    try:
        return ip_address(name).is_loopback or ANY_ADDRESS in allowed_hosts
    except ValueError:
        return False


async def authorize(
    tokens: Tokens, shares: ShareStore, request: Request, policy: Policy, sign_in: HostSignIn | None = None
) -> Token | None:
    """The access check of every route and stream.

    The sign-in of the application around an embedded instance comes first, then the token of this instance. A token
    gives access to its owner's chats only: the handlers reach chats through `OwnedChats`.

    Args:
        tokens: The tokens and sessions of this instance.
        shares: The links to chats. Only the routes for links accept them, and they accept nothing else.
        request: The request.
        policy: Who may use the route.
        sign_in: The sign-in of the application around the instance.

    Returns:
        The token; None if the route is open to all.

    Raises:
        Unauthenticated: There is no valid token.
        Forbidden: The route is for admins.
    """
    if policy is Policy.OPEN:
        return None
    if policy is Policy.SHARE:
        return await authenticate_share(shares, bearer(request) or "")
    token = await sign_in.token_of(request) if sign_in is not None else None
    if token is None:
        token = await _token_of(tokens, request)
    if policy is Policy.ADMIN and not token.is_admin:
        raise Forbidden
    return token


async def _token_of(tokens: Tokens, request: Request) -> Token:
    """By the Authorization header, else by the session cookie. Raises `Unauthenticated`."""
    secret = bearer(request)
    if secret is not None:
        return await tokens.authenticate(secret)
    session = session_secret(request)
    if session is None:
        raise Unauthenticated
    return await tokens.authenticate_session(session)


def bearer(request: Request) -> str | None:
    """The token in the Authorization header, or among the subprotocols of a WebSocket."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    if is_websocket(request):
        tokens = (name for name in offered_protocols(request) if name.startswith(SOCKET_TOKEN))
        return next(tokens, "").removeprefix(SOCKET_TOKEN) or None
    return None


def is_websocket(request: Request) -> bool:
    """Whether a request is the handshake of a WebSocket."""
    if ASGI_SOCKET in request.scope.get("extensions", {}):
        return True
    return request.method == "GET" and request.headers.get("upgrade", "").lower() == "websocket"


def offered_protocols(request: Request) -> list[str]:
    """The subprotocols that a client of a WebSocket offers."""
    return [name.strip() for name in request.headers.get("sec-websocket-protocol", "").split(",")]


def session_secret(request: Request) -> str | None:
    """The secret in the session cookie; it is not a token."""
    return request.cookies.get(cookie_name(request)) or None


def cookie_name(request: Request) -> str:
    """The name of the session cookie. It has the port, because browsers share cookies between the ports of a host."""
    _, colon, port = request.headers.get("host", "").rpartition(":")
    return f"{COOKIE}_{port}" if colon and port.isdigit() else COOKIE
