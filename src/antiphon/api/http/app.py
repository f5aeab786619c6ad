"""The HTTP API as one ASGI app, made from the route table. Every request passes the same access checks."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec
import structlog
from prometheus_client import Histogram
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon.api.cancellation import CancellableRequests
from antiphon.api.http.answers import JsonAnswer, error_answer
from antiphon.api.http.auth import OriginGate, authorize, is_websocket
from antiphon.api.http.bodies import Bodies
from antiphon.api.http.cross_origin import CrossOrigin
from antiphon.api.http.decoding import BodyDecoder, invalid
from antiphon.api.http.file_answer import FileAnswer
from antiphon.api.http.host_sign_in import Authenticate, HostSignIn
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.operations import operations_of
from antiphon.api.http.pages import Pages
from antiphon.api.http.routing import Router
from antiphon.api.http.sse import LiveAnswer
from antiphon.api.http.table import API, BODY_BYTES_MAX, Call, Operation, Policy
from antiphon.api.http.translated import TranslatedAnswer
from antiphon.api.protocols import index_of, protocol_of, protocols_without
from antiphon.api.websocket.asgi import serve_websocket
from antiphon.chats.chat_fields import HTTP, ZMQ
from antiphon.errors import AntiphonError, Forbidden, Invalid, NotFound, TooLarge, Unavailable
from antiphon.instance import Instance
from antiphon.observe.metrics import METRICS
from antiphon.ports import Token

HTTP_ONLY = ("/session", "/tokens", "/instances/", "/providers", "/model-configs", "/files", "/shared")
_KEPT_CODES = re.compile(rb"%2[fF5]")
RETRY_HEADER = "antiphon-elsewhere"
"""Marks responses of a server that is stopping or is not the target: a standby retries with the next primary."""
TARGET_HEADER = "antiphon-target-instance"
"""Names the instance that a standby forwards a request to. Any other instance refuses it: addresses are reused, and
two standbys must not forward a request to each other."""

NO_WEBSOCKET = "There is no WebSocket at this address; it is at /api/v1/ws. Server-sent events need no upgrade."

log = structlog.get_logger(__name__)


class HttpApp:
    """An ASGI app: serve it with any ASGI server, or mount it in another app."""

    def __init__(
        self,
        instance: Instance,
        *,
        authenticate: Authenticate | None = None,
        limits: HttpLimits = HttpLimits(),
    ) -> None:
        self.limits = limits
        self._instance = instance
        self._sign_in = HostSignIn(authenticate, instance.owners) if authenticate is not None else None
        self._protocols = protocols_without(instance.options.no_api)
        self._router = Router(operations_of(self._protocols))
        self._pages = Pages()
        self._bodies = Bodies(limits)
        self._decoder = BodyDecoder()
        self._gate = OriginGate(instance.options)
        self._cancellable = CancellableRequests()
        self._cross_origin = CrossOrigin(instance.options.allow_origin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await serve_websocket(self, scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the protocol {scope['type']} is not supported")
        request = Request(scope, receive)
        send = self._cross_origin.sending(request, send)
        started = time.perf_counter()
        route = "-"
        try:
            place = path_of(scope)
            self._gate.check(request, place)
            if (preflight := self._cross_origin.preflight(request)) is not None:
                await preflight(scope, receive, send)
                return
            if is_websocket(request) and not self._router.has_websocket(place):
                raise HTTPException(400, NO_WEBSOCKET, {"connection": "close"})
            operation, path = self._router.match(request.method, place)
            if operation is None and place == "/" and prefers_json(request):
                answer: Response = JsonAnswer(index_of(self._protocols))
            elif operation is None:
                answer = self._pages.get(request.method, place, request.headers)
            else:
                route = operation.path
                answer = await self._answer(operation, path, request)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = self._refusal(error, path_of(scope))
            clear_tracebacks(error)
        if request.method == "HEAD":
            answer = await without_body(answer)
        if not isinstance(answer, LiveAnswer):
            _timer(request.method, route, answer.status_code).observe(time.perf_counter() - started)
        try:
            await answer(scope, receive, send)
        except AntiphonError as error:
            if isinstance(answer, TranslatedAnswer):  # nothing was sent
                await self._refusal(error, path_of(scope))(scope, receive, send)
                return
            log.warning("stream_failed", route=route, error=str(error))  # the store failed: the client reconnects

    def _refusal(self, error: Exception, place: str) -> Response:
        """The response to a request that failed, in the shape of the protocol that owns the address."""
        protocol = protocol_of(self._protocols, place)
        return refusal(error) if protocol is None else protocol.refusal(refusal(error))

    async def _answer(self, operation: Operation, path: dict[str, str], request: Request) -> Response:
        instance = self._instance
        if request.headers.get(TARGET_HEADER, instance.instance_id) != instance.instance_id:
            return refusal(Unavailable("this is not the target instance"), {RETRY_HEADER: "1"})
        token = await authorize(instance.tokens, instance.store, request, operation.policy, self._sign_in)
        if instance.is_stopping and operation.policy is not Policy.OPEN:
            return refusal(Unavailable("the server is stopping"), {RETRY_HEADER: "1"})
        if instance.data_error and operation.policy is not Policy.OPEN:
            raise Unavailable(instance.data_error)
        query = _read_query(operation, _given_query(operation, request))
        if operation.body is None:
            return await operation.handler(self._call(request, token=token, path=path, query=query, body=None))
        owner = token.owner_id if token is not None else ""
        async with self._bodies.read_counted(request, self._body_bytes_max(operation), owner=owner) as data:
            body = await self._decoder.decode(operation, data)
            return await operation.handler(self._call(request, token=token, path=path, query=query, body=body))

    def _call(
        self,
        request: Request,
        *,
        token: Token | None,
        path: dict[str, str],
        query: Any,
        body: Any,
        via: str = HTTP,
    ) -> Call:
        return Call(
            self._instance,
            request,
            token=token,
            path=path,
            query=query,
            body=body,
            limits=self.limits,
            cancellable=self._cancellable,
            via=via,
            dispatch=self._dispatch_again,
        )

    async def _dispatch_again(self, request: Request, method: str, path: str, query: str, body: bytes) -> Response:
        """Handle a request that came on the WebSocket of `request`, with the access that its sender has now."""
        instance = self._instance
        operation, values = self._router.match(method, API + path)
        if operation is None or operation.is_stream or operation.is_websocket or operation.prefix != API:
            raise NotFound("address")
        if operation.is_upload or operation.is_download or operation.path.startswith("/session"):
            raise Forbidden("this is only available as a request of its own")
        token = await authorize(instance.tokens, instance.store, request, operation.policy, self._sign_in)
        if instance.is_stopping or instance.data_error:
            raise Unavailable(instance.data_error or "the server is stopping")
        if len(body) > self._body_bytes_max(operation):
            raise TooLarge("request (in bytes)", self._body_bytes_max(operation))
        given = _read_query(operation, dict(QueryParams(query)))
        decoded = await self._decoder.decode(operation, body) if operation.body is not None else None
        return await operation.handler(self._call(request, token=token, path=values, query=given, body=decoded))

    async def request(self, method: str, path: str, query: dict[str, str], body: bytes) -> Response:
        """The response to a request of the admin that came over another protocol; errors are responses, too."""
        try:
            return await self.dispatch(method, path, query, body)
        except Exception as error:
            answer = refusal(error)
            clear_tracebacks(error)
            return answer

    async def dispatch(self, method: str, path: str, query: dict[str, str], body: bytes) -> Response:
        """Handle a request of the admin that came over another protocol. Raises what `request` makes a response of.

        All routes are available but streams, sessions, tokens and configuration (which outlive a connection), files
        (which do not fit into a message), and other instances (which would block the caller while they do not
        respond).
        """
        instance = self._instance
        operation, values = self._router.match(method, path)
        if operation is None or operation.is_stream or operation.prefix != API:
            raise NotFound("address")
        if operation.path.startswith(HTTP_ONLY):
            raise Forbidden("this is only available over HTTP")
        if instance.is_stopping or instance.data_error:
            raise Unavailable(instance.data_error or "the server is stopping")
        if len(body) > instance.options.limits.body_bytes:
            raise TooLarge("request (in bytes)", instance.options.limits.body_bytes)
        call = self._call(
            Request({"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}),
            token=Token(token_id="", owner_id=instance.owner_id, owner_name="admin", is_admin=True, created_at=0),
            path=values,
            query=_read_query(operation, query),
            body=await self._decoder.decode(operation, body) if operation.body is not None else None,
            via=ZMQ,
        )
        return await operation.handler(call)

    def _body_bytes_max(self, operation: Operation) -> int:
        is_small = operation.body_bytes_max < BODY_BYTES_MAX
        return operation.body_bytes_max if is_small else self._instance.options.limits.body_bytes


@lru_cache(1024)
def _timer(method: str, route: str, status: int) -> Histogram:
    return METRICS.http.labels(method, route, status)


async def without_body(answer: Response) -> Response:
    """The answer to HEAD: that of GET without its body. A stream is opened, to report a refusal, and closed."""
    if isinstance(answer, LiveAnswer | FileAnswer):
        return await answer.head()
    answer.body = b""
    return answer


def prefers_json(request: Request) -> bool:
    """Whether a program asks for `/`, and not a browser."""
    return request.method in ("GET", "HEAD") and request.headers.get("accept", "").startswith("application/json")


def path_of(scope: Scope) -> str:
    """The path below where the app is mounted. An encoded `/` or `%` stays encoded: it belongs to a name, and the
    router decodes names."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    if _KEPT_CODES.search(raw):
        path = "".join(
            piece if _KEPT_CODES.fullmatch(piece.encode()) else unquote(piece)
            for piece in re.split(r"(%2[fF5])", raw.partition(b"?")[0].decode("latin-1"))
        )
    root: str = scope.get("root_path", "")
    return path[len(root) :] or "/" if root and path.startswith(root) else path


def refusal(error: Exception, headers: dict[str, str] | None = None) -> JsonAnswer:
    """The response to a request that failed with `error`."""
    if isinstance(error, HTTPException):
        shown = {"error": {"code": "invalid", "message": error.detail}}
        return JsonAnswer(shown, error.status_code, dict(error.headers or {}))
    answer = error_answer(error)
    answer.headers.update(headers or {})
    return answer


def clear_tracebacks(error: BaseException | None) -> None:
    """Clear the tracebacks of an answered error and of its causes. They keep the request's frames and body in memory,
    often in a reference cycle that only the garbage collector frees."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            waiting += (error.__cause__, error.__context__)


def _given_query(operation: Operation, request: Request) -> dict[str, Any]:
    """The parameters of an address; those that may be repeated as lists."""
    given: dict[str, Any] = dict(request.query_params)
    lists = [name for name in operation.repeated if name in given]
    return given | {name: request.query_params.getlist(name) for name in lists}


def _read_query(operation: Operation, given: dict[str, Any]) -> Any:
    if "token" in given or "access_token" in given:
        raise Invalid("token", "tokens go in the Authorization header, never in an address")
    if operation.query is None:
        return None
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from error


async def lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge the lifespan events. The app does nothing when its server starts or stops."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
