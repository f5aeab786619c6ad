"""Follows every chat of one owner, for a protocol that publishes all of them on one stream.

How it works
------------
1. Which chats have new facts is known from this process's own appends, from the hints on the owner's channel, and
   from the watchers' poll, should hints be lost. When following starts, the running chats and
   the child chats that they wait for are listed once.
2. Each such chat gets a `ChatFollower`: a place (seq, position) on the chat's one `Reader`, the same that serves the
   watchers. It is woken by the reader and hands the next items to the consumer, in order and each once. When the chat
   is idle and everything was handed over, the follower is closed; the place is remembered.
3. A chat that was not followed before starts at its first fact since following began. What is older is no news.
4. After a group of deltas a follower pauses for a moment, so that the consumer publishes fewer and larger ones: each
   frame wakes its sender's and its subscribers' threads, which costs more than the rest of it.
5. A fact that closes a draft of another instance may arrive before the last deltas of that draft. It waits for them
   for a moment (`chat_follower.py`). What is still missing then is taken from the message itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from antiphon.chats.hints import chat_hint, claimed_chat, owner_channel
from antiphon.chats.running_children import iter_running_children
from antiphon.chats.service import Service
from antiphon.core.events import Delta
from antiphon.core.model import Chat, Status
from antiphon.core.values import Value
from antiphon.errors import AntiphonError
from antiphon.observe.background_tasks import BackgroundTasks
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append, Bus, Store
from antiphon.tracebacks import traceback_of
from antiphon.watch.chat_follower import ChatFollower
from antiphon.watch.watch import Changed, Watch
from antiphon.wire.notify import ChatEventKind

PLACES_MAX = 10_000
"""Maximum number of chats whose place is remembered."""
OTHERS_MAX = 100_000
"""Maximum number of chats remembered as another owner's."""
NEWS_MAX = 100
"""Maximum number of facts checked for news in a chat that was not followed before."""
READ_BYTES = 1024 * 1024
RUNNING_MAX = 1_000
"""Maximum number of recent chats checked for running turns when following starts."""
OPENING_MAX = 8
"""Maximum number of followers opened at once: each reads the store."""

GROWS = (Status.RUNNING, Status.INTERRUPTING)
"""A chat with one of these statuses may have a growing draft."""

log = structlog.get_logger(__name__)


class FollowLimits(Value):
    """How much is followed at once."""

    chats_max: int = 1_000
    """Maximum number of chats followed at once. Beyond it the least recently changed one is closed."""
    behind_max: int = 1_000
    """Maximum number of facts that a follower may be behind. Beyond it, it continues at the newest one."""


class Consumer(Protocol):
    """Publishes what is followed."""

    def on_append(self, append: Append) -> None:
        """The next facts of a chat, with the state after them."""
        ...

    def on_deltas(self, chat_id: str, deltas: Sequence[Delta]) -> None:
        """The next deltas of the draft that is open after the last facts."""
        ...

    def on_skipped(self, chat_id: str) -> None:
        """Facts of this chat were skipped: what follows does not continue what came before."""
        ...


class Place(Value, gc=True):
    """After the fact `seq`, which was written `at`, and the first `position` code points of the draft after it.
    `chat` is the state there, where it is known."""

    seq: int
    position: int = 0
    at: int = 0
    chat: Chat | None = None


class OwnerFollower:
    """`start` and `stop` following; `follow` a chat that has new facts."""

    def __init__(
        self,
        owner_id: str,
        *,
        service: Service,
        store: Store,
        bus: Bus,
        watch: Watch,
        consumer: Consumer,
        limits: FollowLimits = FollowLimits(),  # noqa: B008 - a value
        retry_s: float = 1.0,
    ) -> None:
        """
        Args:
            owner_id: The owner whose chats are followed.
            service: The command loop, whose appends are followed.
            store: Read for chats that this process did not write.
            bus: Carries the hints of other instances.
            watch: Has the readers of the chats.
            consumer: Receives the facts and deltas.
            limits: How much is followed at once.
            retry_s: How long to wait before a failed read is repeated, in seconds.
        """
        self._limits = limits
        self._retry_s = retry_s
        self._owner_id = owner_id
        self._service = service
        self._store = store
        self._bus = bus
        self._watch = watch
        self._consumer = consumer
        self._started_at: int | None = None
        """Facts that were written before (store time) are no news; None: stopped."""
        self._followers: OrderedDict[str, ChatFollower] = OrderedDict()
        self._opening: dict[str, int] = {}
        """The chats for which a follower is being opened, and the newest seq that was hinted at."""
        self._places: OrderedDict[str, Place] = OrderedDict()
        """The place up to which each chat was handed over."""
        self._others: set[str] = set()
        self._slots = asyncio.Semaphore(OPENING_MAX)
        self._background = BackgroundTasks()
        self._unsubscribe: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._followers)

    @property
    def is_started(self) -> bool:
        return self._started_at is not None

    def start(self) -> None:
        """Follow from now on."""
        if self.is_started:
            return
        self._started_at = self._store.clock.now_us()
        self._unsubscribe = [
            self._service.appended_for_owner.subscribe(self._owner_id, self._on_append),
            self._watch.polled.subscribe(self._on_poll),
            self._bus.subscribe(owner_channel(self._owner_id), self._on_hint, sees_own_appends=True),
        ]
        self._background.start(self._follow_running())

    def stop(self) -> None:
        """Close every follower. Following may start again."""
        self._started_at = None
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        self._background.cancel()
        self._opening = {}
        self._places.clear()
        for follower in tuple(self._followers.values()):
            follower.close()
        self._followers.clear()

    # --- which chats have new facts

    def _on_append(self, append: Append) -> None:
        if append.chat_id not in self._places and not self._store.is_shared:
            self._remember(append.chat_id, Place(seq=append.after_seq, at=self._started_at or 0))
        self.follow(append.chat_id, append.chat.seq)

    def _on_poll(self, changed: Changed) -> None:
        for chat_id, seq in changed:
            self.follow(chat_id, seq)

    def _on_hint(self, message: bytes | None) -> None:
        hint = chat_hint(message)
        if hint.kind == ChatEventKind.DELETED and (claimed := claimed_chat(message)) is not None:
            self._service.deleted_chats.record_claimed(hint.chat_id, claimed)
        if not hint.chat_id:
            self._watch.poll_soon()
        else:
            self.follow(hint.chat_id, hint.seq)

    async def _follow_running(self) -> None:
        """Open a follower for each chat that is already running, also for the child chats that they wait for."""
        while True:
            try:
                listed = await self._store.list_chats(
                    self._owner_id, archived=None, label=None, title="", limit=RUNNING_MAX, after=None
                )
                children = [item async for item in iter_running_children(self._store, self._owner_id, listed)]
            except AntiphonError as error:
                log.warning("running_chats_not_listed", error=str(error))
                await asyncio.sleep(self._retry_s)
            else:
                break
        for item in (*listed, *children):
            if item.chat.status in GROWS:
                self.follow(item.chat_id)

    # --- followers

    def follow(self, chat_id: str, seq: int | None = None) -> None:
        """The chat has reached `seq` (None: unknown): hand over what is new, unless it is known to be nothing."""
        if not self.is_started or self._is_of_another_owner(chat_id):
            return
        follower = self._followers.get(chat_id)
        if follower is not None:
            self._followers.move_to_end(chat_id)
            follower.catch_up(seq)
        elif chat_id in self._opening:
            self._opening[chat_id] = max(self._opening[chat_id], seq or 0)
        elif seq is None or seq > self._place(chat_id):
            if len(self._opening) >= PLACES_MAX:
                METRICS.unexpected.labels("unfollowed_chat").inc()  # its next fact opens it
                return
            self._opening[chat_id] = seq or 0
            self._background.start(self._open(chat_id))

    def _place(self, chat_id: str) -> int:
        place = self._places.get(chat_id)
        return place.seq if place is not None else 0

    def _is_of_another_owner(self, chat_id: str) -> bool:
        cached = self._service.chat_nowait(chat_id)
        return chat_id in self._others or (cached is not None and cached.owner_id != self._owner_id)

    async def _open(self, chat_id: str) -> None:
        opening = self._opening
        try:
            while True:
                try:
                    async with self._slots:
                        follower = await self._make_follower(chat_id)
                    break
                except AntiphonError:  # the store is not available, which readiness shows
                    await asyncio.sleep(self._retry_s)
        finally:
            hinted = opening.pop(chat_id, 0)
        if follower is None:
            return
        if opening is not self._opening:  # stopped meanwhile, and perhaps started again
            follower.close()
            return
        self._followers[chat_id] = follower
        while len(self._followers) > self._limits.chats_max:
            METRICS.unexpected.labels("unfollowed_chat").inc()
            _, evicted = self._followers.popitem(last=False)
            at = self._places[evicted.chat_id].at if evicted.chat_id in self._places else 0
            seq, position, chat = evicted.place
            self._remember(evicted.chat_id, Place(seq=seq, position=position, at=at, chat=chat))
            evicted.close()
        follower.catch_up(hinted)
        follower.wake()

    async def _make_follower(self, chat_id: str) -> ChatFollower | None:
        chat = await self._service.chat(chat_id)
        if chat is None:
            return None
        if chat.owner_id != self._owner_id:
            if len(self._others) >= OTHERS_MAX:
                self._others.clear()
            self._others.add(chat_id)
            return None
        reader = await self._watch.acquire_reader(chat_id)
        try:
            place = await self._first_place(chat_id, chat)
            await reader.catch_up(max(chat.seq, self._opening.get(chat_id, 0)))  # else it may seem idle too soon
        except BaseException:
            self._watch.release_reader(reader)
            raise
        return ChatFollower(
            reader,
            place.seq,
            place.position,
            place.chat or (chat if place.seq else None),
            newest_chat=chat,
            hand_over=self._hand_over,
            on_idle=self._on_idle,
            on_closed=self._watch.release_reader,
            retry_s=self._retry_s,
        )

    async def _first_place(self, chat_id: str, chat: Chat) -> Place:
        """Where a new follower starts."""
        place = self._places.get(chat_id)
        if place is None and self._started_at is not None:
            after = max(chat.seq - NEWS_MAX, 0)
            entries = await self._store.read_entries(chat_id, after, limit=NEWS_MAX, bytes_max=READ_BYTES)
            older = [entry.seq for entry in entries if entry.recorded.at < self._started_at]
            place = Place(seq=older[-1] if older else after, at=self._started_at)
            self._remember(chat_id, place)
        place = place or Place(seq=chat.seq)
        if chat.seq - place.seq > self._limits.behind_max:
            METRICS.unexpected.labels("skipped_chat").inc()
            self._consumer.on_skipped(chat_id)  # its subscribers read the gap
            place = Place(seq=chat.seq - 1)
        return place

    def _on_idle(self, follower: ChatFollower) -> None:
        """Everything was handed over and the chat is idle."""
        if self._followers.get(follower.chat_id) is follower:
            del self._followers[follower.chat_id]
        follower.close()

    # --- handing over

    def _hand_over(self, chat_id: str, append: Append | None, deltas: Sequence[Delta]) -> None:
        """What cannot be published (its content is damaged, say) is skipped: it must not block what follows."""
        try:
            if append is not None:
                last = append.entries[-1]
                self._remember(chat_id, Place(seq=last.seq, at=last.recorded.at, chat=append.chat))
                self._consumer.on_append(append)
            elif deltas:
                self._consumer.on_deltas(chat_id, deltas)
        except Exception:
            METRICS.unexpected.labels("publishing_failure").inc()
            log.error("publishing_failed", chat_id=chat_id, exception=traceback_of())

    def _remember(self, chat_id: str, place: Place) -> None:
        self._places[chat_id] = place
        self._places.move_to_end(chat_id)
        if len(self._places) > PLACES_MAX:
            _, oldest = self._places.popitem(last=False)
            self._started_at = max(self._started_at or 0, oldest.at + 1)
