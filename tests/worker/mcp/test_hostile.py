"""Hostile MCP servers stay within bounds, and the event loop stays free while they try."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import structlog

from antiphon import McpServer
from antiphon.core.parts import ToolResult
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.worker.tools.mcp.stdio import open_process
from antiphon.worker.tools.tool import OUTPUT_BYTES_MAX
from support.stopwatch import Stopwatch
from support.tcp_server import open_tcp_server
from support.waiting import wait_until

from ..raw_provider import read_request
from ..running import running
from .servers import HOSTILE_SERVER, call, wait_state

pytestmark = pytest.mark.anyio

STALL_S_MAX = 0.5
"""Maximum time for which the event loop stands still, in seconds."""
MIB = 1024 * 1024
GROWTH_MAX = 150 * MIB


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class LoopCheck:
    """The longest time for which the event loop stood still, and how much memory was used in addition."""

    def __init__(self) -> None:
        self.stall_s = 0.0
        self.growth = 0
        self._start = resident()

    async def run(self) -> None:
        while True:
            stopwatch, used_s = Stopwatch(), time.thread_time()
            await asyncio.sleep(0.01)
            used_s = time.thread_time() - used_s  # another thread may hold the interpreter and have no core
            self.stall_s = max(self.stall_s, min(stopwatch.elapsed_s() - 0.01, used_s))
            self.growth = max(self.growth, resident() - self._start)


@asynccontextmanager
async def attacked(attack: str, *, url: str = "", **more: Any) -> AsyncIterator[Instance]:
    """An instance with a hostile server. Leaving checks that the event loop was free, and the memory bounded."""
    more.setdefault("call_s", 2.0)
    settings = (
        McpServer(url=url, **more) if url else McpServer(command=(sys.executable, HOSTILE_SERVER, attack), **more)
    )
    async with running(mcp={"h": settings}, allow_outbound=("127.0.0.1",)) as instance:
        await wait_until(lambda: instance.mcp.states()[0].state != "starting", what="it was tried to connect")
        check = LoopCheck()
        checking = asyncio.create_task(check.run())
        try:
            yield instance
        finally:
            checking.cancel()
        assert check.stall_s < STALL_S_MAX
        assert check.growth < GROWTH_MAX


async def result_of_attack(attack: str, **more: Any) -> ToolResult:
    async with attacked(attack, **more) as instance:
        result = await call(instance, "h_call")
        other = await call(instance, "no_tool")  # turns go on
        assert other.result["error"] == "unknown_tool"
        return result


# --- calls

ENDINGS = {
    "gigabyte": "connection_lost",
    "deep result": "connection_lost",
    "million values": "connection_lost",
    "cut": "connection_lost",
    "not JSON-RPC": "connection_lost",
    "silent": "timeout",
    "flood": "timeout",
    "changes without end": "timeout",
    "wrong result": "failed",
}


@pytest.mark.parametrize("attack", ENDINGS)
async def test_a_hostile_call_is_an_error_result(attack: str) -> None:
    result = await result_of_attack(attack)
    assert (result.result["error"], result.is_error) == (ENDINGS[attack], True)


@pytest.mark.parametrize("attack", ["rather deep result", "long text", "many blocks", "noise", "errors without end"])
async def test_a_result_that_is_too_large_is_cut_and_noise_is_ignored(attack: str) -> None:
    result = await result_of_attack(attack, call_s=20.0)
    assert not result.is_error
    assert len(msgspec.json.encode(result.result)) < 2 * OUTPUT_BYTES_MAX


async def test_a_server_that_was_lost_is_connected_again() -> None:
    async with attacked("cut") as instance:
        assert (await call(instance, "h_call")).result["error"] == "connection_lost"
        await wait_state(instance, "connected")


async def test_standard_error_reaches_the_log_within_bounds_and_without_control_characters() -> None:
    with structlog.testing.capture_logs() as logs:
        async with attacked("errors without end", call_s=20.0) as instance:
            await call(instance, "h_call")
            await wait_until(lambda: any(log["event"] == "mcp_server_output" for log in logs))
    written = [log for log in logs if log["event"] == "mcp_server_output"]
    assert {log["log_level"] for log in written} == {"debug"}  # it may be texts of chats
    lines = [log["line"] for log in written]
    assert 0 < len(lines) < 100
    assert max(map(len, lines)) <= 1_000
    assert not any("\x1b" in line for line in lines)


async def test_the_last_lines_of_a_program_that_has_ended_are_in_the_log_and_nowhere_else() -> None:
    script = "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; printf 'no \\033[1m key' >&2; exit 3"
    with structlog.testing.capture_logs() as logs:
        async with running(mcp={"h": McpServer(command=("sh", "-c", script))}) as instance:
            await wait_state(instance, "lost")
            assert "line 7" not in str(instance.mcp.error)
    failed = next(log for log in logs if log["event"] == "mcp_connection_failed")
    assert failed["output"] == ["line 4", "line 5", "line 6", "line 7", "no \ufffd[1m key"]


# --- listings


async def test_a_server_offers_at_most_the_maximum_of_tools() -> None:
    async with attacked("thousand tools", tools_max=50) as instance:
        await wait_state(instance, "connected")
        assert len(instance.mcp.states()[0].tools) == 50


async def test_a_listing_that_exceeds_the_limits_of_a_message_is_refused() -> None:
    async with attacked("ten thousand tools") as instance:
        assert instance.mcp.error == "not connected: h (it sent a message with too many JSON values)"


@pytest.mark.parametrize("attack", ["deep schema", "large schema", "endless pages"])
async def test_a_tool_that_exceeds_a_limit_is_not_offered(attack: str) -> None:
    async with attacked(attack) as instance:
        await wait_state(instance, "connected")
        assert instance.mcp.states()[0].tools == ("h_call",)


async def test_a_long_description_is_cut() -> None:
    async with attacked("long description") as instance:
        await wait_state(instance, "connected")
        chat = (await instance.chats.create()).chat
        assert len(instance.mcp.tools_of(chat)["h_long"].description) == 4_096


async def test_names_are_made_valid_and_unique() -> None:
    async with attacked("names") as instance:
        await wait_state(instance, "connected")
        names = instance.mcp.states()[0].tools
        assert len(set(names)) == 4  # the empty name and the one of 300 characters are left out
        assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
        assert all(name.isascii() for name in names)


async def test_a_server_that_never_starts_blocks_no_turn_for_long() -> None:
    async with attacked("never starts", start_s=1.0) as instance:
        assert (await call(instance, "h_call")).result["error"] == "unknown_tool"
        assert instance.mcp.error == "not connected: h (it did not start in time)"


async def test_a_program_that_does_not_exit_is_killed() -> None:
    async with attacked("does not exit") as instance:
        await wait_state(instance, "connected")
    found = [path for path in os.listdir("/proc") if path.isdigit() and is_hostile(path, "does not exit")]
    assert found == []


def is_hostile(pid: str, attack: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().split(b"\0")
    except OSError:
        return False
    return HOSTILE_SERVER.encode() in arguments and attack.encode() in arguments


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"command": ("no-such-program",)}, "no-such-program"),
        ({"command": ("sh",), "cwd": "/no/folder"}, "/no/folder"),
    ],
)
@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": True}), ("asyncio", {})], ids=["uvloop", "asyncio"]
)
async def test_a_program_that_cannot_be_started_is_named(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(FileNotFoundError) as failed:
        async with open_process("x", McpServer(**fields), environ=os.environ, on_end=lambda reason: None):
            pass
    assert failed.value.filename == missing


# --- over HTTP


def http_head(content_type: str, length: int | None = None) -> bytes:
    size = f"Content-Length: {length}\r\n" if length is not None else ""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{size}\r\n".encode()


def json_answer(request: dict[str, Any], result: Any) -> bytes:
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": request.get("id"), "result": result})
    return http_head("application/json", len(body)) + body


@asynccontextmanager
async def hostile_address(attack: str) -> AsyncIterator[str]:
    """A server of the older protocol that answers a call by an attack."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _, body = await read_request(reader)
        request = msgspec.json.decode(body) if body else {}
        method = request.get("method", line.partition(" ")[0])
        if method == "initialize":
            info = {"name": "hostile", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            writer.write(json_answer(request, result))
        elif method == "tools/list":
            tools = [{"name": "call", "inputSchema": {"type": "object"}}]
            writer.write(json_answer(request, {"tools": tools}))
        elif method == "tools/call":
            await attack_with(attack, request, reader, writer)
        elif method.startswith("notifications/"):
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with open_tcp_server(handle) as port:
        yield f"http://127.0.0.1:{port}/mcp"


async def attack_with(
    attack: str, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    token = request["params"]["_meta"]["progressToken"]
    if attack == "gigabyte":
        writer.write(http_head("application/json"))
        piece = b"x" * MIB
        for _ in range(1024):
            writer.write(piece)
            await writer.drain()
    elif attack == "gigabyte event":
        writer.write(http_head("text/event-stream") + b"data: ")
        piece = b"x" * MIB
        for _ in range(1024):
            writer.write(piece)
            await writer.drain()
    elif attack == "flood":
        params = {"progressToken": token, "progress": 1, "message": "x" * 1000}
        event = msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        writer.write(http_head("text/event-stream"))
        while True:
            writer.write((b"event: message\r\ndata: " + event + b"\r\n\r\n") * 100)
            await writer.drain()
    elif attack == "silent":
        await reader.read()
    elif attack == "redirect":
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n")
    elif attack == "compressed":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\nxx")
    elif attack == "deep":
        body = b'{"jsonrpc":"2.0","id":1,"result":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001
        writer.write(http_head("application/json", len(body)) + body)
    elif attack == "cut":
        writer.write(http_head("text/event-stream") + b'event: message\ndata: {"jsonrpc"')


HTTP_ENDINGS = {
    "gigabyte": "connection_lost",
    "gigabyte event": "connection_lost",
    "flood": "timeout",
    "silent": "timeout",
    "redirect": "failed",
    "compressed": "connection_lost",
    "deep": "failed",
    "cut": "connection_lost",
}


@pytest.mark.parametrize("attack", HTTP_ENDINGS)
async def test_a_hostile_answer_over_http_is_an_error_result(attack: str) -> None:
    async with hostile_address(attack) as url, attacked(attack, url=url) as instance:
        result = await call(instance, "h_call")
        assert (result.result["error"], result.is_error) == (HTTP_ENDINGS[attack], True)
        assert (await call(instance, "no_tool")).result["error"] == "unknown_tool"
