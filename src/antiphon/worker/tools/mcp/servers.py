"""The MCP servers of an instance: their connections, and the tools that each chat gets from them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Protocol

from antiphon.core.model import Chat
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.mcp_settings import McpServer, check_servers, server_id
from antiphon.models.outbound import Outbound
from antiphon.worker.tools.mcp.owner_connections import OwnerConnections
from antiphon.worker.tools.tool import RawTool, Tool

FIRST_WAIT_S = 10.0
"""How long a turn waits for servers that are still starting with the instance, in seconds. Then it goes on without
their tools."""
MISSING_WAIT_S = 30.0
"""How long a call that an earlier attempt left waits for servers that have not started, in seconds. Then its result
says that its tool is unavailable."""
CHANGE_WAIT_S = 2.0
"""How long a model call waits for the tools of servers that have reported a change, in seconds."""


class Connection(Protocol):
    """What this module needs of an `McpConnection`, whose module needs the SDK."""

    tools: tuple[RawTool, ...]
    error: str | None
    settled: asyncio.Event
    listed: asyncio.Event
    first_listed: asyncio.Event

    @property
    def is_connected(self) -> bool: ...

    def want(self) -> None: ...

    async def run(self) -> None: ...


class McpServerState(Value):
    """A configured server: its id and name, whether it is `starting`, `connected` or `lost`, and its tools."""

    id: str
    name: str
    state: str
    tools: tuple[str, ...] = ()


class McpServers:
    """`run` it as a task: each server has a connection of its own, which that task owns. With `per_owner` that one
    only lists the tools, and calls go over those of the owners."""

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        outbound: Outbound,
        tool_s: float,
        random: Random,
        missing_wait_s: float = MISSING_WAIT_S,
    ) -> None:
        """Raises `Invalid` if the settings are not valid, or the SDK is not installed."""
        check_servers(servers)
        if servers and importlib.util.find_spec("mcp") is None:
            raise Invalid("mcp", "requires the MCP SDK: pip install 'antiphon[mcp]'")
        self._servers = dict(servers)
        self._outbound = outbound
        self._tool_s = tool_s
        self._random = random
        self._missing_wait_s = missing_wait_s
        self._names = {server_id(name, server): name for name, server in servers.items()}
        self._connections: dict[str, Connection] = {}
        self._opened = asyncio.Event()

    @property
    def error(self) -> str | None:
        """The servers that are not connected; None if all are, or are still starting."""
        failed = [f"{name} ({one.error})" for name, one in self._connections.items() if one.error]
        return f"not connected: {', '.join(failed)}" if failed else None

    async def run(self) -> None:
        """Keep all servers connected until cancelled; then disconnect from them."""
        if not self._servers:
            return
        # The SDK is optional, and takes a second to import: a thread does it.
        module = await asyncio.to_thread(importlib.import_module, "antiphon.worker.tools.mcp.connection")
        of_owners: list[OwnerConnections] = []
        for name, server in self._servers.items():
            make = partial(
                module.McpConnection, name, server, outbound=self._outbound, tool_s=self._tool_s, random=self._random
            )
            call = None
            if server.per_owner:
                owners = OwnerConnections(name, partial(make, is_counted=False), start_s=server.start_s)
                of_owners.append(owners)
                call = owners.call
            self._connections[name] = make(call=call)
        self._opened.set()
        async with asyncio.TaskGroup() as tasks:
            for owners in of_owners:
                tasks.create_task(owners.run())
            for connection in self._connections.values():
                tasks.create_task(connection.run())

    # --- for turns

    def tools_of(self, chat: Chat) -> dict[str, Tool]:
        """The tools of the servers that a chat uses, by name. Of two with one name it is the first server's."""
        found: dict[str, Tool] = {}
        for connection in self._connections_of(chat):
            for tool in connection.tools:
                found.setdefault(tool.name, tool)
        return found

    async def wait_started(self, chat: Chat) -> None:
        """Wait until each server that the chat uses has tried to connect, for FIRST_WAIT_S at most."""
        if not self._servers or chat.mcp_server_ids == ():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WAIT_S):
                await self._opened.wait()
                for connection in self._connections_of(chat):
                    await connection.settled.wait()

    async def wait_tool(self, chat: Chat, tool_name: str) -> tuple[str, ...]:
        """Wait for a tool that may belong to a server which has not listed its tools yet, for MISSING_WAIT_S at most.

        Returns:
            The names of the servers that have still not listed theirs; empty if the tool is there, or none of the
            chat's servers is missing.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._missing_wait_s):
                if self._servers and chat.mcp_server_ids != ():
                    await self._opened.wait()
                while tool_name not in self.tools_of(chat) and (missing := self._missing(chat)):
                    await _first_listed(missing)
        return () if tool_name in self.tools_of(chat) else tuple(sorted(self._missing(chat)))

    def starting(self, chat: Chat) -> tuple[str, ...]:
        """The names of the chat's servers whose first try to connect has not ended."""
        return tuple(
            name
            for server, name in self._names.items()
            if (chat.mcp_server_ids is None or server in chat.mcp_server_ids)
            and (name not in self._connections or not self._connections[name].settled.is_set())
        )

    def _missing(self, chat: Chat) -> dict[str, Connection]:
        """The servers of a chat whose tools are not known, by name."""
        named = {server: name for server, name in self._names.items() if name in self._connections}
        return {
            name: self._connections[name]
            for server, name in named.items()
            if (chat.mcp_server_ids is None or server in chat.mcp_server_ids)
            and not self._connections[name].first_listed.is_set()
        }

    async def wait_listed(self, chat: Chat) -> None:
        """Wait until each server that has reported a change of its tools was asked for them, for CHANGE_WAIT_S at
        most."""
        outdated = [one.listed for one in self._connections_of(chat) if not one.listed.is_set()]
        if not outdated:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHANGE_WAIT_S):
                for listed in outdated:
                    await listed.wait()

    def _connections_of(self, chat: Chat) -> Iterator[Connection]:
        for server, name in self._names.items():
            if (chat.mcp_server_ids is None or server in chat.mcp_server_ids) and name in self._connections:
                yield self._connections[name]

    # --- for people

    def check_ids(self, ids: Sequence[str]) -> None:
        """Raises `Invalid` for an id of no configured server."""
        for one in ids:
            if one not in self._names:
                known = ", ".join(f"{server} ({name})" for server, name in self._names.items()) or "none"
                raise Invalid("mcp_server_ids", f"there is no MCP server {one}; there are: {known}")

    def states(self) -> tuple[McpServerState, ...]:
        """All configured servers."""
        return tuple(self._state(server, name) for server, name in self._names.items())

    def _state(self, server: str, name: str) -> McpServerState:
        connection = self._connections.get(name)
        if connection is None:
            return McpServerState(id=server, name=name, state="starting")
        state = "connected" if connection.is_connected else "lost" if connection.error else "starting"
        return McpServerState(id=server, name=name, state=state, tools=tuple(tool.name for tool in connection.tools))


async def _first_listed(connections: Mapping[str, Connection]) -> None:
    """Wait until one of these servers has listed its tools for the first time."""
    for connection in connections.values():
        connection.want()
    waiting = {asyncio.ensure_future(connection.first_listed.wait()) for connection in connections.values()}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
