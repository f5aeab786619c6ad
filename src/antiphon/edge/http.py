"""The HTTP door: one ASGI app made from the route table. Every request passes the same gate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from prometheus_client import Histogram
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.edge import handlers, system
from antiphon.edge.answers import JsonAnswer, error_answer
from antiphon.edge.auth import ANY_ADDRESS, authorize, check_origin
from antiphon.edge.pages import Pages
from antiphon.edge.routing import Router
from antiphon.edge.sse import WatchStream
from antiphon.edge.table import BODY_BYTES_MAX, Call, Operation, Policy
from antiphon.errors import AntiphonError, Invalid, TooLarge, Unavailable
from antiphon.observe import METRICS
from antiphon.wire import codec

if TYPE_CHECKING:
    from antiphon.app import Instance

BODY_S = 120.0
BODY_IDLE_S = 10.0
"""A request's body must have come within this time, and each piece of it within that."""

BODIES_BYTES_MAX = 256 * 1024 * 1024
"""So much of bodies may be on its way in all."""

OPERATIONS: tuple[Operation, ...] = (*handlers.ROUTES, *system.ROUTES)

log = structlog.get_logger(__name__)


class HttpDoor:
    """`await door(scope, receive, send)`: serve it with any ASGI server, or mount it in another app."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._router = Router(OPERATIONS)
        self._pages = Pages()
        self._bodies_bytes = 0
        options = instance.options
        self._hosts = tuple(host.lower() for host in options.hosts)
        if not options.is_loopback:
            self._hosts += (ANY_ADDRESS, options.host.lower())
        self._any_host = options.behind_proxy or "*" in self._hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"there is no {scope['type']} here")
        request = Request(scope, receive)
        started = time.perf_counter()
        route = "-"
        try:
            place = _path_of(scope)
            is_page = request.method == "GET" and place == "/"
            check_origin(request.headers, self._hosts, any_host=self._any_host, is_page=is_page)
            operation, path = self._router.match(request.method, place)
            if operation is None:
                answer: Response = self._pages.get(request.method, place, request.headers)
            else:
                route = operation.path
                answer = await self._answer(operation, path, request)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = _refusal(error)
        if not isinstance(answer, WatchStream):
            _timer(request.method, route, answer.status_code).observe(time.perf_counter() - started)
        try:
            await answer(scope, receive, send)
        except AntiphonError as error:  # a stream whose log can no longer be read ends; its reader comes back
            log.warning("stream_failed", route=route, error=str(error))

    async def _answer(self, operation: Operation, path: dict[str, str], request: Request) -> Response:
        instance = self._instance
        token = await authorize(instance, request, operation.policy)
        if instance.is_stopping and operation.policy is not Policy.OPEN:
            raise Unavailable("the server is stopping", retry_after_ms=1000)
        if instance.data_error and operation.policy is not Policy.OPEN:
            raise Unavailable(instance.data_error)
        query = _read_query(operation, request)
        body = await self._read_body(operation, request)
        call = Call(instance, request, token=token, path=path, query=query, body=body)
        return await operation.handler(call)

    async def _read_body(self, operation: Operation, request: Request) -> Any:
        if operation.body is None:
            return None
        limit = self._instance.options.limits.body_bytes
        is_small = operation.body_bytes_max < BODY_BYTES_MAX
        data = await self._read_limited(request, operation.body_bytes_max if is_small else limit)
        return _decoded(operation, data)

    async def _read_limited(self, request: Request, bytes_max: int) -> bytes:
        """The body, within its bounds of size and time and that of all bodies together."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > bytes_max:
            raise TooLarge("request (in bytes)", bytes_max)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                async for piece in _pieces_in_time(request):
                    size += len(piece)
                    self._bodies_bytes += len(piece)
                    if size > bytes_max:
                        raise TooLarge("request (in bytes)", bytes_max)
                    if self._bodies_bytes > BODIES_BYTES_MAX:
                        raise Unavailable("too much is being sent at once")
                    pieces.append(piece)
        except TimeoutError as error:
            raise HTTPException(408, "The request's body did not come in time.", {"connection": "close"}) from error
        finally:
            self._bodies_bytes -= size
        return b"".join(pieces)


@lru_cache(1024)
def _timer(method: str, route: str, status: int) -> Histogram:
    return METRICS.http.labels(method, route, status)


def _path_of(scope: Scope) -> str:
    """The path below where the app is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] or "/" if root and path.startswith(root) else path


def _refusal(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        shown = {"error": {"code": "invalid", "message": error.detail}}
        return JsonAnswer(shown, error.status_code, dict(error.headers or {}))
    return error_answer(error)


def _read_query(operation: Operation, request: Request) -> Any:
    given = dict(request.query_params)
    if "token" in given or "access_token" in given:
        raise Invalid("token", "tokens go in the Authorization header, never in an address")
    if operation.query is None:
        return None
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


def _decoded(operation: Operation, data: bytes) -> Any:
    if not data and operation.is_body_optional:
        return None
    try:
        return codec.decode(data, operation.body)
    except AntiphonError as error:
        cause = error.__cause__
        raise _invalid(cause if isinstance(cause, msgspec.ValidationError) else error) from error


async def _pieces_in_time(request: Request) -> AsyncIterator[bytes]:
    pieces = request.stream()
    while True:
        async with asyncio.timeout(BODY_IDLE_S):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def _invalid(error: Exception) -> Invalid:
    """msgspec's own words, with the field they are about: `Expected `int`, got `str` - at `$.turn_id``."""
    reason, _, place = str(error).partition(" - at `$")
    return Invalid(place.strip("`.").replace("...", ""), reason[:200])


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
