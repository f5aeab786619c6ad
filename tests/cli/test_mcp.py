"""`antiphon mcp` without a server, and with clients that send anything or leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.cli import mcp_instance
from antiphon.cli.instance import InstanceAccess
from antiphon.cli.mcp_bridge import END_S, LINE_BYTES_MAX, Bridge
from antiphon.cli.stdio_lines import LineSplitter
from antiphon.client.asynchronous.http_client import make_http_client
from antiphon.errors import InstanceMissing
from support.waiting import DEADLINE_S

from .conftest import Run, environment

pytestmark = pytest.mark.anyio


class Command:
    """The command as a process, and its lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def send(self, line: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")

    async def read(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self.process.stdout.readline())

    async def end(self) -> tuple[int, str]:
        """Close its stdin: its exit code, and what it said on stderr."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        async with asyncio.timeout(DEADLINE_S):
            said = await self.process.stderr.read()
            return await self.process.wait(), said.decode()


Start = Callable[[], Awaitable[Command]]


@pytest.fixture
async def start(tmp_path: Path, runtime_dir: Path) -> AsyncIterator[Start]:
    """Starts commands in one directory."""
    started: list[asyncio.subprocess.Process] = []
    pipe = asyncio.subprocess.PIPE

    async def start_one() -> Command:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "antiphon.cli", "mcp"),
            cwd=tmp_path, env=environment(XDG_RUNTIME_DIR=str(runtime_dir)), stdin=pipe, stdout=pipe, stderr=pipe,
        )  # fmt: skip
        started.append(process)
        return Command(process)

    yield start_one
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def command(start: Start) -> Command:
    return await start()


def message(method: str, params: Any, echoed: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": echoed, "method": method, "params": params}


def tool(name: str, echoed: Any, **arguments: Any) -> dict[str, Any]:
    return message("tools/call", {"name": name, "arguments": arguments}, echoed)


async def test_a_client_may_send_anything_and_only_messages_come_back(command: Command) -> None:
    command.send(message("initialize", {"protocolVersion": "2025-06-18"}, "i"))
    assert (await command.read())["result"]["protocolVersion"] == "2025-06-18"
    command.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    for line, code in ((b"nonsense", -32700), (b"{}", -32600), (b"\xff\xfe", -32700), (b"[]", -32600),
                       (b'{"jsonrpc": "2.0", "id": 1, "method": "nope"}', -32601),
                       (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600)):  # fmt: skip
        command.send(line)
        assert (await command.read())["error"]["code"] == code, line
    command.send(b"[1]")
    assert [one["error"]["code"] for one in await command.read()] == [-32600]
    command.send(b'{"jsonrpc": "2.0", "id": 1, "method": "' + b"x" * LINE_BYTES_MAX + b'"}')
    assert (await command.read())["error"]["code"] == -32600
    # a call that is cancelled is never answered, and the answer goes on
    command.send(tool("start_chat", 1, text="/stall 60", wait_s=0))
    chat = {"chat_id": (await command.read())["result"]["structuredContent"]["chat_id"]}
    command.send(tool("wait_for_answer", "w", **chat, wait_s=500))
    command.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}})
    command.send(tool("wait_for_answer", 2, **chat, wait_s=0))
    answer = await command.read()
    assert (answer["id"], answer["result"]["structuredContent"]["status"]) == (2, "running")
    command.send(tool("stop", 3, **chat))
    assert (await command.read())["result"]["structuredContent"]["status"] == "interrupted"
    code, said = await command.end()
    assert code == 0
    assert said.startswith("antiphon: no instance is running; started one on .antiphon until this command ends")


async def test_the_end_of_stdin_is_awaited_for_a_moment_only(command: Command) -> None:
    for _ in range(2):  # with one id
        command.send(tool("start_chat", 1, text="/stall 60", wait_s=500))
    command.send(tool("list_chats", 2))
    assert (await command.read())["id"] == 2
    started = asyncio.get_running_loop().time()
    assert (await command.end())[0] == 0
    assert asyncio.get_running_loop().time() - started < DEADLINE_S / 2 > END_S


async def test_sigterm_ends_the_command(command: Command) -> None:
    command.send(message("ping", {}, 1))
    assert (await command.read())["result"] == {}
    command.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_S):
        assert await command.process.wait() == 0


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b'{"error": {"code": "not_found", "message": "m"}}', 404),
        ("application/json", b'{"error": "x"}', 503),
        ("application/json", b'{"result": 5}', 503),
        ("application/json", b"[]", 503),
        ("text/html", b"<html>", 503),
        ("text/event-stream", b'data: {"params": {"progress": "x"}}\n\n', 503),
    ],
)
async def test_a_response_that_is_not_of_mcp_is_an_error(kind: str, body: bytes, code: int) -> None:
    """MCP may be turned off at the instance, or something else may be at the address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 404 x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    (read, sent), (written, stdout) = os.pipe(), os.pipe()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with make_http_client(f"http://127.0.0.1:{port}", "t", timeout_s=5.0, verify=False) as http:
            instance = mcp_instance.Instance(None, "x", on_open=lambda: None)
            instance._http = http
            os.write(sent, json.dumps(message("initialize", {}, 1)).encode() + b"\n")
            os.close(sent)
            await Bridge(instance, stdin=read, stdout=stdout).run()
    found = json.loads(os.read(written, 10_000))
    assert (found["id"], found["error"]["code"]) == (1, code)


async def test_a_lost_instance_is_awaited_in_its_directory_before_another_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another instance of this machine has other chats, and one that is started has another agent."""
    own, chosen = Path("own"), [Path("own"), Path("of another project")]
    asked: list[tuple[str, Path | None]] = []

    @contextlib.asynccontextmanager
    async def find_or_start(data: Path | None, url: str | None) -> AsyncIterator[InstanceAccess]:
        asked.append(("start", data))
        yield InstanceAccess(url=f"http://127.0.0.1:{len(asked)}", token="t")

    def find(data: Path | None, url: str | None) -> InstanceAccess:
        asked.append(("find", data))
        raise InstanceMissing("none")

    monkeypatch.setattr(mcp_instance, "choose_data", lambda: chosen.pop(0))
    monkeypatch.setattr(mcp_instance, "find_or_start", find_or_start)
    monkeypatch.setattr(mcp_instance, "find_instance", find)
    instance = mcp_instance.Instance(None, None, on_open=lambda: None)
    await instance.open()
    lost = instance.http
    with pytest.raises(InstanceMissing):
        await instance.replace(lost)
    monkeypatch.setattr(mcp_instance, "START_AFTER_S", 0.0)
    await instance.replace(lost)
    await instance.replace(lost)
    await instance.close()
    assert asked == [("start", own), ("find", own), ("start", own)]


@pytest.mark.slow
async def test_a_command_goes_on_when_the_one_that_ran_the_instance_has_ended(start: Start) -> None:
    first = await start()
    first.send(message("ping", {}, 1))
    await first.read()
    second = await start()
    second.send(tool("start_chat", 1, text="/tokens 100\n/rate 100", wait_s=0))
    chat = {"chat_id": (await second.read())["result"]["structuredContent"]["chat_id"]}
    assert (await first.end())[0] == 0
    second.send(tool("wait_for_answer", 2, **chat))
    answer = (await second.read())["result"]["structuredContent"]
    assert (answer["status"], len(answer["answer"].split())) == ("answered", 100)
    code, said = await second.end()
    assert (code, said.count("started one on .antiphon")) == (0, 1)


def test_an_address_without_a_server_is_an_error_at_once(run_alone: Run) -> None:
    done = run_alone("mcp", "--url", "http://127.0.0.1:9", ANTIPHON_TOKEN="x")
    assert (done.code, done.out) == (3, "")


def test_lines_are_cut_at_any_place() -> None:
    data = b'{"a": 1}\r\n\n  \n{"b": 2}\n' + b"x" * 30 + b"\n[3]\nlast"
    whole = [b'{"a": 1}', b'{"b": 2}', None, b"[3]", b"last"]
    for size in (1, 2, 3, 7, 1_000):
        splitter = LineSplitter(20)
        lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
        assert [*lines, *splitter.end()] == whole, size
