"""An MCP server as a child process: JSON-RPC messages as lines on its standard input and output.

The SDK's own transport reads lines of any length and passes most of the environment on; this one bounds both. The
process is the leader of a process group of its own, which is killed as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from antiphon.core.depth import has_too_many_values
from antiphon.mcp_settings import McpServer
from antiphon.worker.tools.mcp.pacing import Pace

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Maximum size of one message of a server, in bytes. A larger one ends the connection."""
READ_BYTES = 64 * 1024
"""Maximum number of bytes per read."""
WRITE_S = 30.0
"""How long a server may not read its input while a message is written, in seconds. Then the connection ends."""
STOP_S = 1.0
"""How long a process may take to exit after its input is closed, in seconds. Then it gets SIGTERM."""
KILL_S = 0.5
"""How long a process group may take to exit after SIGTERM, in seconds. Then it is killed."""
INHERITED = ("PATH", "HOME")
"""The environment variables that every process gets."""

LOG_LINE_MAX = 1_000
"""Maximum length of a line of a server's standard error in the log, in characters."""
LOG_LINES_PER_S = 5.0
LOG_LINES_BURST = 50
"""Maximum number of such lines per second, and at once. Further ones are counted and dropped."""
LAST_LINES_MAX = 5
LAST_LINE_MAX = 300
"""Maximum number of its last lines, and length of each in characters, that the log has when the server has ended."""
LAST_LINES_S = 0.2
"""How long the last lines of a process that has ended are awaited, in seconds."""

Reader = MemoryObjectReceiveStream[SessionMessage | Exception]
Writer = MemoryObjectSendStream[SessionMessage]

log = structlog.get_logger(__name__)


class ProtocolError(Exception):
    """The server broke the protocol; the text says how."""


def environment_of(server: McpServer, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process: PATH, HOME and what the settings name. Of the latter, a variable that is not
    set is left out, which the log says."""
    given = {name: environ[name] for name in INHERITED if name in environ}
    missing: list[str] = []
    for text in server.env:
        target, _, name = text.partition("=")
        if (name or target) in environ:
            given[target] = environ[name or target]
        else:
            missing.append(name or target)
    if missing:
        log.warning("mcp_variables_missing", program=server.command[0], variables=missing)
    return given


@contextlib.asynccontextmanager
async def open_process(
    name: str,
    server: McpServer,
    *,
    environ: Mapping[str, str],
    on_end: Callable[[str], None],
    last_lines: deque[str] | None = None,
) -> AsyncIterator[tuple[Reader, Writer]]:
    """Start the server and connect to it; stop it when the block ends.

    Args:
        name: The server's name, for the log.
        server: Its settings.
        environ: The environment of this process.
        on_end: Called with the reason when the connection has ended by itself.
        last_lines: Gets the last lines of the process's standard error.

    Raises:
        OSError: The program cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *server.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=server.cwd or None,
            env=environment_of(server, environ),
            start_new_session=True,
        )
    except OSError as error:  # uvloop's does not say what is missing
        is_folder = server.cwd and not Path(server.cwd).is_dir()
        raise OSError(error.errno, error.strerror, server.cwd if is_folder else server.command[0]) from error
    received, inbound = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbound, sent = anyio.create_memory_object_stream[SessionMessage](0)
    is_stopping = False

    def report(reason: str) -> None:
        if not is_stopping:
            on_end(reason)

    errors = asyncio.create_task(_log_errors(name, process, last_lines))
    work = (_read_output(name, process, received), _write_input(process, sent))
    tasks = [errors, *(asyncio.create_task(_report_end(each, received, report)) for each in work)]
    try:
        yield inbound, outbound
    finally:
        is_stopping = True
        try:
            await _stop(process)
            await asyncio.wait({errors}, timeout=LAST_LINES_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for stream in (received, inbound, outbound, sent):
                stream.close()
            _close_pipes(process)


async def _report_end(work: Any, received: Any, on_end: Callable[[str], None]) -> None:
    """Run a reader or a writer. If the server ends the connection, the session and `on_end` are notified."""
    try:
        await work
    except (ProtocolError, TimeoutError, OSError) as error:
        received.close()
        on_end(str(error) or "it does not read its input")
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        pass  # the session has ended by itself


async def _read_output(name: str, process: asyncio.subprocess.Process, received: Any) -> None:
    """Pass each line on as a message. A line that is no JSON object is ignored: programs print to their output."""
    assert process.stdout is not None
    pace = Pace()
    lines: list[bytes] = []
    size = ignored = 0
    while data := await process.stdout.read(READ_BYTES):
        *whole, rest = data.split(b"\n")
        for piece in whole:
            line = b"".join((*lines, piece)).strip()
            lines, size = [], 0
            await pace.wait()
            if line.startswith(b"{"):
                await received.send(SessionMessage(_parse(line)))
            elif line:
                ignored += 1
                if ignored == 1:
                    log.warning("mcp_output_ignored", server=name, note="its output must have JSON-RPC messages only")
        lines.append(rest)
        size += len(rest)
        if size > MESSAGE_BYTES_MAX:
            raise ProtocolError(f"it sent a message of more than {MESSAGE_BYTES_MAX:,} bytes")
        await asyncio.sleep(0)
    raise ProtocolError("it closed its output")


def _parse(line: bytes) -> Any:
    if has_too_many_values(line):
        raise ProtocolError("it sent a message with too many JSON values")
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError as error:
        raise ProtocolError("it sent a message that is not JSON-RPC") from error


async def _write_input(process: asyncio.subprocess.Process, sent: Any) -> None:
    assert process.stdin is not None
    async for message in sent:
        text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        process.stdin.write(text.encode("utf-8", "replace") + b"\n")
        async with asyncio.timeout(WRITE_S):
            await process.stdin.drain()


async def _log_errors(name: str, process: asyncio.subprocess.Process, last_lines: deque[str] | None) -> None:
    """Write the process's standard error to the log: cut, without control characters, and not faster than allowed.
    What a server writes may be texts of chats, so it is logged for debugging only."""
    assert process.stderr is not None
    loop = asyncio.get_running_loop()
    allowed, counted_at, dropped = float(LOG_LINES_BURST), loop.time(), 0
    rest = b""
    while data := await process.stderr.read(READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LOG_LINE_MAX:
            lines, rest = [*lines, rest], b""
        for line in lines:
            now = loop.time()
            allowed = min(float(LOG_LINES_BURST), allowed + (now - counted_at) * LOG_LINES_PER_S)
            counted_at = now
            if allowed < 1:
                dropped += 1
            elif line.strip():
                allowed -= 1
                log.debug("mcp_server_output", server=name, line=_shown(line, LOG_LINE_MAX), dropped_before=dropped)
                dropped = 0
        if last_lines is not None:
            last_lines += [_shown(line, LAST_LINE_MAX) for line in lines[-LAST_LINES_MAX:] if line.strip()]
        await asyncio.sleep(0)
    if last_lines is not None and rest.strip():
        last_lines.append(_shown(rest, LAST_LINE_MAX))


def _shown(line: bytes, length_max: int) -> str:
    text = line[: 4 * length_max].decode("utf-8", "replace")[:length_max]
    return "".join(char if char.isprintable() else "\ufffd" for char in text.rstrip())


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close the input, wait, then end the whole group. Descendants that outlive the process are killed as well."""
    assert process.stdin is not None
    process.stdin.close()
    exited = asyncio.create_task(_exit_of(process))
    try:
        await asyncio.wait({exited}, timeout=STOP_S)
        if not exited.done():
            _signal_group(process, signal.SIGTERM)
            await asyncio.wait({exited}, timeout=KILL_S)
    finally:
        _signal_group(process, signal.SIGKILL)
        await asyncio.wait({exited}, timeout=KILL_S)
        exited.cancel()


async def _exit_of(process: asyncio.subprocess.Process) -> None:
    """Wait until the process itself has exited. (`process.wait` also waits for the pipes, which a descendant may
    hold.)"""
    while process.returncode is None:
        await asyncio.sleep(0.01)


def _signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    """Close the pipes also if a descendant holds their other ends."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
