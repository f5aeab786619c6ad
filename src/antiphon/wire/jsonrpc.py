"""JSON-RPC 2.0 for the instance protocol, MCP, A2A and the Agent Client Protocol: requests, batches and notifications
in, responses out.

`parse` never raises: an invalid request becomes a refusal to be sent back. An `id` is echoed unchanged. A `params` or
`error` that is null counts as missing: encoders with fixed structures write both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.core.depth import VALUES_MAX, has_too_many_values
from antiphon.core.values import Value
from antiphon.errors import AntiphonError, PeerError
from antiphon.wire import codec

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REFUSED = -32000
"""The request was refused or failed. `data` has the details: {code, …} as in the errors of the HTTP API."""

BATCH_MAX = 100
"""Maximum number of requests in one batch."""

PEEKED_BYTES_MAX = 64 * 1024
PEEKED_FRAMES_MAX = 4
"""Maximum size of a frame, and maximum number of frames, that are searched for the id of a wrongly framed request."""

NULL = msgspec.Raw(b"null")


class Request(Value):
    """One call. `id` is None for a notification, which is never answered."""

    method: str
    params: Any = None
    id: msgspec.Raw | None = None


class Refusal(Value):
    """An error to be sent instead of a result."""

    code: int
    message: str
    data: Any = None
    id: msgspec.Raw = NULL


class RpcRefused(AntiphonError):
    """A request that is answered with an error of the protocol. `status` is the HTTP status of the response."""

    def __init__(self, code: int, message: str, *, status: int = 200, data: Any = None) -> None:
        super().__init__(message)
        self.rpc_code = code
        self.status = status
        self.data = data


class Parsed(Value):
    """The requests of one message. `is_batch`: they came as a batch, and so does the response."""

    items: tuple[Request | Refusal, ...]
    is_batch: bool = False


def parse(data: bytes) -> Parsed:
    """The requests in a message: one, or those of a batch."""
    if has_too_many_values(data):
        return Parsed(items=(_invalid(f"more than {VALUES_MAX:,} JSON values"),))
    try:
        raw = codec.decode(data, Any)
    except PeerError:
        return Parsed(items=(Refusal(code=PARSE_ERROR, message="this is not JSON"),))
    return parse_value(raw)


def parse_value(raw: Any) -> Parsed:
    """As `parse`, for JSON that is decoded already."""
    if not isinstance(raw, list):
        return Parsed(items=(_request_of(raw),))
    if not raw:
        return Parsed(items=(_invalid("an empty batch"),))
    if len(raw) > BATCH_MAX:
        return Parsed(items=(_invalid(f"a batch of more than {BATCH_MAX} requests"),))
    return Parsed(items=tuple(_request_of(item) for item in raw), is_batch=True)


def parse_message(data: bytes) -> Request | Answer | Refusal:
    """The message of a peer that sends requests and answers them, without batches (the Agent Client Protocol)."""
    if has_too_many_values(data):
        return _invalid(f"more than {VALUES_MAX:,} JSON values")
    try:
        raw = codec.decode(data, Any)
        if isinstance(raw, dict) and "method" not in raw and ("result" in raw or "error" in raw):
            return decode_answer(data)
    except PeerError:
        return Refusal(code=PARSE_ERROR, message="this is not JSON")
    return _request_of(raw)


def _request_of(raw: Any) -> Request | Refusal:
    if not isinstance(raw, dict):
        return _invalid("a request is an object")
    given = raw.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int | float | None):
        return _invalid("an id is a string, a number or null")
    echoed = msgspec.Raw(msgspec.json.encode(given))
    if raw.get("jsonrpc") != "2.0":
        return _invalid('jsonrpc must be "2.0"', echoed)
    method = raw.get("method")
    if not isinstance(method, str):
        return _invalid("method must be a string", echoed)
    params = raw.get("params")
    if params is not None and not isinstance(params, dict | list):
        return _invalid("params must be an object or an array", echoed)
    return Request(method=method, params=params, id=echoed if "id" in raw else None)


def _invalid(message: str, echoed: msgspec.Raw = NULL) -> Refusal:
    return Refusal(code=INVALID_REQUEST, message=f"invalid request: {message}", id=echoed)


def refuse_frames(frames: Sequence[bytes]) -> bytes:
    """The error response to a message that is not one frame, optionally after an empty one. It has the id of a
    request among the first frames, if one of the short frames is a request."""
    short = [parse(frame).items[0] for frame in frames[:PEEKED_FRAMES_MAX] if 0 < len(frame) <= PEEKED_BYTES_MAX]
    echoed = next((item.id for item in short if isinstance(item, Request) and item.id is not None), NULL)
    return encode_refusal(_invalid(f"a call is one frame, after an empty one; {len(frames)} came", echoed))


def refusal_of(error: AntiphonError, echoed: msgspec.Raw) -> Refusal:
    """An Antiphon error as the response's `error`."""
    return Refusal(code=REFUSED, message=str(error), data={"code": error.code, **error.fields()}, id=echoed)


def encode_result(echoed: msgspec.Raw, result: Any) -> bytes:
    """`result` is a value or ready-made JSON (`msgspec.Raw`)."""
    return b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (codec.encode(result), bytes(echoed))


def encode_refusal(refusal: Refusal) -> bytes:
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.data is not None:
        error["data"] = refusal.data
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (codec.encode(error), bytes(refusal.id))


def encode_request(method: str, params: Any, call_id: int | str | None) -> bytes:
    """A call, or a notification where `call_id` is None."""
    request = {"jsonrpc": "2.0", "method": method, "params": params}
    if call_id is not None:
        request["id"] = call_id
    return codec.encode(request)


def join_batch(answers: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(answers) + b"]"


class Answer(Value):
    """A response as a client decodes it: a result, or an error with its code."""

    id: Any
    result: msgspec.Raw = NULL
    error_code: int = 0
    error_message: str = ""
    error_data: dict[str, Any] = {}


def decode_answer(data: bytes) -> Answer:
    """Raises `PeerError` for bytes that are not a response."""
    try:
        raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        codec.check_nesting(data)
        echoed = msgspec.json.decode(raw["id"])
        error = msgspec.json.decode(raw.get("error", NULL), type=dict[str, Any] | None)
        if error is None:
            return Answer(id=echoed, result=raw["result"])
        more = error.get("data")
        return Answer(
            id=echoed,
            error_code=int(error["code"]),
            error_message=str(error.get("message", "")),
            error_data=more if isinstance(more, dict) else {},
        )
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError) as failure:
        raise PeerError(f"not a JSON-RPC answer: {failure}") from failure
