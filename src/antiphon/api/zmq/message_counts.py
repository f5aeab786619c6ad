"""The number of messages of each session: counted once, then updated with every append."""

from __future__ import annotations

from collections import OrderedDict

from antiphon.core import facts as f
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.ports import Append, Store

COUNTS_MAX = 10_000


class MessageCounts:
    """Counts of the sessions that were used last. A count is valid only while every later append was applied."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By chat: the seq it was counted at, and the count."""
        self._counting: dict[str, object] = {}
        self._applied: OrderedDict[str, int] = OrderedDict()
        """By chat: the seq up to which appends were applied, also those whose count was not cached."""

    def known(self, chat_id: str, chat: Chat) -> int | None:
        """The count as of `chat` or later; None if it has to be queried."""
        counted = self._counts.get(chat_id)
        return counted[1] if counted is not None and counted[0] >= chat.seq else None

    async def count(self, chat_id: str, chat: Chat) -> int:
        count = self.known(chat_id, chat)
        if count is None:
            mine = self._counting[chat_id] = object()
            try:
                count = await self._store.count_messages(chat_id)
                seq = max(chat.seq, self._applied.get(chat_id, 0))
                is_exact = await self._is_newest(chat_id, seq)
                if is_exact and self._counting.get(chat_id) is mine:  # nothing was appended since
                    self._cache(chat_id, seq, count)
            finally:
                if self._counting.get(chat_id) is mine:
                    del self._counting[chat_id]
        return count

    async def _is_newest(self, chat_id: str, seq: int) -> bool:
        """Whether a count that was just queried is the count as of `seq`: other processes may have written more."""
        if not self._store.is_shared:
            return True
        stored = await self._store.load(chat_id)
        return stored is not None and stored.seq <= seq

    def apply(self, append: Append) -> None:
        """Update the count, where it is cached; a second time nothing happens. A deleted chat keeps its last
        count."""
        chat_id = append.chat_id
        if self._applied.get(chat_id, 0) >= append.entries[-1].seq:
            return
        self._counting.pop(chat_id, None)
        self._note_applied(chat_id, append.entries[-1].seq)
        counted = self._counts.get(chat_id)
        if counted is not None and counted[0] >= append.entries[-1].seq:
            return
        count = counted[1] if counted is not None and counted[0] == append.entries[0].seq - 1 else None
        for entry in append.entries:
            fact = entry.fact
            if isinstance(fact, f.ChatCreated):
                count = 0
            elif isinstance(fact, f.ChatDeleted):
                count = counted[1] if counted is not None else None
            elif isinstance(fact, f.HistoryTruncated):
                count = None
            elif isinstance(fact, f.MessageAppended) and fact.role is not Role.TOOL and count is not None:
                count += 1
        if count is not None:
            self._cache(chat_id, append.entries[-1].seq, count)
        elif counted is not None:
            del self._counts[chat_id]

    def get(self, chat_id: str) -> int | None:
        """The cached count, whatever it is the count of."""
        counted = self._counts.get(chat_id)
        return counted[1] if counted is not None else None

    def clear(self) -> None:
        self._counts.clear()
        self._applied.clear()

    def _note_applied(self, chat_id: str, seq: int) -> None:
        self._applied[chat_id] = seq
        self._applied.move_to_end(chat_id)
        while len(self._applied) > COUNTS_MAX:
            self._applied.popitem(last=False)

    def _cache(self, chat_id: str, seq: int, count: int) -> None:
        self._counts[chat_id] = (seq, count)
        while len(self._counts) > COUNTS_MAX:
            self._counts.popitem(last=False)
