"""The connection to one MCP server: opened, kept open and closed by one task, used by any number of tool calls.

How it works
------------
The SDK's context managers must be entered and left in the same task, so `run` is that task: it connects, lists the
tools, waits until the connection is lost, and starts again after a delay (`backoff`). A call waits for the connection
if there is none, which also ends the delay. A call is sent once: if its connection is lost, nothing is known of its
effect, and that is its result.

The tools are listed again when the server says that they have changed. While the connection is lost, the tools of
the last listing are still offered, so that a short restart of the server is not visible to models.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any

import httpx2
import structlog
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
    ToolListChangedNotification,
)
from mcp_types import Tool as ListedTool
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from antiphon.backoff import Backoff
from antiphon.mcp_settings import DEPTH_KEY, McpServer, depth_below
from antiphon.models.outbound import Outbound
from antiphon.observe.metrics import METRICS
from antiphon.version import __version__
from antiphon.worker.tools.mcp.call_slots import CallSlots
from antiphon.worker.tools.mcp.http import BROKEN, MESSAGE_BYTES_MAX, NOT_SENT, CheckedTransport
from antiphon.worker.tools.mcp.listing import Call, offered_tools
from antiphon.worker.tools.mcp.progress import ProgressReporter
from antiphon.worker.tools.mcp.results import value_of
from antiphon.worker.tools.mcp.stdio import LAST_LINES_MAX, open_process
from antiphon.worker.tools.tool import RawTool, ToolContext, ToolFailed

RECONNECT = Backoff(first_s=0.5, max_s=60.0, min_s=0.1)
"""Between two tries to connect. A connection that lasted STABLE_S starts it again."""
STABLE_S = 30.0
REFRESH_S = 1.0
"""Minimum time between two listings of the tools, in seconds."""
PAGES_MAX = 32
"""Maximum number of pages of a listing of tools that are read."""
CALL_WAIT_S = 5.0
"""How long a call waits for a lost connection to be restored, in seconds."""
CALLS_MAX = 64
OWNER_CALLS_MAX = 32
"""Maximum number of concurrent calls at one server, in all and of one owner. Further ones wait."""
SLOT_WAIT_S = 30.0
"""How long a call waits for others to end, in seconds. After that it has not run, which its result says."""
MESSAGE_MAX = 1_000
"""Maximum length of an error message of a server, in characters."""
MARGIN_S = 5.0
"""How much later than the limit of a tool the SDK gives up, in seconds."""

log = structlog.get_logger(__name__)


class McpConnection:
    """`run` it as a task, and cancel that task to close it. `tools` are those of the last listing."""

    def __init__(
        self,
        name: str,
        server: McpServer,
        *,
        outbound: Outbound,
        tool_s: float,
        random: Random,
        backoff: Backoff = RECONNECT,
        environ: Mapping[str, str] = os.environ,
        call: Call | None = None,
        is_counted: bool = True,
    ) -> None:
        """
        Args:
            name: The server's name.
            server: Its settings.
            outbound: The addresses that may be called.
            tool_s: How long a tool may run that has no limit of its own, in seconds.
            random: For the delays between two tries to connect.
            backoff: The same.
            environ: Where the variables that the settings name are read.
            call: What runs the calls of the listed tools; default: this connection does.
            is_counted: Whether the metrics of the server are those of this connection.
        """
        self.name = name
        self.tools: tuple[RawTool, ...] = ()
        self.error: str | None = None
        """Why there is no connection; None while there is one, and before the first try has ended."""
        self.settled = asyncio.Event()
        """The first try to connect has ended."""
        self.listed = asyncio.Event()
        """The listing of the tools is not outdated by a change that the server has reported."""
        self.listed.set()
        self.first_listed = asyncio.Event()
        """The tools were listed at least once."""
        self._server = server
        self._outbound = outbound
        self._call_s = server.call_s or tool_s
        self._random = random
        self._backoff = backoff
        self._environ = environ
        self._run_call = call or self.call
        self._is_counted = is_counted
        self._client: Client | None = None
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES_MAX)
        """The last lines that the program has written to its standard error."""
        self._connected = asyncio.Event()
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._slots = CallSlots(calls_max=CALLS_MAX, owner_calls_max=OWNER_CALLS_MAX, wait_s=SLOT_WAIT_S)

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    # --- the task that owns the connection

    async def run(self) -> None:
        """Keep the connection open until cancelled."""
        tries = 0
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            try:
                reason = await self._stay_connected()
            except (asyncio.CancelledError, Exception) as error:
                reason = self._lost.result() if self._lost.done() else _reason_of(error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError
            was_connected = self._client is not None
            self._client = None
            self.error = reason
            self.settled.set()
            tries = 1 if was_connected and loop.time() - started_at >= STABLE_S else tries + 1
            event = "mcp_connection_lost" if was_connected else "mcp_connection_failed"
            output = {"output": list(self._last_lines)} if self._last_lines else {}
            log.warning(event, server=self.name, error=reason, tries=tries, **output)
            METRICS.mcp_failures.labels(self.name).inc()
            await self._pause(self._backoff.delay_s(tries, self._random))

    async def _pause(self, delay_s: float) -> None:
        """Wait before the next try; less if a call waits for the connection."""
        await asyncio.sleep(self._backoff.min_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, delay_s - self._backoff.min_s)):
                await self._wanted.wait()

    async def _stay_connected(self) -> str:
        """Connect and list the tools, then follow their changes. Returns why the connection was lost."""
        self._lost = asyncio.get_running_loop().create_future()
        self._changed.clear()
        self._wanted.clear()
        async with asyncio.timeout(self._server.start_s) as limit, self._open_client() as client:
            await self._list_tools(client)
            limit.reschedule(None)
            self._client, self.error = client, None
            self._connected.set()
            self.settled.set()
            self._count_connected(1)
            log.info("mcp_server_connected", server=self.name, tools=len(self.tools))
            listening = asyncio.create_task(self._listen(client))
            try:
                return await self._follow_changes(client)
            finally:
                self._connected.clear()
                self.listed.set()
                self._count_connected(0)
                listening.cancel()
                await asyncio.wait({listening})

    def _count_connected(self, value: int) -> None:
        if self._is_counted:
            METRICS.mcp_connected.labels(self.name).set(value)

    @contextlib.asynccontextmanager
    async def _open_client(self) -> AsyncIterator[Client]:
        async with contextlib.AsyncExitStack() as stack:
            transport: Any
            if self._server.command:
                self._last_lines.clear()
                transport = open_process(
                    self.name,
                    self._server,
                    environ=self._environ,
                    on_end=self._lose,
                    last_lines=self._last_lines,
                )
            else:
                http_client = await stack.enter_async_context(self._make_http_client())
                transport = streamable_http_client(
                    self._server.url, http_client=http_client, max_sse_event_size=MESSAGE_BYTES_MAX
                )
            yield await stack.enter_async_context(
                Client(
                    transport,
                    cache=None,
                    client_info=Implementation(name="antiphon", version=__version__),
                    message_handler=self._on_message,
                    read_timeout_seconds=self._server.start_s,
                )
            )

    def _make_http_client(self) -> httpx2.AsyncClient:
        self._outbound.check_url(self._server.url, field=f"mcp.{self.name}.url")
        headers = {}
        if self._server.token_env:
            token = self._environ.get(self._server.token_env, "")
            if not token or not token.isascii() or not token.isprintable():
                raise ValueError(f"the environment variable {self._server.token_env} has no token")
            headers["Authorization"] = f"Bearer {token}"
        transport = CheckedTransport(
            self._server.url, outbound=self._outbound, call_s=self._call_s + MARGIN_S, on_lost=self._lose
        )
        return httpx2.AsyncClient(
            transport=transport, headers=headers, timeout=None, trust_env=False, max_redirects=0
        )

    def _lose(self, reason: str) -> None:
        self._connected.clear()
        if not self._lost.done():
            self._lost.set_result(reason)

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self.listed.clear()

    # --- the listing of tools

    async def _follow_changes(self, client: Client) -> str:
        """List the tools whenever they change. Returns why the connection was lost."""
        while True:
            changed = asyncio.ensure_future(self._changed.wait())
            waited_for: set[asyncio.Future[Any]] = {changed, self._lost}
            try:
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            if self._lost.done():
                return self._lost.result()
            self._changed.clear()
            async with asyncio.timeout(self._server.start_s):
                await self._list_tools(client)
            log.info("mcp_tools_changed", server=self.name, tools=len(self.tools))
            await asyncio.wait({self._lost}, timeout=REFRESH_S)

    async def _listen(self, client: Client) -> None:
        """Follow the changes of a server whose protocol version has a request for that; others notify by
        themselves."""
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        tries = 0
        while True:
            try:
                async with client.listen(tools_list_changed=True) as events:
                    tries = 0
                    async for _ in events:
                        self._note_change()
            except MCPError as error:
                if error.code not in (CONNECTION_CLOSED, BROKEN, NOT_SENT):
                    return  # the server has no such request: its tools do not change
            except Exception as error:
                log.debug("mcp_listen_failed", server=self.name, error=type(error).__name__)
            tries += 1
            await asyncio.sleep(self._backoff.delay_s(tries, self._random))
            self._changed.set()

    async def _list_tools(self, client: Client) -> None:
        listed: list[ListedTool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            params = PaginatedRequestParams(cursor=cursor) if cursor else None
            page = await client.session.list_tools(params=params)
            listed += page.tools
            cursor = page.next_cursor
            if not cursor or len(listed) >= 2 * self._server.tools_max:
                break
        self.tools = offered_tools(self.name, self._server, listed, self._run_call, call_s=self._call_s)
        self.first_listed.set()
        if not self._changed.is_set():
            self.listed.set()
        if self._is_counted:
            METRICS.mcp_tools.labels(self.name).set(len(self.tools))

    # --- calls

    def want(self) -> None:
        """Connect soon: a call needs a tool of this server."""
        self._wanted.set()

    async def call(self, own_name: str, args: Any, context: ToolContext) -> Any:
        """Call a tool by the server's own name.

        Returns:
            The result as a JSON value.

        Raises:
            ToolFailed: The tool or the call failed. Cancelling the call cancels it at the server.
        """
        if args is not None and not isinstance(args, dict):
            raise ToolFailed({"error": "invalid_args", "message": "The arguments must be a JSON object."})
        meta = {DEPTH_KEY: depth_below(context.labels)}
        params = {"name": own_name, "arguments": args or {}, "_meta": meta}
        request = CallToolRequest(params=CallToolRequestParams.model_validate(params))
        async with self._slot(context.owner):
            client = await self._wait_connected()
            try:
                result = await client.session.send_request(
                    request,
                    CallToolResult,
                    request_read_timeout_seconds=self._call_s + MARGIN_S,
                    progress_callback=ProgressReporter(context),
                )
            except MCPError as error:
                METRICS.mcp_calls.labels(self.name, "failed").inc()
                raise ToolFailed(_failure_of(self.name, error)) from error
            except ValidationError as error:
                METRICS.mcp_calls.labels(self.name, "failed").inc()
                raise ToolFailed({"error": "failed", "message": "The server's result is not valid."}) from error
        METRICS.mcp_calls.labels(self.name, "error" if result.is_error else "ok").inc()
        value = await value_of(result, context)
        if result.is_error:
            raise ToolFailed(value)
        return value

    @contextlib.asynccontextmanager
    async def _slot(self, owner_id: str) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._slots.slot(owner_id))
            except TimeoutError as error:
                message = f"The MCP server {self.name!r} is busy with other calls. The tool did not run."
                raise ToolFailed({"error": "unavailable", "message": message}) from error
            yield

    async def _wait_connected(self) -> Client:
        """The client, if there is a connection soon."""
        if not self._connected.is_set():
            self._wanted.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALL_WAIT_S):
                    await self._connected.wait()
        if self._client is None or not self._connected.is_set():
            METRICS.mcp_calls.labels(self.name, "unavailable").inc()
            message = f"The MCP server {self.name!r} is not connected. The tool did not run."
            raise ToolFailed({"error": "unavailable", "message": message})
        return self._client


def _failure_of(name: str, error: MCPError) -> dict[str, str]:
    """The result of a call that got no result of its tool."""
    if error.code in (CONNECTION_CLOSED, BROKEN):
        message = (
            f"The connection to the MCP server {name!r} was lost during the call. It is unknown whether the tool has "
            "run and what it has done."
        )
        return {"error": "connection_lost", "message": message}
    if error.code == NOT_SENT:
        return {"error": "unavailable", "message": f"The MCP server {name!r} is down. The tool did not run."}
    return {"error": "failed", "message": error.message[:MESSAGE_MAX]}


def _reason_of(error: BaseException) -> str:
    """An exception as a sentence for the log, without what the server sent."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "it did not start in time"
    if isinstance(error, MCPError):
        return f"it answered with an error: {error.message[:MESSAGE_MAX]}"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"its program cannot be started: {error.strerror}: {error.filename}"
    return f"{type(error).__name__}: {error}"[:MESSAGE_MAX]
