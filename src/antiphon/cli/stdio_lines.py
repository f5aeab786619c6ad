"""Lines over stdin and stdout for a program at the other end, without blocking the event loop.

Both may be pipes, files or terminals, of which only some can be watched by an event loop. So a thread reads and a
thread writes, each a daemon: a client that neither writes nor reads does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

PIECE_BYTES = 64 * 1024

T = TypeVar("T")


class LineSplitter:
    """Cuts bytes into lines. A line that is longer than the maximum is given as None, once."""

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._rest = bytearray()
        self._is_skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that the next bytes complete, without their line breaks and without empty ones."""
        found: list[bytes | None] = []
        first, *others = data.split(b"\n")
        self._add(first, found)
        for piece in others:
            found += self.end()
            self._add(piece, found)
        return found

    def end(self) -> list[bytes | None]:
        """The last line, if it has no line break."""
        line = bytes(self._rest).strip()
        self._rest.clear()
        self._is_skipping = False
        return [line] if line else []

    def _add(self, piece: bytes, found: list[bytes | None]) -> None:
        if self._is_skipping:
            return
        if len(self._rest) + len(piece) > self._line_bytes_max:
            self._rest.clear()
            self._is_skipping = True
            found.append(None)
            return
        self._rest += piece


async def read_lines(descriptor: int, line_bytes_max: int) -> AsyncIterator[bytes | None]:
    """The lines of a file descriptor until its end; None for one that is too long."""
    splitter = LineSplitter(line_bytes_max)
    while data := await in_daemon(lambda: os.read(descriptor, PIECE_BYTES)):
        for line in splitter.feed(data):
            yield line
    for line in splitter.end():
        yield line


async def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes. Raises `BrokenPipeError` if the reader has closed the other end."""

    def write() -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    await in_daemon(write)


async def in_daemon(function: Callable[[], T]) -> T:
    """The value of a blocking function, which runs in a thread of its own. The end of the process does not wait for
    it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)  # type: ignore[arg-type] # the function's own value

    def run() -> None:
        value, failure = None, None
        try:
            value = function()
        except OSError as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=run, daemon=True).start()
    return await done
