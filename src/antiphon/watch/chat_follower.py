"""A place in one chat's stream that hands over what follows it, for `OwnerFollower`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec.structs import replace

from antiphon.core.draft import draft_of_message
from antiphon.core.events import Delta
from antiphon.core.evolve import evolve
from antiphon.core.facts import ChatDeleted, Entry, MessageAppended
from antiphon.core.model import Chat
from antiphon.errors import AntiphonError
from antiphon.observe.background_tasks import BackgroundTasks
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append
from antiphon.tracebacks import traceback_of
from antiphon.watch.reader import Reader
from antiphon.watch.stream_items import Fact, Item
from antiphon.wire.codec import decode_content
from antiphon.wire.stream import Frame

PACE_S = 0.001
"""After deltas were handed over, how long the next ones are collected, in seconds."""
CLOSING_S = 0.1
"""How long a fact that closes a draft waits for the draft's last deltas, in seconds."""

log = structlog.get_logger(__name__)

HandOver = Callable[[str, Append | None, Sequence[Delta]], None]
"""Is given the facts of one append with the state after them, or deltas."""


class ChatFollower:
    """A consumer of a reader. `chat` is the state at `seq` where it is known, else a newer one; None before the first
    fact."""

    def __init__(
        self,
        reader: Reader,
        seq: int,
        position: int,
        chat: Chat | None,
        *,
        newest_chat: Chat,
        hand_over: HandOver,
        on_idle: Callable[[ChatFollower], None],
        on_closed: Callable[[Reader], None],
        retry_s: float,
    ) -> None:
        self.chat_id = reader.chat_id
        self._reader = reader
        self.seq, self.position = seq, position
        self.chat = chat
        self.place: tuple[int, int, Chat | None] = (seq, position, chat)
        """Where to continue: the seq and the state between two appends, and the position in the draft after them."""
        self._newest_chat = newest_chat
        self._hand_over = hand_over
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._retry_s = retry_s
        self._loop = asyncio.get_running_loop()
        self._append: list[Entry] = []
        """The facts of an append that are not all here yet."""
        self._is_closed = False
        self._is_paced = False
        self._is_reading = False
        self._awaits_deltas_of = self._gave_up_at = 0
        self._background = BackgroundTasks()
        reader.watchers[self] = None

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._background.cancel()
            self._reader.watchers.pop(self, None)
            self._on_closed(self._reader)

    def catch_up(self, seq: int | None) -> None:
        """The chat is said to have reached `seq` (None: unknown)."""
        self._reader.on_hint(seq)

    def notify(self, kind: str, notice: Frame) -> None:
        """Transient events are not published."""

    def wake(self) -> None:
        """Hand over what is new. A failure closes this follower; its reader has other consumers."""
        try:
            self._hand_over_new()
        except Exception:
            METRICS.unexpected.labels("follower_failed").inc()
            log.error("follower_failed", chat_id=self.chat_id, exception=traceback_of())
            self._on_idle(self)

    def _hand_over_new(self) -> None:
        while not self._is_closed and not self._is_reading:
            if not self._reader.has(self.seq):
                self._is_reading = True
                self._background.start(self._read_old())
                return
            if self._is_paced and self._reader.seq <= self.seq:
                return  # there are deltas at most; the end of the pause hands them over
            items = self._reader.items(self.seq, self.position)
            if not items:
                break
            if not self._hand_over_all(items):
                return
        is_complete = not self._append and not self._reader.is_catching_up
        if not self._is_closed and is_complete and self._reader.is_resting(self.seq):
            self._on_idle(self)

    def _hand_over_all(self, items: list[Item]) -> bool:
        """False: the next fact waits for deltas."""
        deltas: list[Delta] = []
        for item in items:
            if isinstance(item.content, Delta):
                deltas.append(item.content)
            elif self._must_wait(item):
                self._hand_over_deltas(deltas)
                return False
            else:
                deltas += _missing_deltas(item)
                self._hand_over_deltas(deltas)
                deltas = []
                self._hand_over_fact(item.content.entry)
            self.seq, self.position = item.seq, item.position
            self._note_place()
        self._hand_over_deltas(deltas)
        return True

    def _note_place(self) -> None:
        """A follower that is evicted continues here: before the append that is not handed over, and after the deltas
        that are."""
        if self._append:
            seq, position, chat = self.place
            self.place = (seq, max(position, self.position), chat)
        else:
            self.place = (self.seq, self.position, self.chat)

    def _hand_over_deltas(self, deltas: list[Delta]) -> None:
        """Before the facts of the append that is collected, unless one of them opened the draft: other instances'
        commands may share an append, and one that closes the draft need not be the first."""
        if not deltas:
            return
        if self._append and deltas[0].draft >= self._append[0].seq:
            self._end_append()
        self._hand_over(self.chat_id, None, deltas)
        if not self._is_paced:
            self._is_paced = True
            self._loop.call_later(PACE_S, self._end_pace)

    def _end_pace(self) -> None:
        self._is_paced = False
        self.wake()

    # --- facts

    def _hand_over_fact(self, entry: Entry) -> None:
        self.chat = _advance(self.chat if self.chat or entry.seq == 1 else self._newest_chat, entry)
        self._append.append(entry)
        if not entry.more:
            self._end_append()

    def _end_append(self) -> None:
        if not self._append:
            return
        entries, self._append = tuple(self._append), []
        last = entries[-1]
        assert self.chat is not None, "facts lead to a state"
        chat = replace(self.chat, seq=last.seq, status=last.status, draft=last.draft)
        append = Append(
            chat_id=self.chat_id, after_seq=entries[0].seq - 1, append_id="", entries=entries, contents={}, chat=chat
        )
        self._hand_over(self.chat_id, append, ())

    def _must_wait(self, item: Item) -> bool:
        """Whether the last deltas of the draft that the fact closes may still arrive, and only they can be published:
        those of a whole answer without tool calls are in its message."""
        assert isinstance(item.content, Fact)
        fact = item.content.entry.fact
        if item.missing_from is None or item.content.seq <= self._gave_up_at:
            return False
        if not isinstance(fact, MessageAppended) or not (fact.calls or fact.interrupted):
            return False
        if self._awaits_deltas_of != item.content.seq:
            self._awaits_deltas_of = item.content.seq
            self._loop.call_later(CLOSING_S, self._give_up, item.content.seq)
        return True

    def _give_up(self, seq: int) -> None:
        self._gave_up_at = seq
        self.wake()

    async def _read_old(self) -> None:
        """Read facts that the reader no longer has in memory."""
        try:
            while not await self._reader.reach_back(self.seq):
                entries = await self._reader.read_entries(self.seq)
                if not entries:  # they are being deleted, or the reader moved on meanwhile
                    await asyncio.sleep(self._retry_s)
                    break
                for entry in entries:
                    self._hand_over_deltas(_deltas_of_message(entry, self.position))
                    self._hand_over_fact(entry)
                    self.seq = entry.seq
                    self.position = 0 if entry.draft == entry.seq else self.position
                    self._note_place()
        except AntiphonError:  # the store is not available, which readiness shows
            await asyncio.sleep(self._retry_s)
        except Exception:
            METRICS.unexpected.labels("follower_failed").inc()
            log.error("follower_failed", chat_id=self.chat_id, exception=traceback_of())
            self._on_idle(self)
            return
        self._is_reading = False
        self.wake()


def _missing_deltas(item: Item) -> list[Delta]:
    """The deltas that did not arrive, from the message that the draft became; none where they cannot be known."""
    assert isinstance(item.content, Fact)
    return _deltas_of_message(item.content.entry, item.missing_from) if item.missing_from is not None else []


def _deltas_of_message(entry: Entry, position: int) -> list[Delta]:
    """The deltas after `position` of the draft that became this message; none where they cannot be known."""
    fact = entry.fact
    if not isinstance(fact, MessageAppended) or fact.closes is None or fact.interrupted or entry.hidden_by:
        return []
    if position >= fact.closes.upto:
        return []
    content = decode_content(entry.content or b"[]")
    draft = draft_of_message(fact.closes.draft, content, fact.closes.upto)
    return draft.read(position) if draft is not None else []


def _advance(chat: Chat | None, entry: Entry) -> Chat:
    """The state after `entry`, as far as it is known."""
    if isinstance(entry.fact, ChatDeleted) and chat is not None:
        return replace(chat, seq=entry.seq, is_deleted=True)
    if chat is None or chat.seq == entry.seq - 1:
        return evolve(chat, entry.recorded)
    return chat
