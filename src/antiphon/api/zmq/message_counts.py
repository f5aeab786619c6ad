"""How many messages each session has: counted once, then kept up with."""

from __future__ import annotations

from collections import OrderedDict

from antiphon.core import facts as f
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.ports import Append, Store

COUNTS_MAX = 10_000


class MessageCounts:
    """Counts of the sessions last asked for or changed. On a shared store a count is valid only while every later
    append of its chat has been applied to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By chat: the seq it was counted at, and the count."""
        self._counting: dict[str, object] = {}

    def known(self, chat_id: str, chat: Chat) -> int | None:
        """The count, if it need not be asked for."""
        counted = self._counts.get(chat_id)
        if counted is None or (self._store.is_shared and counted[0] != chat.seq):
            return None
        return counted[1]

    async def count(self, chat_id: str, chat: Chat) -> int:
        count = self.known(chat_id, chat)
        if count is None:
            mine = self._counting[chat_id] = object()
            try:
                count = await self._store.count_messages(chat_id)
                if self._counting.get(chat_id) is mine:  # nothing was appended meanwhile
                    self._keep(chat_id, chat.seq, count)
            finally:
                if self._counting.get(chat_id) is mine:
                    del self._counting[chat_id]
        return count

    def take(self, append: Append) -> None:
        """Update the count, where it is known."""
        chat_id = append.chat_id
        self._counting.pop(chat_id, None)
        counted = self._counts.get(chat_id)
        is_next = counted is not None and counted[0] == append.entries[0].seq - 1
        count = counted[1] if counted is not None and (is_next or not self._store.is_shared) else None
        for entry in append.entries:
            fact = entry.fact
            if isinstance(fact, f.ChatCreated):
                count = 0
            elif isinstance(fact, f.HistoryTruncated | f.ChatDeleted):
                count = None
            elif isinstance(fact, f.MessageAppended) and fact.role is not Role.TOOL and count is not None:
                count += 1
        if count is not None:
            self._keep(chat_id, append.entries[-1].seq, count)
        elif counted is not None:
            del self._counts[chat_id]

    def get(self, chat_id: str) -> int | None:
        """What is kept of it."""
        counted = self._counts.get(chat_id)
        return counted[1] if counted is not None else None

    def clear(self) -> None:
        self._counts.clear()

    def _keep(self, chat_id: str, seq: int, count: int) -> None:
        self._counts[chat_id] = (seq, count)
        while len(self._counts) > COUNTS_MAX:
            self._counts.popitem(last=False)
