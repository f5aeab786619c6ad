"""A line editor without I/O. Its input is text as a terminal in cbreak mode sends it; pasted text (bracketed paste)
may contain line breaks."""

from __future__ import annotations

import re
import unicodedata

HISTORY_MAX = 200
"""Maximum number of lines in the history."""
TEXT_MAX = 1_000_000
"""Maximum length of a line, in characters."""

PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
# Sequences are bounded: a longer one is not a key, and its characters are text.
_KEY = re.compile(r"\x1b\[[0-?]{0,12}[ -/]{0,2}[@-~]|\x1bO.|\x1b[^\x1b\[O]|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,12}[ -/]{0,2}|O)?\Z")
_MOVES = {"\x1b[D": -1, "\x1b[C": 1, "\x1bOD": -1, "\x1bOC": 1}
_UP, _DOWN = frozenset({"\x1b[A", "\x1bOA"}), frozenset({"\x1b[B", "\x1bOB"})
_BEGIN, _END = frozenset({"\x01", "\x1b[H", "\x1bOH", "\x1b[1~"}), frozenset({"\x05", "\x1b[F", "\x1bOF", "\x1b[4~"})


def _is_text(key: str) -> bool:
    """Whether a key is text and not a control character. `str.isprintable` is too strict: it excludes no-break
    spaces, the joiners of Persian, Hindi and emoji, and direction marks."""
    return len(key) == 1 and unicodedata.category(key) not in ("Cc", "Cs")


class LineEditor:
    """Call `feed` with the typed text; it returns the submitted lines. `is_closed` after Ctrl-D on an empty line."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self.is_closed = False
        self._rest = ""
        self._is_pasting = False
        self._history: list[str] = []
        self._shown = 0

    def clear(self) -> None:
        self.text, self.cursor = "", 0
        self._shown = len(self._history)

    def feed(self, typed: str) -> list[str]:
        """Handle typed text. Returns the submitted lines, without blank ones."""
        typed, self._rest = self._rest + typed, ""
        unfinished = _UNFINISHED.search(typed)
        if unfinished:
            typed, self._rest = typed[: unfinished.start()], typed[unfinished.start() :]
        lines = []
        for key in _KEY.findall(typed):
            line = self._press(key)
            if line is not None:
                lines.append(line)
        return lines

    def _press(self, key: str) -> str | None:
        if key in (PASTE_BEGINS, PASTE_ENDS):
            self._is_pasting = key == PASTE_BEGINS
        elif self._is_pasting:
            self._insert(key.replace("\r", "\n"))
        elif key in "\r\n":
            return self._submit()
        elif key == "\x04":
            self.is_closed = self.is_closed or not self.text
        elif key in _UP or key in _DOWN:
            self._recall(-1 if key in _UP else 1)
        else:
            self._edit(key)
        return None

    def _edit(self, key: str) -> None:
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        if key in "\x7f\x08":
            self._set(before[:-1], after)
        elif key == "\x1b[3~":
            self._set(before, after[1:])
        elif key == "\x15":
            self._set("", after)
        elif key == "\x0b":
            self._set(before, "")
        elif key == "\x17":
            self._set(re.sub(r"\S*\s*\Z", "", before), after)
        elif key in _MOVES:
            self.cursor = min(max(self.cursor + _MOVES[key], 0), len(self.text))
        elif key in _BEGIN:
            self.cursor = 0
        elif key in _END:
            self.cursor = len(self.text)
        elif _is_text(key):
            self._insert(key)

    def _insert(self, text: str) -> None:
        if (_is_text(text) or text in "\n\t") and len(self.text) < TEXT_MAX:
            self._set(self.text[: self.cursor] + text, self.text[self.cursor :])

    def _set(self, before: str, after: str) -> None:
        self.text, self.cursor = before + after, len(before)

    def _submit(self) -> str | None:
        line = self.text
        if line.strip():
            self._history = [*self._history[1 - HISTORY_MAX :], line]
        self.clear()
        return line if line.strip() else None

    def _recall(self, step: int) -> None:
        self._shown = min(max(self._shown + step, 0), len(self._history))
        line = self._history[self._shown] if self._shown < len(self._history) else ""
        self._set(line, "")
