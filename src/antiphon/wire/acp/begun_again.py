"""An answer that is begun again after an editor has got a part of it: as long as the new text agrees, nothing is sent
twice, and the answer simply goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

WHOLE = "whole"
"""The kind of a piece that is a block by itself."""


class Piece(NamedTuple):
    """Text of one kind of update; or the JSON of a block that is not text."""

    kind: str
    text: str


class Shown:
    """What an editor got of a draft."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces: list[Piece] = []
        for piece in pieces:
            self.add(piece)

    def __bool__(self) -> bool:
        return bool(self.pieces)

    def add(self, piece: Piece) -> None:
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.kind == piece.kind != WHOLE:
            self.pieces[-1] = Piece(piece.kind, last.text + piece.text)
        else:
            self.pieces.append(piece)


class BegunAgain:
    """Compares the new draft with what was shown of the abandoned one."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.matched = Shown()
        """The beginning of the new draft, which agrees."""
        self._left = list(reversed(shown.pieces))

    @property
    def is_done(self) -> bool:
        """Whether the new draft has all that was shown."""
        return not self._left

    def accept(self, piece: Piece) -> str | None:
        """The end of a piece that the editor does not have; None: the drafts differ."""
        kind, text = piece
        if self._left:
            had = self._left[-1]
            if had.kind != kind:
                return None
            if had.text.startswith(text):
                self._left[-1] = Piece(kind, had.text[len(text) :])
                if not self._left[-1].text:
                    self._left.pop()
                text = ""
            elif text.startswith(had.text) and len(self._left) == 1:
                self._left.pop()
                text = text[len(had.text) :]
            else:
                return None
        self.matched.add(piece)
        return text
