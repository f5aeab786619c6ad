"""The bodies of the route of MCP servers."""

from __future__ import annotations

from antiphon.core.values import Value


class McpServerAnswer(Value):
    """`state` is starting, connected or lost; `tools` are the names under which its tools are offered."""

    id: str
    name: str
    state: str
    tools: list[str]


class McpServersAnswer(Value):
    mcp_servers: list[McpServerAnswer]
