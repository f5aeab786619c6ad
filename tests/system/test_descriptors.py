"""A server with few file descriptors: idle connections make room, and being out of descriptors passes."""

from __future__ import annotations

import asyncio
import errno
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon import Turn, open_instance
from antiphon.api.http.answers import error_answer
from antiphon.core.model import Status
from antiphon.core.parts import text_of
from antiphon.local.descriptors import CONNECTIONS_MAX, RESERVE, connections_max, is_out_of_descriptors
from antiphon.options import Options
from support.waiting import DEADLINE_S

from .server_process import ServerProcess

pytestmark = pytest.mark.anyio

SOFT, HARD = 100, 600
LIMITED = (
    "import resource, sys; "
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({SOFT}, {HARD})); "
    "from antiphon.cli import main; sys.argv[0] = 'antiphon'; main()"
)
PLACES = HARD - RESERVE


@asynccontextmanager
async def limited_server(folder: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(folder / "data", command=("-c", LIMITED, "serve"))
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


class Idle:
    """A connection that sends what it is given, and then nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: ServerProcess, start: bytes = b"") -> Idle:
        idle = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        idle.writer.write(start)
        return idle

    async def is_closed(self) -> bool:
        try:
            async with asyncio.timeout(5):
                while await self.reader.read(1 << 16):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


KINDS = {
    "that sent nothing": b"",
    "that began a head": b"GET /healthz HTTP/1.1\r\nHost: localh",
    "that were answered": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "that upgrade": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("start", KINDS.values(), ids=KINDS)
async def test_idle_connections_make_room_for_requests(tmp_path: Path, start: bytes) -> None:
    async with limited_server(tmp_path) as server:
        _, chat = await server.ask("POST", "/chats", {})
        stream = await server.open_stream(f"/chats/{chat['id']}/stream")
        idle = [await Idle.open(server, start) for _ in range(1_100)]
        try:
            for number in range(20):
                path = f"/chats/{chat['id']}/messages"
                async with asyncio.timeout(DEADLINE_S):
                    status, _ = await server.ask("POST", path, {"content": f"{number}"})
                assert status in (201, 202)
            assert all(await asyncio.gather(*(one.is_closed() for one in idle[:600]))), "the longest idle went first"
            async with asyncio.timeout(DEADLINE_S):
                while (await stream.next())[1] != "turn_ended":  # type: ignore[index]
                    pass
        finally:
            await stream.close()
            for one in idle:
                one.writer.transport.abort()


async def test_where_all_connections_are_in_use_one_more_is_refused_in_words(tmp_path: Path) -> None:
    async with limited_server(tmp_path) as server:
        _, chat = await server.ask("POST", "/chats", {})
        streams = [await server.open_stream(f"/chats/{chat['id']}/stream") for _ in range(PLACES)]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"unavailable"' in answer
            await streams.pop().close()
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    try:
                        status, _ = await server.ask("GET", "/chats")
                        break
                    except OSError:
                        await asyncio.sleep(0.02)
            assert status == 200
        finally:
            for stream in streams:
                await stream.close()


async def test_the_start_raises_the_soft_limit_and_warns_where_it_is_small(tmp_path: Path) -> None:
    async with limited_server(tmp_path) as server:
        assert server.process is not None
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        assert line.split()[3:5] == [str(HARD), str(HARD)]
        assert "descriptor_limit_low" in server.log()


@pytest.mark.parametrize("wrap", ["bare", "as a cause", "in a group"])
async def test_an_agent_that_meets_no_free_descriptor_is_tried_again(wrap: str) -> None:
    tries = 0

    async def agent(turn: Turn):
        nonlocal tries
        tries += 1
        if tries < 3:
            error = OSError(errno.EMFILE, "Too many open files")
            if wrap == "as a cause":
                raise RuntimeError("connecting failed") from error
            if wrap == "in a group":
                raise ExceptionGroup("tasks failed", [error])
            raise error
        yield "answered"

    async with open_instance(agent=agent, drain_s=0) as instance:
        done = await instance.chats.create(content="hello")
        async with asyncio.timeout(DEADLINE_S):
            while (chat := await instance.chats.get(done.chat_id)).status is not Status.WAITING:
                assert chat.status is not Status.ERROR
                await asyncio.sleep(0.02)
        page = await instance.chats.messages(done.chat_id)
        assert text_of(page.messages[-1].content) == "answered"
    assert tries == 3


def test_descriptors_are_reserved_and_few_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((100, 50), (512, 256), (1024, 1024 - RESERVE), (20_000, 20_000 - RESERVE)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert connections_max() == expected
        assert connections_max(descriptors_each=2) == expected // 2


@pytest.mark.parametrize("limit", [CONNECTIONS_MAX + RESERVE + 1, 1 << 20, resource.RLIM_INFINITY])
def test_connections_have_a_maximum_however_many_descriptors_there_are(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert connections_max() == CONNECTIONS_MAX
    assert connections_max(watchers_max=Options().watchers_max) == CONNECTIONS_MAX > Options().watchers_max
    assert connections_max(watchers_max=30_000) == min(60_000, connections_max(watchers_max=1 << 30))


def test_only_a_missing_descriptor_counts_as_one() -> None:
    assert not is_out_of_descriptors(OSError(errno.ENOENT, "No such file"))
    assert not is_out_of_descriptors(ValueError("Too many open files"))
    assert is_out_of_descriptors(OSError(errno.ENFILE, "Too many open files in system"))


def test_a_request_that_meets_no_free_descriptor_may_be_sent_again() -> None:
    failed = RuntimeError("reading failed")
    failed.__cause__ = OSError(errno.EMFILE, "Too many open files")
    answer = error_answer(failed)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert b"no file descriptors" in answer.body
