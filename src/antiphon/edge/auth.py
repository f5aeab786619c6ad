"""Who asks: the Host and Origin first, then the bearer token or the page's cookie, then the route's policy."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request

from antiphon.edge.table import Policy
from antiphon.errors import Forbidden, Unauthenticated
from antiphon.ports import Token

if TYPE_CHECKING:
    from antiphon.app import Instance

COOKIE = "antiphon_session"


def check_origin(headers: Headers, allowed_hosts: tuple[str, ...], *, any_host: bool) -> None:
    """Refuse what a foreign web page makes a browser send: a foreign Host (DNS rebinding) or Origin."""
    host = headers.get("host", "")
    if not any_host and not _is_own_host(host, allowed_hosts):
        raise Forbidden("this server does not go by that Host name")
    origin = headers.get("origin")
    if origin is not None and (not host or origin.partition("://")[2].lower() != host.lower()):
        raise Forbidden("requests from other origins are not taken")
    if origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Forbidden("requests from other sites are not taken")


def _is_own_host(host: str, allowed_hosts: tuple[str, ...]) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost" or name in allowed_hosts:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


async def authorize(instance: Instance, request: Request, policy: Policy) -> Token | None:
    """The one gate of every route and stream. Raises `Unauthenticated` or `Forbidden`.

    What a token may see is its owner's only: the handlers get at chats through `OwnedChats`.
    """
    if policy is Policy.OPEN:
        return None
    secret = bearer(request)
    if secret is None:
        raise Unauthenticated
    token = await instance.tokens.authenticate(secret)
    if policy is Policy.ADMIN and not token.is_admin:
        raise Forbidden
    return token


def bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.cookies.get(COOKIE) or None
