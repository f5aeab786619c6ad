"""A TCP proxy that loses what it is told to lose, and the connection with it."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class CuttingProxy:
    """Passes everything on between its `port` and a server. With `loses_question` or `loses_answer` set, the next
    bytes of a client, or of the server, are thrown away and their connection is cut; the mark is then cleared."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.loses_question = False
        self.loses_answer = False
        self.cuts = 0
        self._server_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = [
            asyncio.ensure_future(self._pass(reader, far_writer, "loses_question")),
            asyncio.ensure_future(self._pass(far_reader, writer, "loses_answer")),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, far_writer):
                end.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses: str) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if getattr(self, loses):
                    setattr(self, loses, False)
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()
