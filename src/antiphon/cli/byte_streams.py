"""Standard input and output as byte streams for asyncio: pipes, sockets, terminals and files."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

READ_BYTES = 65_536
WRITE_BYTES = 4_096
"""How much can be written at once to a pipe that is writable: PIPE_BUF."""


class StandardStreams:
    """Reads and writes two descriptors, without changing their modes: other processes may share them."""

    def __init__(self, read_from: int = 0, write_to: int = 1) -> None:
        self._read_from = read_from
        self._write_to = write_to

    async def read(self) -> bytes:
        """The next bytes; empty: the end of the input."""
        loop = asyncio.get_running_loop()
        await _wait(loop.add_reader, loop.remove_reader, self._read_from)
        try:
            return os.read(self._read_from, READ_BYTES)
        except OSError:  # the terminal was closed
            return b""

    async def write(self, data: bytes) -> None:
        """Returns when the bytes are written. Raises `OSError` if there is no reader any more."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            if not select.select([], [self._write_to], [], 0)[1]:
                await _wait(loop.add_writer, loop.remove_writer, self._write_to)
            left = left[os.write(self._write_to, left[:WRITE_BYTES]) :]


async def _wait(add: Callable[..., None], remove: Callable[[int], bool], descriptor: int) -> None:
    """Until a descriptor is ready. A file is always ready."""
    ready = asyncio.get_running_loop().create_future()
    try:
        add(descriptor, _set, ready)
    except PermissionError:  # epoll takes no files
        return
    try:
        await ready
    finally:
        remove(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
