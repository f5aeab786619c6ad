"""The newest facts of a chat in memory, bounded by their number and size. Their seqs have no hole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from antiphon.watch.stream_items import Fact

FACTS_MAX = 1_000
FACTS_BYTES = 1024 * 1024
"""Maximum number of facts in memory, and their size in bytes. Beyond either, newer facts evict older ones."""


class RecentFacts:
    """A window over the end of a chat's log; false while it is empty."""

    def __init__(self) -> None:
        self._facts: deque[Fact] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._facts)

    @property
    def first_seq(self) -> int:
        """The seq of the oldest fact. Not while it is empty."""
        return self._facts[0].seq

    @property
    def last(self) -> Fact | None:
        return self._facts[-1] if self._facts else None

    def after(self, seq: int) -> Iterable[Fact]:
        """The facts in memory after `seq`."""
        if not self._facts:
            return []
        skip = seq + 1 - self._facts[0].seq
        return [self._facts[i] for i in range(max(skip, 0), len(self._facts))]

    def draft_after(self, seq: int) -> int:
        """The draft that is open after the fact `seq`; 0 if it is not known."""
        if seq == 0 or seq < self._facts[0].seq:
            return 0
        return self._facts[seq - self._facts[0].seq].entry.draft

    def append(self, fact: Fact) -> None:
        """Add the next fact. `evict` is called after the last one."""
        self._facts.append(fact)
        self._bytes += fact.size

    def prepend(self, facts: Sequence[Fact]) -> None:
        """Add the facts before the oldest one, which may exceed the bounds until the next `evict`."""
        self._facts.extendleft(reversed(facts))
        self._bytes += sum(fact.size for fact in facts)

    def evict(self) -> None:
        """Drop the oldest facts beyond the bounds, but never the newest one."""
        while len(self._facts) > 1 and (len(self._facts) > FACTS_MAX or self._bytes > FACTS_BYTES):
            self._bytes -= self._facts.popleft().size

    def clear(self) -> None:
        self._facts.clear()
        self._bytes = 0

    def forget_before_truncation(self) -> None:
        """Drop the facts before a truncation: only the store records which messages it hides."""
        last = self.last
        self.clear()
        if last is not None and not last.is_message:
            self.append(last)  # the place of watchers that are up to date
