"""A chat's history as agents get it: visible messages, decoded once and kept between turns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.core.facts import Entry, HistoryTruncated, MessageAppended
from antiphon.core.parts import Role, ToolCall
from antiphon.ports import Message, Work
from antiphon.wire.codec import decode_content
from antiphon.wire.log import content_seq

MESSAGES_MAX = 1_000
"""An agent is given the newest messages, at most so many."""

KEPT_MAX = 1_000
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
                self.size += _memory_of(entry.content)
            self.seq = entry.seq
        self.messages = _newest(self.messages)
        return True

    def call_ids(self) -> set[str]:
        return {
            part.tool_call_id for message in self.messages for part in message.content if isinstance(part, ToolCall)
        }


def _newest(messages: list[Message]) -> list[Message]:
    """At most MESSAGES_MAX of them; cut before a person's message, for a model refuses a result without its call."""
    if len(messages) <= MESSAGES_MAX:
        return messages
    return _from_a_person_on(messages[-MESSAGES_MAX:])


def _from_a_person_on(messages: list[Message]) -> list[Message]:
    start = next((i for i, message in enumerate(messages) if message.role is Role.USER), 0)
    return messages[start:]


def _message(entry: Entry, fact: MessageAppended) -> Message:
    return Message(
        id=entry.seq, role=fact.role, content=decode_content(entry.content or b"[]"), is_interrupted=fact.interrupted
    )


class Histories:
    """The histories of the chats that had a turn here lately."""

    def __init__(self, work: Work, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._work = work
        self._kept: OrderedDict[str, History] = OrderedDict()
        self._kept_bytes = kept_bytes
        self._size = 0

    async def take(self, chat_id: str, seq: int) -> History:
        """The history as of `seq`, for one attempt's own use; `keep` it when it has grown."""
        kept = self._kept.get(chat_id)
        if kept is None or kept.seq > seq:
            return await self.catch_up(chat_id, History((), 0, 0), seq)
        return await self.catch_up(chat_id, History(kept.messages, kept.seq, kept.size), seq)

    def keep(self, chat_id: str, history: History) -> None:
        """Remember a copy for the chat's next turn; the longest unused ones make room."""
        kept = self._kept.pop(chat_id, None)
        self._size += history.size - (kept.size if kept else 0)
        self._kept[chat_id] = History(history.messages, history.seq, history.size)
        while len(self._kept) > 1 and (self._size > self._kept_bytes or len(self._kept) > KEPT_MAX):
            self._size -= self._kept.popitem(last=False)[1].size

    async def catch_up(self, chat_id: str, history: History, seq: int) -> History:
        """`history` with all that has been added up to `seq`."""
        if history.seq >= seq:
            return history
        entries = self._work.entries_after(chat_id, history.seq)
        is_extended = entries is not None and history.extend(await self._with_contents(chat_id, entries))
        if is_extended and history.seq >= seq:  # another instance may have written what comes then
            return history
        return await self._load(chat_id, seq)

    async def _with_contents(self, chat_id: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Delivered messages have their content where they were queued."""
        missing = [place for entry in entries if entry.content is None and (place := _place(entry))]
        if not missing:
            return entries
        found = await self._work.read_contents(chat_id, missing)
        return [
            entry if entry.content is not None else replace(entry, content=found.get(_place(entry)))
            for entry in entries
        ]

    async def _load(self, chat_id: str, seq: int) -> History:
        entries, has_more = await self._work.read_messages(chat_id, limit=MESSAGES_MAX, bytes_max=KEPT_BYTES)
        entries = tuple(entry for entry in entries if entry.seq <= seq)
        messages = [_message(e, e.fact) for e in entries if isinstance(e.fact, MessageAppended)]
        if has_more:
            messages = _from_a_person_on(messages)
        return History(messages, seq, sum(_memory_of(entry.content or b"") for entry in entries))


def _memory_of(content: bytes) -> int:
    """At most what its decoded text takes: Python stores a text with one emoji in four bytes for each character."""
    return len(content) if content.isascii() else 4 * len(content)


def _place(entry: Entry) -> int:
    return content_seq(entry.seq, entry.fact) if isinstance(entry.fact, MessageAppended) else 0
