"""A chat's history for agents: the visible messages, decoded once and cached between turns."""

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
"""Maximum number of messages that an agent gets: the newest ones."""

CACHED_MAX = 1_000
"""Maximum number of cached histories."""
CACHED_BYTES_MAX = 64 * 1024 * 1024
"""Approximate maximum size of all cached histories, in bytes."""


class History:
    """The messages up to `seq`, and their approximate size in bytes."""

    def __init__(self, messages: Sequence[Message], seq: int, size: int) -> None:
        self.messages = list(messages)
        self.seq = seq
        self.size = size

    def extend(self, entries: Sequence[Entry]) -> bool:
        """Add the facts after `seq`. False: their content is missing, and this history must not be used."""
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
    """The newest MESSAGES_MAX messages, beginning with a user message: a model refuses a result without its call."""
    if len(messages) <= MESSAGES_MAX:
        return messages
    return _from_user_message(messages[-MESSAGES_MAX:])


def _from_user_message(messages: list[Message]) -> list[Message]:
    start = next((i for i, message in enumerate(messages) if message.role is Role.USER), 0)
    return messages[start:]


def _message(entry: Entry, fact: MessageAppended) -> Message:
    return Message(
        id=entry.seq,
        role=fact.role,
        content=decode_content(entry.content or b"[]"),
        is_interrupted=fact.interrupted,
        created_by=fact.created_by,
        via=fact.via,
    )


class Histories:
    """Cache of the histories of the chats that had a turn here recently."""

    def __init__(self, work: Work, *, cached_bytes_max: int = CACHED_BYTES_MAX) -> None:
        self._work = work
        self._cached: OrderedDict[str, History] = OrderedDict()
        self._bytes_max = cached_bytes_max
        self._size = 0

    async def get(self, chat_id: str, seq: int) -> History:
        """The history up to `seq`, as a copy for one attempt; `put` it back when it has grown."""
        cached = self._cached.get(chat_id)
        if cached is None or cached.seq > seq:
            return await self.catch_up(chat_id, History((), 0, 0), seq)
        return await self.catch_up(chat_id, History(cached.messages, cached.seq, cached.size), seq)

    def put(self, chat_id: str, history: History) -> None:
        """Cache a copy for the chat's next turn. The least recently used histories are evicted."""
        cached = self._cached.pop(chat_id, None)
        self._size += history.size - (cached.size if cached else 0)
        self._cached[chat_id] = History(history.messages, history.seq, history.size)
        while len(self._cached) > 1 and (self._size > self._bytes_max or len(self._cached) > CACHED_MAX):
            self._size -= self._cached.popitem(last=False)[1].size

    async def catch_up(self, chat_id: str, history: History, seq: int) -> History:
        """`history` with everything that was added up to `seq`."""
        if history.seq >= seq:
            return history
        entries = self._work.entries_after(chat_id, history.seq)
        is_extended = entries is not None and history.extend(await self._with_contents(chat_id, entries))
        if is_extended and history.seq >= seq:  # else another instance has written later facts
            return history
        return await self._load(chat_id, seq)

    async def _with_contents(self, chat_id: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries with their content. That of a delivered message is stored where it was queued."""
        missing = [seq for entry in entries if entry.content is None and (seq := _content_seq(entry))]
        if not missing:
            return entries
        found = await self._work.read_contents(chat_id, missing)
        return [
            entry if entry.content is not None else replace(entry, content=found.get(_content_seq(entry)))
            for entry in entries
        ]

    async def _load(self, chat_id: str, seq: int) -> History:
        entries, has_more = await self._work.read_messages(chat_id, limit=MESSAGES_MAX, bytes_max=CACHED_BYTES_MAX)
        entries = tuple(entry for entry in entries if entry.seq <= seq)
        messages = [_message(e, e.fact) for e in entries if isinstance(e.fact, MessageAppended)]
        if has_more:
            messages = _from_user_message(messages)
        return History(messages, seq, sum(_memory_of(entry.content or b"") for entry in entries))


def _memory_of(content: bytes) -> int:
    """Maximum size of the decoded text, in bytes: Python stores a text that has an emoji in four bytes per
    character."""
    return len(content) if content.isascii() else 4 * len(content)


def _content_seq(entry: Entry) -> int:
    return content_seq(entry.seq, entry.fact) if isinstance(entry.fact, MessageAppended) else 0
