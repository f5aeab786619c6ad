"""A chat's line: the commands that wait for it in this process, and its state as last known."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice

from antiphon.core.commands import Command
from antiphon.core.facts import Entry, HistoryTruncated
from antiphon.core.model import Chat
from antiphon.ports import Done, Request

LINES_MAX = 10_000
RECENT_ENTRIES = 64
RECENT_BYTES = 1024 * 1024
ALL_RECENT_BYTES = 64 * 1024 * 1024
"""So much content of new facts is remembered in all."""


class Job:
    """Commands of one caller that succeed or are refused together, and the future of their answer."""

    __slots__ = ("commands", "future", "request")

    def __init__(self, commands: Sequence[Command], request: Request | None, future: asyncio.Future[Done]) -> None:
        self.commands = tuple(commands)
        self.request = request
        self.future = future


class Line:
    """`chat` is None until loaded (or while the chat does not exist); `recent` are the newest facts, with content."""

    __slots__ = ("chat", "chat_id", "is_loaded", "jobs", "recent", "recent_bytes", "task")

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.chat: Chat | None = None
        self.is_loaded = False
        self.jobs: deque[Job] = deque()
        self.task: asyncio.Task[None] | None = None
        self.recent: deque[Entry] = deque()
        self.recent_bytes = 0

    def forget(self) -> None:
        """Drop what is known: the next command loads it anew."""
        self.chat, self.is_loaded = None, False
        self.forget_recent()

    def know(self, chat: Chat | None) -> None:
        self.chat, self.is_loaded = chat, True

    def remember(self, entries: Sequence[Entry]) -> None:
        if self.recent and entries and entries[0].seq != self.recent[-1].seq + 1:
            self.forget_recent()
        for entry in entries:
            if isinstance(entry.fact, HistoryTruncated):
                self.forget_recent()  # the store knows what is hidden now
            self.recent.append(entry)
            self.recent_bytes += len(entry.content or b"")
        while self.recent and (len(self.recent) > RECENT_ENTRIES or self.recent_bytes > RECENT_BYTES):
            self.recent_bytes -= len(self.recent.popleft().content or b"")

    def forget_recent(self) -> None:
        self.recent.clear()
        self.recent_bytes = 0

    def entries_after(self, seq: int) -> list[Entry] | None:
        """The facts after `seq` without a hole, if they are all still here."""
        if not self.recent or self.recent[0].seq > seq + 1:
            return None
        return list(islice(self.recent, seq + 1 - self.recent[0].seq, None))


class Lines:
    """The lines of the chats lately used; the longest unused that nobody waits in are forgotten. What they remember
    has a bound for all together."""

    def __init__(self, lines_max: int = LINES_MAX, recent_bytes_max: int = ALL_RECENT_BYTES) -> None:
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._lines_max = lines_max
        self._recent_bytes_max = recent_bytes_max
        self._with_recent: OrderedDict[str, int] = OrderedDict()
        self.recent_bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, chat_id: str) -> Line:
        line = self._lines.get(chat_id)
        if line is None:
            line = self._lines[chat_id] = Line(chat_id)
            self._shrink()
        else:
            self._lines.move_to_end(chat_id)
        return line

    def known(self, chat_id: str) -> Line | None:
        return self._lines.get(chat_id)

    def remember(self, line: Line, entries: Sequence[Entry]) -> None:
        """Keep the newest facts of `line`; those of the lines that longest had none make room."""
        line.remember(entries)
        self._count(line)
        while self.recent_bytes > self._recent_bytes_max:
            oldest = self._lines.get(next(iter(self._with_recent)))
            assert oldest is not None, "only lines that are here are counted"
            oldest.forget_recent()
            self._count(oldest)

    def forget(self, line: Line) -> None:
        """Drop what is known of the chat: the next command loads it anew."""
        line.forget()
        self._count(line)

    def _count(self, line: Line) -> None:
        self.recent_bytes -= self._with_recent.pop(line.chat_id, 0)
        if line.recent_bytes and self._lines.get(line.chat_id) is line:
            self._with_recent[line.chat_id] = line.recent_bytes
            self.recent_bytes += line.recent_bytes

    def _shrink(self) -> None:
        while len(self._lines) > self._lines_max:
            chat_id = next((key for key, line in self._lines.items() if line.task is None), None)
            if chat_id is None:
                return
            self.forget(self._lines[chat_id])
            del self._lines[chat_id]
