"""A TCP proxy that loses what a test chooses, and the connection with it, or leaves the connection half open."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class CuttingProxy:
    """Passes everything on between its `port` and a server. With `loses_question` or `loses_answer` set, the next
    bytes of a client, or of the server, are thrown away and their connection is cut; the mark is then cleared. With
    `keeps_question` or `keeps_answer` set, the connection stays open in place of that, and nothing comes on it any
    more; so it is with every connection that is used while the proxy `is_silent`. While it `is_down`, it closes every
    new connection."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.loses_question = False
        self.loses_answer = False
        self.keeps_question = False
        self.keeps_answer = False
        self.is_silent = False
        self.is_down = False
        self.cuts = 0
        self._server_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> CuttingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection that there is; new ones may come."""
        for end in tuple(self._ends):
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.is_down:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = [
            asyncio.ensure_future(self._pass(reader, server_writer, "question")),
            asyncio.ensure_future(self._pass(server_reader, writer, "answer")),
        ]
        self._ends |= {writer, server_writer}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, server_writer):
                self._ends.discard(end)
                end.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self._must("keeps", what) or self.is_silent:
                    await asyncio.Event().wait()
                if self._must("loses", what):
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()

    def _must(self, verb: str, what: str) -> bool:
        mark = f"{verb}_{what}"
        is_marked = bool(getattr(self, mark))
        setattr(self, mark, False)
        return is_marked
