"""`POST /mcp`: one message, or a batch of the revisions that have them. No session is kept."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import ANSWER_BYTES_MAX, JsonAnswer, error_answer
from antiphon.api.http.table import Call
from antiphon.api.mcp.listening import ListeningStream, listen
from antiphon.api.mcp.resources import list_resources, read_resource
from antiphon.api.mcp.tools import Tools
from antiphon.api.mcp.waiting import AnswerWait, Target, WaitingAnswer
from antiphon.core.values import Value
from antiphon.errors import NotFound, Refused
from antiphon.wire import jsonrpc
from antiphon.wire.codec import decode, encode
from antiphon.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Refusal, Request, RpcRefused
from antiphon.wire.mcp_server import messages as m
from antiphon.wire.mcp_server.errors import (
    RESOURCE_NOT_FOUND,
    TOO_LARGE,
    bad_params,
    error_of,
    error_status,
)
from antiphon.wire.mcp_server.listening import Subscription
from antiphon.wire.mcp_server.revisions import (
    HEADERS,
    VERSION_HEADER,
    WITH_BATCHES,
    WITHOUT_INITIALIZE,
    meta_of,
    revision_of,
    supported,
)
from antiphon.wire.mcp_server.tools import BY_NAME

SESSION_HEADER = "mcp-session-id"
SESSION_MAX = 128
"""Maximum length of a session's id that a client sends, in characters."""
EVENT_STREAM = "text/event-stream"

OLD_METHODS = frozenset({"initialize", "ping"})
"""Methods that the revisions without `initialize` do not have."""
NEW_METHODS = frozenset({"server/discover", "subscriptions/listen"})

Json = dict[str, Any]


class Waiting(Value, gc=True):
    """A call whose answer is made later."""

    wait: AnswerWait
    token: Any


async def handle_message(call: Call) -> Response:
    """Answer a message, in the shape of JSON-RPC in any case."""
    parsed = jsonrpc.parse_value(call.body)
    headers = {
        name: ", ".join(call.request.headers.getlist(name)) for name in HEADERS if name in call.request.headers
    }
    if parsed.is_batch:
        return await _answer_batch(call, parsed.items, headers)
    (item,) = parsed.items
    if isinstance(item, Refusal):
        return JsonAnswer(jsonrpc.encode_refusal(item), 400)
    if item.id is None:
        return _accept(call, item, headers)
    return await Exchange(call, item, headers).answer()


def _accept(call: Call, item: Request, headers: Json) -> Response:
    """A notification. One that cancels a wait of this client ends it; the others say nothing that matters here."""
    try:
        if VERSION_HEADER in headers:
            supported(headers[VERSION_HEADER])
    except RpcRefused as error:
        return JsonAnswer(_encoded_error(error, jsonrpc.NULL), error.status)
    cancelled = item.params.get("requestId") if isinstance(item.params, dict) else None
    if item.method == "notifications/cancelled" and isinstance(cancelled, str | int):
        call.cancellable.cancel(_key(call, encode(cancelled)))
    return Response(status_code=202, headers={"cache-control": "no-store"})


async def _answer_batch(call: Call, items: tuple[Request | Refusal, ...], headers: Json) -> Response:
    """The responses to the requests of a batch, in order. Its calls do not wait for answers."""
    revision = headers.get(VERSION_HEADER)
    if revision is not None and revision not in WITH_BATCHES:
        refused = Refusal(code=INVALID_REQUEST, message=f"invalid request: {revision} has no batches")
        return JsonAnswer(jsonrpc.encode_refusal(refused), 400)
    answers: list[bytes] = []
    size = 0
    for place, item in enumerate(items):
        if isinstance(item, Refusal):
            answers.append(jsonrpc.encode_refusal(item))
        elif item.id is None:
            _accept(call, item, headers)
        elif size > ANSWER_BYTES_MAX:
            message = "the responses to this batch are too large; send this request again"
            answers.append(jsonrpc.encode_refusal(Refusal(code=TOO_LARGE, message=message, id=item.id)))
        else:
            answers.append(await Exchange(call, item, headers, place=place).respond())
            size += len(answers[-1])
    if not answers:
        return Response(status_code=202, headers={"cache-control": "no-store"})
    return JsonAnswer(jsonrpc.join_batch(answers))


class Exchange:
    """One request and its response. `place` is its place in a batch."""

    def __init__(self, call: Call, request: Request, headers: Json, *, place: int | None = None) -> None:
        assert request.id is not None
        self._call = call
        self._request = request
        self._headers = headers
        self._place = place
        self._is_batch = place is not None
        self._id = request.id
        self._revision = ""
        self._status = 200

    async def answer(self) -> Response:
        """The HTTP response. A call that waits is a stream, if the client accepts one."""
        found = await self._outcome()
        if isinstance(found, ListeningStream):
            return found
        if isinstance(found, Waiting):
            wait = found.wait

            async def respond() -> bytes:
                return await self._after(wait)

            return WaitingAnswer(
                wait,
                respond,
                call=self._call,
                key=_key(self._call, bytes(self._id)),
                is_stream=EVENT_STREAM in self._call.request.headers.get("accept", ""),
                token=found.token,
            )
        headers = {SESSION_HEADER: uuid.uuid4().hex} if self._request.method == "initialize" else None
        return JsonAnswer(found, self._status, headers if self._status == 200 else None)

    async def respond(self) -> bytes:
        """The response within a batch."""
        found = await self._outcome()
        assert not isinstance(found, ListeningStream), "the revisions with batches have no subscriptions"
        return await self._after(found.wait) if isinstance(found, Waiting) else found

    async def _outcome(self) -> bytes | Waiting | ListeningStream:
        try:
            found = await self._result()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return self._failed(error)
        return found if isinstance(found, Waiting | ListeningStream) else self._encoded(found)

    async def _result(self) -> Json | Waiting | ListeningStream:
        request = self._request
        if not _is_id(self._id):
            self._id = jsonrpc.NULL
            raise RpcRefused(INVALID_REQUEST, "invalid request: an id is a string or a whole number", status=400)
        self._revision = revision_of(request, self._headers)
        is_new = self._revision in WITHOUT_INITIALIZE
        if request.method in (OLD_METHODS if is_new else NEW_METHODS):
            raise self._unknown_method()
        params = request.params if request.params is not None else {}
        if not isinstance(params, dict):
            raise bad_params("an object")
        match request.method:
            case "initialize":
                return self._initialize(params)
            case "ping":
                return {}
            case "server/discover":
                return m.discover_result()
            case "tools/list":
                return _only_page(params, m.tools_result())
            case "tools/call":
                return await self._call_tool(params)
            case "resources/list":
                return await list_resources(self._call, params)
            case "resources/templates/list":
                return _only_page(params, m.templates_result())
            case "resources/read":
                return await self._read_resource(params)
            case "subscriptions/listen":
                return await listen(self._call, Subscription.of(self._id, params))
        raise self._unknown_method()

    def _unknown_method(self) -> RpcRefused:
        status = 404 if self._revision in WITHOUT_INITIALIZE else 200
        return RpcRefused(METHOD_NOT_FOUND, f"there is no method {self._request.method[:100]!r}", status=status)

    def _initialize(self, params: Json) -> Json:
        requested = params.get("protocolVersion")
        if self._is_batch:
            raise RpcRefused(INVALID_REQUEST, "invalid request: initialize is not part of a batch")
        if not isinstance(requested, str):
            raise bad_params("protocolVersion: a string")
        return m.initialize_result(requested)

    async def _read_resource(self, params: Json) -> Json:
        try:
            return await read_resource(self._call, params)
        except NotFound as error:
            code = INVALID_PARAMS if self._revision in WITHOUT_INITIALIZE else RESOURCE_NOT_FOUND
            raise RpcRefused(code, str(error), data={"uri": params["uri"]}) from None

    async def _call_tool(self, params: Json) -> Json | Waiting:
        name, arguments = params.get("name"), params.get("arguments")
        if not isinstance(name, str):
            raise bad_params("name: a string")
        if arguments is not None and not isinstance(arguments, dict):
            raise bad_params("arguments: an object")
        tool = BY_NAME.get(name)
        if tool is None:
            raise bad_params(f"there is no tool {name[:100]!r}")
        meta = meta_of(self._request)
        try:
            found = await Tools(self._call, meta, place=self._place).run(tool, arguments or {})
        except Refused as error:
            return m.failed_result(error)
        if not isinstance(found, Target):
            return m.call_result(found)
        wait_s = 0.0 if self._is_batch else found.wait_s
        token = meta.get("progressToken")
        is_token = isinstance(token, str | int) and not isinstance(token, bool)
        return Waiting(wait=AnswerWait(self._call, found, wait_s), token=token if is_token else None)

    async def _after(self, wait: AnswerWait) -> bytes:
        """The response after a wait. It raises nothing: the stream has begun."""
        try:
            return self._encoded(m.call_result(await wait.result()))
        except asyncio.CancelledError:
            raise
        except Refused as error:
            return self._encoded(m.failed_result(error))
        except Exception as error:
            return self._failed(error)

    def _encoded(self, result: Json) -> bytes:
        return jsonrpc.encode_result(self._id, m.in_revision(self._request.method, result, self._revision))

    def _failed(self, error: Exception) -> bytes:
        """An error. Its traceback would keep the request in memory."""
        if isinstance(error, RpcRefused):
            self._status = error.status
            is_bad = error.rpc_code == INVALID_PARAMS and self._revision in WITHOUT_INITIALIZE
            self._status = 400 if is_bad and self._status == 200 else self._status
            return _encoded_error(error, self._id)
        answer = error_answer(error)
        error.__traceback__ = None
        self._status = error_status(answer.status_code)
        shown = error_of(answer.status_code, decode(bytes(answer.body), Json)["error"])
        return _encoded_error(RpcRefused(shown["code"], shown["message"], data=shown["data"]), self._id)


def _encoded_error(error: RpcRefused, echoed: Any) -> bytes:
    return jsonrpc.encode_refusal(Refusal(code=error.rpc_code, message=str(error), data=error.data, id=echoed))


def _only_page(params: Json, result: Json) -> Json:
    """A list of one page, which has no cursor."""
    if params.get("cursor") is not None:
        raise bad_params("cursor: this list has one page")
    return result


def _is_id(echoed: Any) -> bool:
    value = decode(bytes(echoed), Any)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _key(call: Call, echoed: bytes) -> tuple[str, ...]:
    """What a notification names a request by: the client and the request's id. Clients with the same token differ by
    the session's id that `initialize` gave them."""
    assert call.token is not None
    session = call.request.headers.get(SESSION_HEADER, "")[:SESSION_MAX]
    return "mcp", call.token.token_id, session, echoed.decode("utf-8", "replace")
