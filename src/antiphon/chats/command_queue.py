"""The command queue of a chat: the commands that wait for it in this process, and its cached state."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice

from antiphon.core.commands import Command
from antiphon.core.facts import Entry, HistoryTruncated
from antiphon.core.model import Chat
from antiphon.ports import Done, Request

QUEUES_MAX = 10_000
"""Maximum number of chats in the cache."""
RECENT_ENTRIES_MAX = 64
"""Maximum number of recent facts cached for one chat."""
RECENT_BYTES_MAX = 1024 * 1024
"""Maximum content of the recent facts cached for one chat, in bytes."""
ALL_RECENT_BYTES_MAX = 64 * 1024 * 1024
"""Maximum content of the recent facts cached for all chats together, in bytes."""


class Job:
    """Commands of one caller that succeed or are refused together, and the future of their answer."""

    __slots__ = ("commands", "future", "request")

    def __init__(self, commands: Sequence[Command], request: Request | None, future: asyncio.Future[Done]) -> None:
        self.commands = tuple(commands)
        self.request = request
        self.future = future


class CommandQueue:
    """The queued jobs of one chat. `chat` is None until loaded (or while the chat does not exist); `recent` are the
    newest facts, with content."""

    __slots__ = ("chat", "chat_id", "is_loaded", "jobs", "recent", "recent_bytes", "task")

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.chat: Chat | None = None
        self.is_loaded = False
        self.jobs: deque[Job] = deque()
        self.task: asyncio.Task[None] | None = None
        self.recent: deque[Entry] = deque()
        self.recent_bytes = 0

    def cache_chat(self, chat: Chat | None) -> None:
        """Cache the chat's state; None if there is no such chat."""
        self.chat, self.is_loaded = chat, True

    def cache_entries(self, entries: Sequence[Entry]) -> None:
        """Cache facts that were just appended, and evict the oldest beyond the limits."""
        if self.recent and entries and entries[0].seq != self.recent[-1].seq + 1:
            self.evict_entries()
        for entry in entries:
            if isinstance(entry.fact, HistoryTruncated):
                self.evict_entries()  # only the store has the marks of hidden messages
            self.recent.append(entry)
            self.recent_bytes += len(entry.content or b"")
        while self.recent and (len(self.recent) > RECENT_ENTRIES_MAX or self.recent_bytes > RECENT_BYTES_MAX):
            self.recent_bytes -= len(self.recent.popleft().content or b"")

    def evict(self) -> None:
        """Drop the cached state and facts: the next command loads the state from the store."""
        self.chat, self.is_loaded = None, False
        self.evict_entries()

    def evict_entries(self) -> None:
        """Drop the cached facts."""
        self.recent.clear()
        self.recent_bytes = 0

    def entries_after(self, seq: int) -> list[Entry] | None:
        """The facts after `seq` without a gap; None if not all of them are cached."""
        if not self.recent or self.recent[0].seq > seq + 1:
            return None
        return list(islice(self.recent, seq + 1 - self.recent[0].seq, None))


class CommandQueues:
    """The command queues of the chats used last. The least recently used queue that is empty is evicted; all of them
    share one limit for cached content."""

    def __init__(self, *, queues_max: int = QUEUES_MAX, recent_bytes_max: int = ALL_RECENT_BYTES_MAX) -> None:
        self._queues: OrderedDict[str, CommandQueue] = OrderedDict()
        self._queues_max = queues_max
        self._recent_bytes_max = recent_bytes_max
        self._with_recent: OrderedDict[str, int] = OrderedDict()
        """The size of each queue's cached content, the least recently appended to first."""
        self.recent_bytes = 0

    def __len__(self) -> int:
        return len(self._queues)

    def get(self, chat_id: str) -> CommandQueue:
        """The queue of a chat, created if there is none."""
        queue = self._queues.get(chat_id)
        if queue is None:
            queue = self._queues[chat_id] = CommandQueue(chat_id)
            self._shrink()
        else:
            self._queues.move_to_end(chat_id)
        return queue

    def find(self, chat_id: str) -> CommandQueue | None:
        """The queue of a chat if there is one."""
        return self._queues.get(chat_id)

    def cache_entries(self, queue: CommandQueue, entries: Sequence[Entry]) -> None:
        """Cache facts that were just appended to the chat; the least recently appended to lose theirs beyond the
        limit."""
        queue.cache_entries(entries)
        self._count(queue)
        while self.recent_bytes > self._recent_bytes_max:
            oldest = self._queues.get(next(iter(self._with_recent)))
            assert oldest is not None, "only queues in the cache are counted"
            oldest.evict_entries()
            self._count(oldest)

    def evict(self, queue: CommandQueue) -> None:
        """Drop what is cached of the chat: the next command loads its state from the store."""
        queue.evict()
        self._count(queue)

    def _count(self, queue: CommandQueue) -> None:
        self.recent_bytes -= self._with_recent.pop(queue.chat_id, 0)
        if queue.recent_bytes and self._queues.get(queue.chat_id) is queue:
            self._with_recent[queue.chat_id] = queue.recent_bytes
            self.recent_bytes += queue.recent_bytes

    def _shrink(self) -> None:
        while len(self._queues) > self._queues_max:
            chat_id = next((key for key, queue in self._queues.items() if queue.task is None), None)
            if chat_id is None:
                return
            self.evict(self._queues[chat_id])
            del self._queues[chat_id]
