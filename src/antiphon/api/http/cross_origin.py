"""Browsers on other origins (CORS): the listed ones may use the API with credentials; other origins
get no CORS headers.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Send

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = "Authorization, Content-Type, Last-Event-ID, X-Filename"
"""The headers that this server reads. Clients of other protocols send further ones (`X-Stainless-Lang`), which a
listed origin may send, too."""
HEADER_NAMES_MAX = 64
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
EXPOSED = "Content-Disposition, Content-Range, ETag, Retry-After, antiphon-chat-id, antiphon-ignored, Mcp-Session-Id"
PREFLIGHT_S = 600


class CrossOrigin:
    """Adds the CORS headers for the `allowed` origins, each exactly as a browser sends it."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = frozenset(allowed)

    def preflight(self, request: Request) -> Response | None:
        """The answer to a preflight request; None for any other request."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        if request.headers.get("origin") not in self.allowed:
            return None
        headers = {
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": _allowed_headers(request),
            "access-control-max-age": str(PREFLIGHT_S),
        }
        if request.headers.get("access-control-request-private-network") == "true":
            headers["access-control-allow-private-network"] = "true"
        return Response(status_code=204, headers=headers)

    def sending(self, request: Request, send: Send) -> Send:
        """A `send` that adds the CORS headers if the origin of the request is listed."""
        origin = request.headers.get("origin")
        if not self.allowed:
            return send

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if origin in self.allowed:
                    headers["access-control-allow-origin"] = origin
                    headers["access-control-allow-credentials"] = "true"
                    headers["access-control-expose-headers"] = EXPOSED
            await send(message)

        return send_shared


def _allowed_headers(request: Request) -> str:
    """The known headers, and those that the browser asks for."""
    asked = request.headers.get("access-control-request-headers", "").split(",")[:HEADER_NAMES_MAX]
    known = {name.lower() for name in HEADERS.split(", ")}
    more = [name for raw in asked if _NAME.fullmatch(name := raw.strip()) and name.lower() not in known]
    return ", ".join((HEADERS, *more))
