"""A raw TCP server of a test: a coroutine for each connection, and nothing left open afterwards."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def open_tcp_server(
    handle: Handler, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Call `handle` for each connection, then close it; the value is the port.

    A handler may end with an error of its connection (the client has left); any other error fails the test on
    leaving. Leaving cancels the handlers that still run and closes every connection, also one whose handler has not
    started.
    """
    handlers: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        handlers.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, address, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        results = await asyncio.gather(*handlers, return_exceptions=True)
        for writer in writers:
            if not writer.transport.is_closing() or writer.transport.get_write_buffer_size():
                writer.transport.abort()  # asyncio's fails on one that was closed after its buffer had been sent
        await asyncio.sleep(0)  # an aborted transport is closed in the loop's next step
        for result in results:
            if isinstance(result, Exception):
                raise result
