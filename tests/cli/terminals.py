"""The command in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

from support.waiting import DEADLINE_S

from .conftest import COMMAND, environment


class Terminal:
    """A pty with the command as its foreground process: `type` sends keys, `wait_for` waits for what is on its
    screen. The history file of conversations is in `directory`."""

    def __init__(self, directory: Path, *args: str, columns: int = 80, lines: int = 24, **env: str) -> None:
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(**{"XDG_STATE_HOME": str(directory / "state")} | env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, lines, history=5_000)
        self._stream = pyte.ByteStream(self._screen)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._mine)

    @property
    def text(self) -> str:
        """What a person sees, with what was scrolled away; lines without trailing spaces."""
        screen = self._screen
        scrolled = ["".join(row[x].data for x in range(screen.columns)) for row in screen.history.top]
        return "\n".join(line.rstrip() for line in [*scrolled, *screen.display])

    def type(self, keys: str) -> None:
        os.write(self._mine, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._mine, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.killpg(self.process.pid, signal.SIGWINCH)

    def wait_for(self, shown: str, *, times: int = 1) -> str:
        """Wait until the text is shown so often. Returns everything that is shown."""
        return self.wait_until(lambda text: text.count(shown) >= times, shown)

    def wait_until(self, condition: Callable[[str], bool], what: str) -> str:
        """Wait until a condition holds for what is shown. Returns that."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.text):
            is_open = self._read(deadline - time.monotonic())
            assert is_open, f"{what!r} was not shown:\n{self.text}"
        return self.text

    def wait_end(self) -> int:
        """Wait until the command has ended. Returns its exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(DEADLINE_S)

    def quit(self) -> int:
        """Ctrl+D. Returns the exit code."""
        self.type("\x04")
        return self.wait_end()

    def read_available(self) -> None:
        """Read what was printed meanwhile, without waiting."""
        while select.select([self._mine], [], [], 0)[0] and self._read(DEADLINE_S):
            pass

    def _read(self, timeout_s: float) -> bool:
        """Whether more output arrived in time."""
        if timeout_s <= 0 or not select.select([self._mine], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._mine, 65_536)
        except OSError:  # the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
