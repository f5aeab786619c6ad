"""Reads the keyboard: stdin as a stream of text, key by key on a terminal."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
import termios
from collections.abc import Iterator

READ_BYTES = 65_536
"""Maximum number of bytes per read."""
PASTES_ON, PASTES_OFF = "\x1b[?2004h", "\x1b[?2004l"


@contextlib.contextmanager
def open_keyboard(*, key_by_key: bool) -> Iterator[asyncio.Queue[str | None]]:
    """A queue of the typed text; None: end of input. `key_by_key`: disable the terminal's line editing and echo while
    it is open (Ctrl-C stays a signal)."""
    typed: asyncio.Queue[str | None] = asyncio.Queue()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except OSError:  # the terminal was closed
            data = b""
        if not data:
            loop.remove_reader(descriptor)
            typed.put_nowait(None)
        elif text := decoder.decode(data):
            typed.put_nowait(text)

    with _cbreak(descriptor) if key_by_key else contextlib.nullcontext():
        loop.add_reader(descriptor, read)
        try:
            yield typed
        finally:
            loop.remove_reader(descriptor)


@contextlib.contextmanager
def _cbreak(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    after = termios.tcgetattr(descriptor)
    after[3] &= ~(termios.ICANON | termios.ECHO)
    after[6][termios.VMIN], after[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSANOW, after)
    _write(PASTES_ON)
    try:
        yield
    finally:
        _write(PASTES_OFF)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _write(sequence: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(sequence)
        sys.stdout.flush()
