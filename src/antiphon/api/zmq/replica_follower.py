"""What other instances write of the owner's chats on a shared store: found, read there, and told here in its place.

Only while somebody listens. An owner's hints and the poll of the watchers say which chats have gone on; what is not
told yet is read from the store and told by seq, together with what this instance writes itself. The drafts of turns
that run elsewhere are asked of their holders, as for watchers. A lost hint costs the time until the next poll.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import structlog
from msgspec.structs import replace

from antiphon.api.zmq.background_tasks import Errands
from antiphon.api.zmq.followed_drafts import GROWS, FollowedDrafts
from antiphon.chats.hints import chat_hint, claimed_chat
from antiphon.chats.service import Service, owner_channel
from antiphon.cluster.relay import RelayedDrafts
from antiphon.core import facts as f
from antiphon.core.model import Chat
from antiphon.errors import AntiphonError
from antiphon.observe.metrics import METRICS
from antiphon.ports import Append, Bus
from antiphon.watch.watch import Watch
from antiphon.wire.notify import ChatEventKind

BEHIND_MAX = 1_000
"""A session that has come so many facts further is told anew."""
PAGE_BYTES = 1024 * 1024
UNKNOWN_MAX = 100
"""So many facts of a chat of which nothing was told yet may be news."""
TOLD_MAX = 10_000
"""Of so many chats it is remembered how far they were told."""
OTHERS_MAX = 100_000
LOOKS_MAX = 10_000
READS_AT_ONCE = 8
RUNNING_MAX = 1_000
"""Of so many chats, the newest, it is looked which run already when somebody begins to listen."""
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Teller(Protocol):
    """Who tells what is found, in the order in which it is given."""

    def tell(self, append: Append) -> None: ...

    def tell_draft(self, chat_id: str) -> None:
        """It has grown."""
        ...

    def join(self, chat_id: str, draft: int) -> None:
        """All facts are told: what there is of the open draft comes next."""
        ...

    def forget(self, chat_id: str | None) -> None:
        """What comes next of it (None: of any) does not join what was told."""
        ...


class Look:
    """A chat is being looked at. `is_due`: it has gone on since the look began."""

    __slots__ = ("is_due",)

    def __init__(self) -> None:
        self.is_due = True


class Elsewhere:
    """Stands between the owner's chats and their teller. `take` what is written here; `listen` as long as anybody
    does."""

    def __init__(
        self, *, service: Service, bus: Bus, watch: Watch, relay: RelayedDrafts, owner_id: str, instance_id: str
    ) -> None:
        self.teller: Teller
        self._service = service
        self._bus = bus
        self._watch = watch
        self._owner_id = owner_id
        self.drafts = FollowedDrafts(
            relay,
            instance_id=instance_id,
            seq_told=self._seq_told,
            on_growth=lambda chat_id: self.teller.tell_draft(chat_id),
            on_led=self.look,  # first the facts that lead to it
        )
        self._is_listening = False
        self._since = 0
        """What was written before (store time), of a chat of which nothing was told yet, is no news."""
        self._told: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """How far each chat was told: the fact's seq and time."""
        self._others: set[str] = set()
        self._looks: dict[str, Look] = {}
        self._places = asyncio.Semaphore(READS_AT_ONCE)
        self._errands = Errands()
        self._ends: list[Callable[[], None]] = []

    @property
    def look_count(self) -> int:
        return len(self._looks)

    # --- while anybody listens

    def listen(self, is_heard: bool) -> None:
        """Begin, or end and let go of everything."""
        if is_heard and not self._is_listening:
            self._is_listening = True
            self._since = self._service.store.clock.now_us()
            self._ends = [
                self._watch.observe(self._on_poll),
                self._bus.subscribe(owner_channel(self._owner_id), self._on_hint),
            ]
            self._errands.begin(self._look_at_running())
        elif not is_heard and self._is_listening:
            self.close()
            self.teller.forget(None)

    def close(self) -> None:
        self._is_listening = False
        for end in self._ends:
            end()
        self._errands.cancel()
        self._ends = []
        self.drafts.clear()
        self._looks.clear()
        self._told.clear()

    async def _look_at_running(self) -> None:
        """What runs already is joined: here too, for what was told of it is not known."""
        while True:
            try:
                listed = await self._service.store.list_chats(
                    self._owner_id, archived=None, label=None, title="", limit=RUNNING_MAX, after=None
                )
            except AntiphonError as error:
                log.warning("running_sessions_not_listed", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                break
        for item in listed:
            if item.chat.status in GROWS:
                self.look(item.chat_id)

    def _on_hint(self, message: bytes | None) -> None:
        hint = chat_hint(message)
        if hint.kind == ChatEventKind.DELETED and (claimed := claimed_chat(message)) is not None:
            self._service.deleted_chats.record_claimed(hint.chat_id, claimed)
        if not hint.chat_id:
            self._watch.poll_soon()
        elif hint.seq is None or hint.seq > self._seq_told(hint.chat_id):
            self.look(hint.chat_id)

    def _on_poll(self, changed: Sequence[tuple[str, int]]) -> None:
        for chat_id, seq in changed:
            if seq > self._seq_told(chat_id):
                self.look(chat_id)

    def _seq_told(self, chat_id: str) -> int:
        told = self._told.get(chat_id)
        return told[0] if told is not None else 0

    # --- what is written here

    def take(self, append: Append) -> None:
        """Have an append of this instance told: at once, unless what lies before it is not told yet."""
        if append.chat.owner_id != self._owner_id:
            return
        if not self._is_listening:
            self.teller.tell(append)
        elif append.chat_id not in self._looks and append.after_seq == self._told.get(append.chat_id, (0, 0))[0]:
            self._tell(append)
            self.drafts.keep_up(append.chat_id, append.chat)
        else:
            self.look(append.chat_id)

    def has_come_to(self, chat_id: str, draft: int) -> bool:
        """Whether the facts before that draft of this instance's are told; else they soon are."""
        if chat_id in self._looks:
            return False
        if self._seq_told(chat_id) < draft:
            self.look(chat_id)
            return False
        return True

    # --- looking

    def look(self, chat_id: str) -> None:
        """Tell what of the chat is not told yet."""
        look = self._looks.get(chat_id)
        if look is not None:
            look.is_due = True
        elif len(self._looks) >= LOOKS_MAX:
            METRICS.oddities.labels("unseen_session").inc()  # its next append is looked at
        elif self._is_listening and not self._is_another_s(chat_id):
            look = self._looks[chat_id] = Look()
            self._errands.begin(self._look_until_told(chat_id, look))

    def _is_another_s(self, chat_id: str) -> bool:
        known = self._service.chat_nowait(chat_id)
        return chat_id in self._others or (known is not None and known.owner_id != self._owner_id)

    async def _look_until_told(self, chat_id: str, look: Look) -> None:
        chat = None
        try:
            while look.is_due:
                look.is_due = False
                try:
                    chat = await self._tell_next(chat_id)
                    look.is_due |= chat is not None and self._seq_told(chat_id) < chat.seq
                except AntiphonError:  # the store is away, which its readiness says
                    await asyncio.sleep(RETRY_S)
                    look.is_due = True
        finally:
            if self._looks.get(chat_id) is look:
                del self._looks[chat_id]
        if chat is not None:
            self.drafts.keep_up(chat_id, chat)
            if chat.status in GROWS:
                self.teller.join(chat_id, chat.draft)

    async def _tell_next(self, chat_id: str) -> Chat | None:
        """Tell what comes next, up to a page of it; the chat as it is now, if it is the owner's."""
        async with self._places:
            chat = await self._service.chat(chat_id)
            if chat is None:
                return None
            if chat.owner_id != self._owner_id:
                self._note_another_s(chat_id)
                return None
            entries = await self._read_untold(chat_id, chat)
        for append in _appends(chat_id, chat, entries):
            for entry in append.entries:
                fact = entry.fact
                if isinstance(fact, f.MessageAppended) and fact.closes and (fact.calls or fact.interrupted):
                    await self.drafts.wait_closing(chat_id, fact.closes)
            self._tell(append)
        return chat

    async def _read_untold(self, chat_id: str, chat: Chat) -> list[f.Entry]:
        told = self._told.get(chat_id)
        after = told[0] if told is not None else max(chat.seq - UNKNOWN_MAX, 0)
        if chat.seq - after > BEHIND_MAX:
            METRICS.oddities.labels("untold_session").inc()
            self.teller.forget(chat_id)  # followers ask; what comes from now on is told
            after = chat.seq - 1
        if after >= chat.seq:
            return []
        read = await self._service.store.read_entries(chat_id, after, limit=BEHIND_MAX, bytes_max=PAGE_BYTES)
        entries = [entry for entry in read if entry.seq <= chat.seq]
        if told is None:
            old = [entry for entry in entries if entry.recorded.at < self._since]
            if old or not entries:
                last = old[-1] if old else None
                self._note(chat_id, last.seq if last else chat.seq, last.recorded.at if last else self._since)
            entries = [entry for entry in entries if entry.recorded.at >= self._since]
        elif not entries:
            self._note(chat_id, chat.seq, told[1])
        return entries

    def _tell(self, append: Append) -> None:
        last = append.entries[-1]
        self._note(append.chat_id, last.seq, last.recorded.at)  # first: what cannot be told is not tried again
        self.teller.tell(append)

    def _note(self, chat_id: str, seq: int, at: int) -> None:
        self._told[chat_id] = (seq, at)
        self._told.move_to_end(chat_id)
        if len(self._told) > TOLD_MAX:
            _, (_, told_at) = self._told.popitem(last=False)
            self._since = max(self._since, told_at + 1)

    def _note_another_s(self, chat_id: str) -> None:
        if len(self._others) >= OTHERS_MAX:
            self._others.clear()
        self._others.add(chat_id)


def _appends(chat_id: str, chat: Chat, entries: Sequence[f.Entry]) -> Iterator[Append]:
    """The appends that these facts came in, each with the chat as it was after it, as far as it is told."""
    group: list[f.Entry] = []
    for entry in entries:
        group.append(entry)
        if entry.more and entry is not entries[-1]:
            continue
        yield Append(
            chat_id=chat_id,
            after_seq=group[0].seq - 1,
            append_id="",
            entries=tuple(group),
            contents={},
            chat=replace(
                chat,
                seq=entry.seq,
                status=entry.status,
                draft=entry.draft,
                is_deleted=isinstance(entry.fact, f.ChatDeleted),
            ),
        )
        group = []
