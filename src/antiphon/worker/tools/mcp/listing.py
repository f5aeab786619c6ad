"""The tools that an MCP server lists, within bounds: what they contain comes from outside and goes to models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import msgspec
import structlog
from mcp_types import Tool as ListedTool

from antiphon.core.depth import is_deeper
from antiphon.core.draft import replace_surrogates
from antiphon.mcp_settings import McpServer
from antiphon.worker.tools.mcp.naming import offered_names
from antiphon.worker.tools.tool import RawTool, ToolContext

DESCRIPTION_MAX = 4_096
"""Maximum length of a tool's description, in characters. A longer one is cut."""
SCHEMA_BYTES_MAX = 32 * 1024
"""Maximum size of a tool's JSON Schema, in bytes. A tool with a larger one is not offered."""
SCHEMAS_BYTES_MAX = 256 * 1024
"""Maximum size of the schemas and descriptions of one server's tools, in bytes. Further tools are not offered."""
SCHEMA_DEPTH_MAX = 32
"""Maximum depth of a tool's JSON Schema, in nested arrays and objects."""
OWN_NAME_MAX = 256
"""Maximum length of a tool's name at its server, in characters."""

Call = Callable[[str, Any, ToolContext], Awaitable[Any]]
"""Calls a tool by the server's own name, with arguments and context."""

log = structlog.get_logger(__name__)


def offered_tools(
    name: str, server: McpServer, listed: Iterable[ListedTool], call: Call, *, call_s: float
) -> tuple[RawTool, ...]:
    """The tools of a server as agents use them. Those that exceed a limit or are not valid are left out.

    Args:
        name: The server's name, for the log.
        server: Its settings.
        listed: Its tools, as many as were read.
        call: Calls a tool.
        call_s: How long a call may take, in seconds.
    """
    wanted: dict[str, ListedTool] = {}
    for tool in listed:
        if _is_allowed(server, tool.name):
            wanted.setdefault(tool.name, tool)
    prefix = f"{name}_" if server.prefix is None else server.prefix
    names = offered_names(wanted, prefix)
    tools: list[RawTool] = []
    size = left_out = 0
    for own_name, tool in wanted.items():
        schema = _checked_schema(tool)
        if schema is None or len(tools) == server.tools_max:
            left_out += 1
            continue
        description = replace_surrogates(tool.description or tool.title or "")[:DESCRIPTION_MAX]
        size += len(schema) + len(description)
        if size > SCHEMAS_BYTES_MAX:
            left_out += 1
            continue
        tools.append(_tool(names[own_name], description, schema, tool, server, partial(call, own_name), call_s))
    if left_out:
        log.warning("mcp_tools_omitted", server=name, omitted=left_out, offered=len(tools))
    return tuple(tools)


def _is_allowed(server: McpServer, own_name: str) -> bool:
    if not own_name or len(own_name) > OWN_NAME_MAX:
        return False
    if any(fnmatchcase(own_name, pattern) for pattern in server.deny):
        return False
    return not server.allow or any(fnmatchcase(own_name, pattern) for pattern in server.allow)


def _checked_schema(tool: ListedTool) -> bytes | None:
    """The tool's JSON Schema as JSON; None if it describes no object, or is too large or too deep."""
    if tool.input_schema.get("type") != "object":
        return None
    try:
        encoded = msgspec.json.encode(tool.input_schema)
    except (UnicodeEncodeError, RecursionError, OverflowError, TypeError):
        return None
    return None if len(encoded) > SCHEMA_BYTES_MAX or is_deeper(encoded, SCHEMA_DEPTH_MAX) else encoded


def _tool(
    name: str,
    description: str,
    schema: bytes,
    tool: ListedTool,
    server: McpServer,
    function: Callable[[Any, ToolContext], Awaitable[Any]],
    call_s: float,
) -> RawTool:
    hints = tool.annotations
    return RawTool(
        name=name,
        description=description,
        parameters=msgspec.json.decode(schema),
        function=function,
        is_idempotent=hints is not None and bool(hints.idempotent_hint or hints.read_only_hint),
        needs_approval=server.tool_approval.get(tool.name, server.approval) == "always",
        timeout_s=call_s,
    )
