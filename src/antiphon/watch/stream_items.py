"""What a chat's stream consists of, before it is encoded: facts, and the deltas of drafts between them."""

from __future__ import annotations

from typing import Protocol

from antiphon.core.events import Delta
from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.values import Value
from antiphon.wire.stream import Frame, delta_frame, fact_frame

ENTRY_BYTES = 256
"""Assumed size of an event without its content."""


class Fact:
    """A fact of the log. It is encoded when the first watcher needs it, once for all of them."""

    __slots__ = ("_frame", "_frame_without_content", "chat_id", "closes", "entry", "size", "upto")

    def __init__(self, chat_id: str, entry: Entry) -> None:
        self.chat_id = chat_id
        self.entry = entry
        self.size = ENTRY_BYTES + len(entry.content or b"")
        self.closes, self.upto = 0, 0
        if isinstance(entry.fact, MessageAppended) and entry.fact.closes:
            self.closes, self.upto = entry.fact.closes.draft, entry.fact.closes.upto
        self._frame: Frame | None = None
        self._frame_without_content: Frame | None = None

    @property
    def seq(self) -> int:
        return self.entry.seq

    @property
    def opens_draft(self) -> bool:
        return self.entry.draft == self.entry.seq

    @property
    def is_message(self) -> bool:
        return isinstance(self.entry.fact, MessageAppended)

    def frame(self, *, with_content: bool = True) -> Frame:
        """As an event; its position is 0. Without content (commit=ref) only where it closes a draft."""
        if with_content or not self.closes:
            if self._frame is None:
                self._frame = fact_frame(self.chat_id, self.entry, position=0)
            return self._frame
        if self._frame_without_content is None:
            self._frame_without_content = fact_frame(self.chat_id, self.entry, position=0, with_content=False)
        return self._frame_without_content


class Item(Value, gc=True):
    """One piece of a stream, and the place after it.

    For a fact that closes the draft before it: `is_draft_complete` if every delta of the draft came before it,
    otherwise `missing_from` is the position after which they are missing.
    """

    seq: int
    position: int
    content: Fact | Delta
    is_draft_complete: bool = False
    missing_from: int | None = None

    def frame(self, *, by_ref: bool) -> Frame:
        """As an event of the stream."""
        if isinstance(self.content, Delta):
            return delta_frame(self.seq, self.content)
        source = self.content.frame(with_content=not (by_ref and self.is_draft_complete))
        return Frame(self.seq, self.position, source.type, source.data, source.state)


class Wakeable(Protocol):
    """A consumer of a reader."""

    def wake(self) -> None:
        """There may be new items."""
        ...

    def notify(self, kind: str, notice: Frame) -> None:
        """A transient event of a foreign peer."""
        ...
