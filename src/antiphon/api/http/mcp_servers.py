"""The route of the MCP servers whose tools chats may use."""

from __future__ import annotations

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes import mcp_servers as s
from antiphon.api.http.table import Call, Operation, Policy, route


async def list_mcp_servers(call: Call) -> Response:
    shown = [
        {"id": one.id, "name": one.name, "state": one.state, "tools": one.tools} for one in call.instance.mcp.states()
    ]
    return JsonAnswer({"mcp_servers": shown})


ROUTES: tuple[Operation, ...] = (
    route("GET", "/mcp-servers", list_mcp_servers, Policy.OWNER, "The MCP servers whose tools chats may use.",
          (200, s.McpServersAnswer)),
)  # fmt: skip
