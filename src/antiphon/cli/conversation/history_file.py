"""The typed lines of earlier conversations, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History, InMemoryHistory

LINES_MAX = 1_000
"""Maximum number of stored lines. Older ones are dropped at the next start."""
LINE_MAX = 20_000
"""Maximum length of a stored line, in characters. A longer one can be recalled in its own conversation only."""
FILE_BYTES_MAX = 4_000_000
"""How much of the end of the file is read."""


def open_history() -> History:
    """The history in the folder of this user's state; for a user without a home, of this conversation only."""
    folder = state_folder()
    return InMemoryHistory() if folder is None else HistoryFile(folder / "chat_history")


def state_folder() -> Path | None:
    """The folder of this user's state (XDG); None: the user has no home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "antiphon"
    except RuntimeError:
        return None


class HistoryFile(History):
    """One JSON string per line. A file that cannot be read or written is not used; the lines of this conversation can
    be recalled anyway. A line that begins with a space is not stored."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The stored lines, newest first."""
        with contextlib.suppress(OSError):
            lines = self._read()
            if len(lines) > LINES_MAX or self._path.stat().st_size > FILE_BYTES_MAX:
                lines = lines[-LINES_MAX:]
                self._replace(lines)
            return list(reversed(lines))
        return []

    def store_string(self, string: str) -> None:
        if string.startswith(" ") or len(string) > LINE_MAX:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(_encode(string))

    def _read(self) -> list[str]:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - FILE_BYTES_MAX, 0))
            found = []
            for line in file.read().splitlines():
                with contextlib.suppress(ValueError):  # the first one may be cut
                    value = json.loads(line)
                    found += [value] if isinstance(value, str) else []
            return found

    def _replace(self, lines: list[str]) -> None:
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(_encode(line) for line in lines)
        new.replace(self._path)


def _encode(line: str) -> bytes:
    return json.dumps(line).encode() + b"\n"
