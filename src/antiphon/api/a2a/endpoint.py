"""`POST /a2a`: one request of JSON-RPC, answered with JSON or with server-sent events."""

from __future__ import annotations

from starlette.responses import Response

from antiphon.api.a2a.bindings import RpcBinding
from antiphon.api.a2a.methods import call_method
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.wire.jsonrpc import INVALID_REQUEST, Refusal, encode_refusal, parse_value


async def handle_a2a(call: Call) -> Response:
    """Answer a request, in the shape of JSON-RPC in any case."""
    parsed = parse_value(call.body)
    item = parsed.items[0]
    if parsed.is_batch:
        item = Refusal(code=INVALID_REQUEST, message="invalid request: A2A has no batches")
    elif not isinstance(item, Refusal) and item.id is None:
        item = Refusal(code=INVALID_REQUEST, message="invalid request: A2A has no notifications, an id is missing")
    if isinstance(item, Refusal):
        return JsonAnswer(encode_refusal(item))
    assert item.id is not None
    params = item.params if item.params is not None else {}
    return await call_method(call, RpcBinding(item.id), item.method, params)
