"""Lines from a stdin that is a terminal, for an output that is not: the terminal's own line editing is used."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
from collections.abc import Iterator

READ_BYTES = 65_536
"""Maximum number of bytes per read."""


@contextlib.contextmanager
def open_lines() -> Iterator[asyncio.Queue[str | None]]:
    """A queue of the typed lines, without blank ones; None: the end of the input."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    rest = ""

    def read() -> None:
        nonlocal rest
        try:
            data = os.read(descriptor, READ_BYTES)
        except OSError:  # the terminal was closed
            data = b""
        *complete, rest = (rest + decoder.decode(data)).split("\n")
        for line in [*complete, rest] if not data else complete:
            if line.strip():
                lines.put_nowait(line)
        if not data:
            loop.remove_reader(descriptor)
            lines.put_nowait(None)

    loop.add_reader(descriptor, read)
    try:
        yield lines
    finally:
        loop.remove_reader(descriptor)
