"""The settings of the MCP servers whose tools an instance offers to agents (Model Context Protocol, as a client)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from antiphon.core.values import Value
from antiphon.errors import Invalid

SERVERS_MAX = 32
"""Maximum number of MCP servers of an instance."""
TOOLS_MAX = 128
"""Maximum number of tools of one MCP server that are offered."""
START_S = 30.0
"""How long an MCP server may take until it has listed its tools, in seconds."""

DEPTH_KEY = "antiphon/depth"
"""The key of a call's `_meta` by which an agent of Antiphon says how deep a chat is that the call may start."""
DEPTH_LABEL = "mcp_depth"
"""The label of a chat that another chat has started by MCP: how many are above it."""
DEPTH_MAX = 4
"""Maximum number of chats above one that is started by MCP."""

Approval = Literal["always", "never"]

_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TOOL_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,40}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE_RULE = "names of environment variables (NAME, or TARGET=NAME), never their values"
_IDS = uuid.UUID("2f0c2a52-8f0b-4b0c-9a3e-7d5b0f0a6c11")
"""The namespace of ids that are derived from names."""


class McpServer(Value):
    """An MCP server: a program to start (`command`), or the address of a running one (`url`).

    Secrets are not part of the settings: `env` and `token_env` name variables of the instance's environment.
    """

    command: tuple[str, ...] = ()
    """The program and its arguments. It is spoken to over its standard input and output."""
    cwd: str = ""
    """The directory in which the program starts; empty: that of the instance."""
    env: tuple[str, ...] = ()
    """The environment variables that the program gets besides PATH and HOME: `NAME`, or `TARGET=NAME` for the value
    of NAME under another name."""
    url: str = ""
    """The address of a server that speaks streamable HTTP."""
    token_env: str = ""
    """The environment variable with the bearer token for `url`."""
    id: str = ""
    """The server's id in `mcp_server_ids`, a UUID; empty: derived from its name."""
    prefix: str | None = None
    """Precedes the names of its tools; None: the server's name and `_`."""
    allow: tuple[str, ...] = ()
    """The tools that are offered, by the server's own names; `*` stands for any characters. Empty: all."""
    deny: tuple[str, ...] = ()
    """The tools that are never offered. A tool that `allow` also names is not offered."""
    approval: Approval = "never"
    """Whether a person must approve each call: `always` or `never`."""
    tool_approval: dict[str, Approval] = {}
    """The same for single tools, by the server's own names."""
    tools_max: int = TOOLS_MAX
    """Maximum number of its tools that are offered."""
    start_s: float = START_S
    """How long it may take until it has listed its tools, in seconds."""
    call_s: float | None = None
    """How long a call of a tool may take, in seconds; None: the limit `tool_s`."""
    per_owner: bool = False
    """Whether the calls of each owner go over a connection of their own (a program runs once for each owner)."""


def server_id(name: str, server: McpServer) -> str:
    """The id of a server, the same on every instance that names it so."""
    return server.id.lower() or str(uuid.uuid5(_IDS, name))


def check_servers(servers: Mapping[str, McpServer]) -> None:
    """Raises `Invalid` for settings that cannot work, with the name of the server and the field."""
    if len(servers) > SERVERS_MAX:
        raise Invalid("mcp", f"at most {SERVERS_MAX} servers")
    ids: dict[str, str] = {}
    for name, server in servers.items():
        if not isinstance(server, McpServer):
            raise Invalid(f"mcp.{name[:64]}", f"must be an McpServer, not {type(server).__name__}")
        if not _SERVER_NAME.fullmatch(name):
            raise Invalid(f"mcp.{name[:64]}", "a name of 1 to 32 of A-Z, a-z, 0-9, `_` and `-`")
        _check(f"mcp.{name}", server)
        other = ids.setdefault(server_id(name, server), name)
        if other != name:
            raise Invalid(f"mcp.{name}.id", f"the server {other!r} has the same id")


def _check(where: str, server: McpServer) -> None:
    if bool(server.command) == bool(server.url):
        raise Invalid(where, "give either `command` (a program to start) or `url` (a running server)")
    if server.url:
        _check_url(where, server)
    elif not server.command[0] or any("\0" in text for text in server.command):
        raise Invalid(f"{where}.command", "a program and its arguments")
    elif server.token_env:
        raise Invalid(f"{where}.token_env", "is only used with `url`; a program gets its secrets by `env`")
    if not all(_is_variable(text) for text in server.env):
        raise Invalid(f"{where}.env", _VARIABLE_RULE)
    if server.token_env and not _VARIABLE.fullmatch(server.token_env):
        raise Invalid(f"{where}.token_env", "the name of an environment variable, never the token itself")
    if server.prefix is not None and not _TOOL_PREFIX.fullmatch(server.prefix):
        raise Invalid(f"{where}.prefix", "at most 40 of A-Z, a-z, 0-9, `_` and `-`")
    if server.id and not _is_uuid(server.id):
        raise Invalid(f"{where}.id", "a UUID")
    if server.approval not in ("always", "never") or not {*server.tool_approval.values()} <= {"always", "never"}:
        raise Invalid(f"{where}.approval", "must be always or never")
    if not 1 <= server.tools_max <= TOOLS_MAX:
        raise Invalid(f"{where}.tools_max", f"from 1 to {TOOLS_MAX}")
    if not 0 < server.start_s < float("inf") or not 0 < (server.call_s or 1.0) < float("inf"):
        raise Invalid(f"{where}.{'start_s' if not 0 < server.start_s < float('inf') else 'call_s'}", "above 0")


def _check_url(where: str, server: McpServer) -> None:
    if server.env or server.cwd:
        raise Invalid(f"{where}.{'env' if server.env else 'cwd'}", "is only used with `command`")
    try:
        parts = urlsplit(server.url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise Invalid(f"{where}.url", "an address like https://tools.example.com/mcp")


def _is_variable(text: str) -> bool:
    target, equals, name = text.partition("=")
    return bool(_VARIABLE.fullmatch(target)) and (not equals or bool(_VARIABLE.fullmatch(name)))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def depth_below(labels: Mapping[str, str]) -> int:
    """How many chats are above one that a chat with these labels starts by MCP."""
    above = labels.get(DEPTH_LABEL, "")
    return 1 + (int(above) if above.isascii() and above.isdigit() and len(above) <= 3 else 0)
