"""The command in a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

from support.waiting import DEADLINE_S

from .conftest import COMMAND, environment

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


class Terminal:
    """A pty with the command as its foreground process: `type` sends keys, `wait_for` waits for output."""

    def __init__(self, directory: Path, *args: str, columns: int = 80, lines: int = 24, **env: str) -> None:
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(**env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.raw = b""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._mine)

    @property
    def text(self) -> str:
        """The whole output, without escape sequences."""
        return _SEQUENCE.sub("", self.raw.decode(errors="replace"))

    def type(self, keys: str) -> None:
        os.write(self._mine, keys.encode())

    def wait_for(self, shown: str) -> str:
        """Wait until the text is shown, after the text of the previous wait. Returns the output up to there."""
        deadline = time.monotonic() + DEADLINE_S
        pattern = re.compile(re.escape(shown).replace("\\\n", " *\n"))  # lines are padded
        while (found := pattern.search(self.text, self._seen)) is None:
            is_open = self._read(deadline - time.monotonic())
            assert is_open, f"{shown!r} was not shown:\n{self.text[self._seen :]}"
        before, self._seen = self.text[self._seen : found.start()], found.end()
        return before

    def wait_end(self) -> int:
        """Wait until the command has ended. Returns its exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(DEADLINE_S)

    def quit(self) -> int:
        """Ctrl-C, and a second one if a turn's end was not shown yet: the first one interrupts the turn. Returns the
        exit code."""
        for _ in range(2):
            self.type("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(DEADLINE_S / 4)
        raise AssertionError(f"Ctrl-C did not end it:\n{self.text[self._seen :]}")

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
        return bool(data)
