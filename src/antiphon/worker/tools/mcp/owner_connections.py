"""Connections of the owners to one MCP server: for a server whose session must see the calls of one owner only.

A connection is opened by the first call of its owner, and closed when it was idle for some time, or when another
owner needs its place. If all places have calls under way, a call waits for one, for a bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from antiphon.worker.tools.tool import ToolContext, ToolFailed

OPEN_MAX = 32
"""Maximum number of open connections of owners to one server. A program runs once for each."""
IDLE_S = 300.0
"""How long a connection without calls is kept open, in seconds."""
PLACE_WAIT_S = 30.0
"""How long a call waits for a place, in seconds. After that it has not run, which its result says."""


class Connection(Protocol):
    """What this module needs of an `McpConnection`."""

    settled: asyncio.Event

    async def call(self, own_name: str, args: Any, context: ToolContext) -> Any: ...

    async def run(self) -> None: ...


class _Open:
    """An open connection, the task that keeps it open, and its calls under way."""

    def __init__(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self.connection = connection
        self.task = task
        self.calls = 0
        self.used_at = 0.0


class OwnerConnections:
    """`run` it as a task, which owns all connections; `call` uses that of the owner."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Connection],
        *,
        start_s: float,
        open_max: int = OPEN_MAX,
        idle_s: float = IDLE_S,
        place_wait_s: float = PLACE_WAIT_S,
    ) -> None:
        """
        Args:
            name: The server's name.
            make: Makes a connection to it.
            start_s: How long a connection may take to open, in seconds.
            open_max: Maximum number of open connections.
            idle_s: How long a connection without calls is kept open, in seconds.
            place_wait_s: How long a call waits for a place, in seconds.
        """
        self._name = name
        self._make = make
        self._start_s = start_s
        self._open_max = open_max
        self._idle_s = idle_s
        self._place_wait_s = place_wait_s
        self._open: OrderedDict[str, _Open] = OrderedDict()
        """The connections by owner, the least recently used one first."""
        self._closing: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        """Set when a call has ended or a connection is closed."""
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def owner_ids(self) -> tuple[str, ...]:
        """The owners that have a connection."""
        return tuple(self._open)

    async def run(self) -> None:
        """Close idle connections until cancelled; then close all."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                while True:
                    await asyncio.sleep(self._idle_s / 4)
                    self._close_idle()
            finally:
                self._tasks = None  # the group cancels the connections

    async def call(self, own_name: str, args: Any, context: ToolContext) -> Any:
        """Call a tool over the connection of the call's owner, as `McpConnection.call` does."""
        async with self._connection(context.owner) as connection:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._start_s):
                    await connection.settled.wait()
            return await connection.call(own_name, args, context)

    @contextlib.asynccontextmanager
    async def _connection(self, owner_id: str) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(self._place_wait_s):
                await self._wait_place(owner_id)
        except TimeoutError as error:
            message = f"The MCP server {self._name!r} is busy with calls of others. The tool did not run."
            raise ToolFailed({"error": "unavailable", "message": message}) from error
        one = self._open.get(owner_id) or self._connect(owner_id)
        one.calls += 1
        try:
            yield one.connection
        finally:
            one.calls -= 1
            one.used_at = asyncio.get_running_loop().time()
            if self._open.get(owner_id) is one:
                self._open.move_to_end(owner_id)
            self._freed.set()

    async def _wait_place(self, owner_id: str) -> None:
        """Wait until the owner has a connection or there is a place for one. The least recently used connection
        without calls is closed for it; a program has then ended."""
        closing: asyncio.Task[None] | None = None
        while owner_id not in self._open and len(self._open) + len(self._closing) >= self._open_max:
            idle = next((other for other, one in self._open.items() if not one.calls), None)
            if idle is not None and (closing is None or closing.done()):
                closing = self._close(idle)
            self._freed.clear()
            await self._freed.wait()

    def _connect(self, owner_id: str) -> _Open:
        if self._tasks is None:
            message = f"The MCP server {self._name!r} is not connected. The tool did not run."
            raise ToolFailed({"error": "unavailable", "message": message})
        connection = self._make()
        one = self._open[owner_id] = _Open(connection, self._tasks.create_task(connection.run()))
        return one

    def _close_idle(self) -> None:
        limit = asyncio.get_running_loop().time() - self._idle_s
        for owner_id in [owner_id for owner_id, one in self._open.items() if not one.calls and one.used_at < limit]:
            self._close(owner_id)

    def _close(self, owner_id: str) -> asyncio.Task[None]:
        """Close a connection. It has its place until it is closed."""
        task = self._open.pop(owner_id).task
        self._closing.add(task)
        task.add_done_callback(self._on_closed)
        task.cancel()
        return task

    def _on_closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        self._freed.set()
