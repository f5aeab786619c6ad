"""The route of MCP, and the shape of its errors."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes.errors import RpcErrorAnswer
from antiphon.api.http.table import Operation, Policy, route
from antiphon.api.mcp.endpoint import handle_message
from antiphon.api.mcp.tools import NAME
from antiphon.api.protocol import Protocol
from antiphon.wire import jsonrpc
from antiphon.wire.mcp_server.errors import error_of, error_status

PATH = "/mcp"

KEPT = frozenset({"retry-after", "www-authenticate", "allow", "connection", "antiphon-elsewhere"})
"""The headers of an error that are kept."""

ROUTES: tuple[Operation, ...] = (
    route("POST", PATH, handle_message, Policy.OWNER,
          "A message of MCP: JSON-RPC, answered with JSON or, while a tool waits, with server-sent events.",
          (200, Any), (202, None), body=Any, prefix="", protocol=NAME, may_stream=True,
          error_type=RpcErrorAnswer),
)  # fmt: skip


def refusal(answer: JsonAnswer) -> JsonAnswer:
    """An error of this server's own API as JSON-RPC, for requests that were not read: it has no id."""
    error = error_of(answer.status_code, msgspec.json.decode(answer.body)["error"])
    body = jsonrpc.encode_refusal(jsonrpc.Refusal(code=error["code"], message=error["message"], data=error["data"]))
    kept = {name: value for name, value in answer.headers.items() if name in KEPT}
    return JsonAnswer(body, error_status(answer.status_code), kept)


PROTOCOL = Protocol(
    name=NAME,
    title="MCP: chats as tools and resources, streamable HTTP",
    prefixes=(PATH,),
    routes=ROUTES,
    refusal=refusal,
)
