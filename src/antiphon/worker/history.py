"""A chat's history as agents get it: visible messages, decoded once and kept between turns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from antiphon.chats.service import Service
from antiphon.core.facts import Entry, HistoryTruncated, MessageAppended
from antiphon.core.parts import ToolCall
from antiphon.ports import Message
from antiphon.wire.codec import decode_content

MESSAGES_MAX = 1_000
"""An agent is given the newest messages, at most so many."""

KEPT_BYTES = 64 * 1024 * 1024
"""About so much content is kept between turns, of all chats."""


class History:
    """The messages up to `seq`. `extend` with the facts that follow."""

    def __init__(self, messages: Sequence[Message], seq: int, size: int) -> None:
        self.messages = list(messages)
        self.seq = seq
        self.size = size

    def extend(self, entries: Sequence[Entry]) -> bool:
        """Take the facts after `seq`; False (and then useless) where their content is not here."""
        for entry in entries:
            fact = entry.fact
            if entry.seq <= self.seq:
                continue
            if entry.seq != self.seq + 1:
                return False
            if isinstance(fact, HistoryTruncated):
                self.messages = [m for m in self.messages if m.id < fact.from_message_id]
            elif isinstance(fact, MessageAppended):
                if entry.content is None:
                    return False
                self.messages.append(_message(entry, fact))
                self.size += len(entry.content)
            self.seq = entry.seq
        del self.messages[:-MESSAGES_MAX]
        return True

    def call_ids(self) -> set[str]:
        return {
            part.tool_call_id for message in self.messages for part in message.content if isinstance(part, ToolCall)
        }


def _message(entry: Entry, fact: MessageAppended) -> Message:
    return Message(
        id=entry.seq, role=fact.role, content=decode_content(entry.content or b"[]"), is_interrupted=fact.interrupted
    )


class Histories:
    """The histories of the chats that had a turn here lately."""

    def __init__(self, service: Service, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._service = service
        self._kept: OrderedDict[str, History] = OrderedDict()
        self._kept_bytes = kept_bytes

    async def take(self, chat_id: str, seq: int) -> History:
        """The history as of `seq`, for one attempt's use; `keep` it afterwards."""
        history = self._kept.pop(chat_id, None) or History((), 0, 0)
        if history.seq < seq and not self._catch_up(chat_id, history):
            history = await self._load(chat_id, seq)
        return history if history.seq <= seq else await self._load(chat_id, seq)

    def keep(self, chat_id: str, history: History) -> None:
        self._kept[chat_id] = history
        while len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > self._kept_bytes:
            self._kept.popitem(last=False)
        while len(self._kept) > 1_000:
            self._kept.popitem(last=False)

    async def catch_up(self, chat_id: str, history: History, seq: int) -> History:
        """`history` with all that has been added up to `seq`."""
        if history.seq >= seq or self._catch_up(chat_id, history):
            return history
        return await self._load(chat_id, seq)

    def _catch_up(self, chat_id: str, history: History) -> bool:
        entries = self._service.entries_after(chat_id, history.seq)
        return entries is not None and history.extend(entries)

    async def _load(self, chat_id: str, seq: int) -> History:
        entries, _ = await self._service.store.read_messages(chat_id, limit=MESSAGES_MAX)
        entries = tuple(entry for entry in entries if entry.seq <= seq)
        messages = [_message(e, e.fact) for e in entries if isinstance(e.fact, MessageAppended)]
        return History(messages, seq, sum(len(entry.content or b"") for entry in entries))
