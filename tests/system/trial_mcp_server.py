"""The MCP server of the trials, over streamable HTTP: `trial_mcp_server.py LOG PORT`.

It writes one line to LOG for each run: the tool, the key of the call, and the canary that its arguments have.
"""

from __future__ import annotations

import os
import sys

import anyio
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("trial")


async def write_down(name: str, key: str, canary: str) -> str:
    descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{name} {key} {canary}\n".encode())
    finally:
        os.close(descriptor)
    await anyio.sleep(float(os.environ["TRIAL_TOOL_S"]))
    return f"{name} of {canary}"


@server.tool()
async def note(key: str, canary: str) -> str:
    """Write down that this call ran."""
    return await write_down("t_note", key, canary)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def find(key: str, canary: str) -> str:
    """The same, declared as harmless: it may run again."""
    return await write_down("t_find", key, canary)


server.run("streamable-http", port=int(sys.argv[2]))
