"""What the server needs from the outside, as Protocols with their promises written out.

Adapters inherit these words. `store/`, `bus/`, `models/` and `testing/` satisfy them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from antiphon.core.draft import Draft
from antiphon.core.facts import Entry
from antiphon.core.model import Chat, Status
from antiphon.core.parts import Part, PartMetadata, Reasoning, Role, Text, ToolCallArgs, ToolCallOpened, Usage
from antiphon.core.values import Value
from antiphon.ports.access import Access as Access
from antiphon.ports.access import Session as Session
from antiphon.ports.access import Token as Token

# --- models -----------------------------------------------------------------------------------------


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of the history, as an agent or a model is given it."""

    id: int
    role: Role
    content: tuple[Part, ...]
    is_interrupted: bool = False


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model is told of it. `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call. `try_` counts the tries of this step from 1; `turn_failures` those of the whole turn."""

    chat_id: str
    turn_id: int
    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    parameters: dict[str, Any] = {}
    """The provider's own: they go into the request as they are."""
    try_: int = 1
    turn_failures: int = 0


class AnswerEnded(msgspec.Struct, frozen=True):
    """How the model says its answer ended, where that is worth showing: `length` (cut off at its limit of tokens),
    `refusal`, `content_filter`, `empty` (nothing to show was in it)."""

    outcome: str


ModelEvent = Text | Reasoning | ToolCallOpened | ToolCallArgs | PartMetadata | Usage | AnswerEnded


class Model(Protocol):
    """A chat model: answers a request as a stream of pieces.

    `stream` yields `Text` and `Reasoning` pieces, for each tool call a `ToolCallOpened` and then the
    `ToolCallArgs` that belong to it, and at any time a `Usage` (the newest one counts as the whole call's).
    `PartMetadata` belongs to the piece before it, `AnswerEnded` comes last, if at all.
    The stream ends normally when the answer is complete. Whatever goes wrong is raised as
    `errors.AttemptFailed` with its kind; nothing is retried inside. Closing the iterator (aclose)
    ends the call and frees its connection.
    """

    @property
    def provider(self) -> str: ...

    @property
    def name(self) -> str: ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]: ...

    async def aclose(self) -> None: ...


# --- clock and ids ----------------------------------------------------------------------------------


class Clock(Protocol):
    """Time. `now_us` is the store's clock (steps of the wall clock do not move it), `monotonic` measures waits."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        ...


class Ids(Protocol):
    """Random names."""

    def uuid(self) -> str:
        """A new UUID, lower case with hyphens."""
        ...

    def secret(self) -> str:
        """A new token: 32 random bytes, URL-safe."""
        ...


# --- the store --------------------------------------------------------------------------------------


class Receipt(Value):
    """What a client id was answered: `answer` is opaque JSON, `body_hash` that of the request it answered."""

    client_id: str
    body_hash: bytes
    answer: bytes


class Grant(Value):
    """Begin the lease with the attempt."""

    attempt: int
    instance_id: str


class Drop(Value):
    """Remove the lease."""


class Ended(Value):
    """Remove the lease, which must have ended by the store's clock: else the append is refused."""

    attempt: int


class Notification(Value):
    """Something an owner should see, about a chat: `body` is opaque JSON. `read_at` 0: it was not read yet."""

    notification_id: str
    owner_id: str
    chat_id: str
    body: bytes
    created_at: int
    read_at: int = 0


NOTIFICATIONS_KEPT = 1_000
"""An owner's newest ones are kept."""


class Append(Value):
    """Facts to be written after `after_seq`, all or none. `contents` lie by the seq of the fact that brought
    them; `chat` is the state after the last fact."""

    chat_id: str
    after_seq: int
    append_id: str
    entries: tuple[Entry, ...]
    contents: dict[int, bytes]
    chat: Chat
    receipts: tuple[Receipt, ...] = ()
    lease: Grant | Drop | Ended | None = None
    notification: Notification | None = None


class Appended(StrEnum):
    """What became of an append."""

    DONE = "done"
    CONFLICT = "conflict"
    """`after_seq` is not the chat's last seq: load and decide again."""
    ANSWERED = "answered"
    """One of the client ids already has a receipt: read it."""
    LEASE_LIVE = "lease_live"
    """`Ended` was asked of a lease that has not ended."""


class OutcomeUnknown(Exception):
    """The answer to a commit was lost: ask for the same append again, which looks at the row after `after_seq`."""


class FlushedDelta(Value):
    """A piece of an open draft, kept against the death of the process: `body` is the JSON of the delta."""

    chat_id: str
    draft: int
    from_: int
    to: int
    body: bytes


class Due(Value):
    """Something whose time has come: a lease that ended, a stop that is overdue, a deadline that passed.

    `why` is lease, interrupt or action.
    """

    chat_id: str
    attempt: int
    why: str


class Listed(Value):
    """A chat in a listing."""

    chat_id: str
    chat: Chat


class ConfigRow(Value):
    """A piece of configuration, by its kind and its id there: `body` is opaque to the store (None: there is none)."""

    kind: str
    config_id: str
    body: bytes | None


class Mark(Value):
    """Up to where a poll has been told what changed: a store's own counting. `after` is the place, within one look
    from mark to mark, at which its last page ended."""

    since: int
    after: tuple[int, str] | None = None


PAGE_BYTES_MAX = 16 * 1024 * 1024
"""A page of messages ends with the one that takes it to so many bytes."""


class Store(Access, Protocol):
    """Durable chats. Every adapter keeps these promises, and one conformance suite tries them all.

    `append` is one transaction: the facts, their contents, the state, the listing columns, receipts and
    the lease together, or nothing. When it says DONE it is durable. It raises `errors.Unavailable` when
    nothing was written, and `OutcomeUnknown` when that cannot be known; the same append (by its append_id, which
    is stored with its first fact) may then be asked for again: it is DONE if it was written, and written if not.
    Chats of a newer `fold_version` are read-only: `Unavailable`. Reads see every append that was DONE before
    they began.
    """

    @property
    def clock(self) -> Clock: ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes write it, too: what one remembers of a chat may then be old."""
        ...

    @property
    def last_error(self) -> str | None:
        """The kind of the last write's failure, None when it went well (readiness)."""
        ...

    async def append(self, append: Append) -> Appended: ...

    async def load(self, chat_id: str) -> Chat | None:
        """The stored state (of a deleted chat, its tombstone)."""
        ...

    async def read_entries(self, chat_id: str, after_seq: int, *, limit: int, bytes_max: int) -> tuple[Entry, ...]:
        """The facts after `after_seq`, in order: at most `limit`, and no more after `bytes_max` of content."""
        ...

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int) -> Entry | None:
        """The newest fact of a kind (`facts.kind_of`) after `after_seq`, without its content."""
        ...

    async def read_messages(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> tuple[tuple[Entry, ...], bool]:
        """Visible messages, ascending: the newest page, that before `before_id`, or that after `after_id`; no more
        once the page has `bytes_max` of content; and whether there are more in that direction."""
        ...

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]: ...

    async def damaged_contents(self, chat_id: str, first_seq: int, last_seq: int) -> tuple[int, ...]:
        """The contents of these facts, hidden ones included, whose bytes are not those that were written (doctor).
        What an earlier version wrote without a checksum is not checked."""
        ...

    async def damaged_receipts(self, chat_id: str) -> tuple[str, ...]:
        """As `damaged_contents`: the client ids of a chat's receipts."""
        ...

    async def count_chats(self, owner_id: str) -> int:
        """How many chats an owner has, without archived and deleted ones."""
        ...

    async def count_messages(self, chat_id: str) -> int:
        """How many visible messages of people and models a chat has."""
        ...

    async def message_role(self, chat_id: str, message_id: int) -> Role | None:
        """The role of a visible message, None if there is none of that id."""
        ...

    async def queued_fate(self, chat_id: str, queued_id: int) -> str | None:
        """`delivered` or `queued` (it once was, here), None if no such message was ever queued."""
        ...

    async def read_receipts(self, chat_id: str, client_ids: Sequence[str]) -> dict[str, Receipt]:
        """Those that there are, by their client ids."""
        ...

    async def list_chats(
        self,
        owner_id: str,
        *,
        archived: bool | None,
        label: tuple[str, str] | None,
        title: str,
        limit: int,
        after: tuple[int, str] | None,
    ) -> tuple[Listed, ...]:
        """An owner's chats, latest `updated_at` first; `after` is the last one's (updated_at, chat_id)."""
        ...

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        """Running chats that nobody holds and whose `retrying_at` has come, the longest waiting first; without those
        of the owners and the chats (ids of either) that are `passing_over`."""
        ...

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        """What is due now: at most `limit` leases that have ended, and as many chats with a stop or a deadline."""
        ...

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        """Extend the leases of these (chat_id, attempt) that still hold; the status of each that does."""
        ...

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        """Attempts (chat_id, attempt) that hold a lease of any other instance. For a store that one process
        owns: they are lost, their holder is proven dead. A shared one answers with none, unless nobody (``) asks."""
        ...

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        """Keep pieces of open drafts; those of drafts that are not open are passed over."""
        ...

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        """The kept pieces, by position."""
        ...

    async def changed(self, mark: Mark | None, *, limit: int) -> tuple[tuple[tuple[str, int], ...], Mark]:
        """The chats (chat_id, seq) that changed since `mark` (None: only the mark is wanted), and the next mark.
        Where there are `limit` of them, that leads to the others. A shared store may tell of a chat again."""
        ...

    async def iter_chat_ids(self) -> tuple[str, ...]:
        """Every chat, deleted ones included (doctor)."""
        ...

    async def read_setting(self, name: str) -> str:
        """What was written under that name, empty if nothing was."""
        ...

    async def write_setting(self, name: str, value: str) -> None: ...

    # --- the inbox

    async def list_notifications(
        self, owner_id: str, *, is_unread: bool, limit: int, after: tuple[int, str] | None
    ) -> tuple[Notification, ...]:
        """An owner's, the newest first (NOTIFICATIONS_KEPT of them are kept); `after` is the last one's (created_at,
        id)."""
        ...

    async def new_notifications(self, owner_ids: Sequence[str], since: int) -> tuple[Notification, ...]:
        """Those of these owners made since then (by their `created_at`), the oldest first; at most 1,000."""
        ...

    async def count_unread(self, owner_id: str) -> int:
        """How many of an owner's notifications were not read."""
        ...

    async def read_notification(self, owner_id: str, notification_id: str) -> Notification | None:
        """Mark it as read, if it is that owner's and was not: as it then is, None if there is none."""
        ...

    async def read_all_notifications(self, owner_id: str) -> None: ...

    async def move_read_cursor(self, chat_id: str, seq: int) -> None:
        """The owner has read the chat up to `seq`; it never goes back."""
        ...

    async def unread_of(self, chat_ids: Sequence[str]) -> frozenset[str]:
        """Those of these chats that have a visible message of a model after their read cursor."""
        ...

    # --- configuration

    async def config_version(self) -> int:
        """How often configuration was written: as long as it stays the same, so does all of it."""
        ...

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        """All rows of a kind by their ids, or the one, and the version at which they are so."""
        ...

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        """Make, replace or (where they have no body) remove these rows, all or none: the version they are of.
        None, and nothing is written: `after_version` was given and is not the version any more. Read and decide
        again. Fails as `append` does; the same rows may be asked for again."""
        ...

    async def check(self) -> None:
        """Raises `Unavailable` unless a write would succeed now."""
        ...

    async def aclose(self) -> None: ...


# --- who else is there ------------------------------------------------------------------------------


class InstanceRecord(Value):
    """An instance on a shared store, as the others find it. Times in microseconds, store time.

    `relay_endpoint` is where its drafts are asked for (empty: over the bus), `relay_key` the public CURVE key of its
    connections. `running` turns of `capacity` is its load as it last said. `is_present` tells whether its session
    still holds its lock: False while it is dead, but also after the database has restarted.
    """

    instance_id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    http_url: str = ""
    relay_endpoint: str = ""
    relay_key: str = ""
    started_at: int = 0
    seen_at: int = 0
    running: int = 0
    capacity: int = 0
    is_draining: bool = False
    is_present: bool = False


class Presence(Protocol):
    """Who runs on a shared store. An instance's row says where it is; a lock of its database session says that it
    lives, and is free the moment its process dies."""

    async def enter(self, record: InstanceRecord) -> None:
        """Be there: make or replace the row, and hold the lock from now on, also after a lost connection."""
        ...

    async def beat(self, instance_id: str, *, running: int, is_draining: bool = False) -> None:
        """Say that it lives, and what it has to do."""
        ...

    async def instances(self) -> tuple[tuple[InstanceRecord, ...], float]:
        """All rows, and for how many seconds the store's server has been up."""
        ...

    async def attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        """The attempts (chat_id, attempt) whose lease an instance has."""
        ...

    async def leave(self, instance_id: str) -> None:
        """Take the row away (one's own, or that of an instance long dead) and, if it is one's own, free the lock."""
        ...

    async def aclose(self) -> None: ...


# --- the bus ----------------------------------------------------------------------------------------

Handler = Callable[[bytes | None], None]


class Bus(Protocol):
    """Hints between and within instances. At most once, in any order: a hint means look.

    A handler is called in the loop's thread with the message, or with None: messages were dropped, look at
    everything.
    """

    @property
    def error(self) -> str | None:
        """Why nothing comes through now (readiness); None while it does."""
        ...

    def is_heard(self, channel: str) -> bool:
        """False only if certainly nobody subscribes to the channel: then a message need not be made."""
        ...

    def publish_nowait(self, channel: str, message: bytes) -> None:
        """Send to whoever subscribes, this process included. Never waits and never fails: what cannot be sent is
        dropped, and counted. Of equal messages that wait for one channel one may be sent."""
        ...

    def subscribe(self, channel: str, handler: Handler) -> Callable[[], None]:
        """Call `handler` for each message from now on; returns the call that ends it. Where a far end has to be told
        of the subscription, the handler is called with None once it is."""
        ...

    def is_subscribed(self, channel: str) -> bool:
        """Whether messages of far ends come in on this channel; False between `subscribe` and its first None."""
        ...

    async def aclose(self) -> None:
        """Send what was published, then end."""
        ...


# --- the doors' and the workers' view of the chats --------------------------------------------------


class Drafts(Protocol):
    """The drafts that are being written, as far as this process has them."""

    def get(self, chat_id: str) -> Draft | None:
        """The open draft of a chat whose turn runs here, or is followed from here."""
        ...

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change` whenever the draft grows or is replaced; returns the call that ends it."""
        ...

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        """A listener has come to that draft, which the instance `holder` writes (empty: nobody)."""
        ...


class Link(Protocol):
    """Messages from one instance to another: in order, each at most once, and bounded.

    `on_message` is called in the loop's thread with the sender's instance_id and the message. `look` reads anew who
    is there and tells it by `know`.
    """

    on_message: Callable[[str, bytes], None]
    look: Callable[[], Awaitable[None]] | None

    @property
    def endpoint(self) -> str:
        """Where other instances reach this one; empty where the bus carries the messages."""
        ...

    @property
    def key(self) -> str:
        """The public CURVE key of its connections, if it has one."""
        ...

    @property
    def error(self) -> str | None:
        """Which instances are there and cannot be talked to (readiness); None if there are none."""
        ...

    @property
    def is_broadcast(self) -> bool:
        """Whether one message on a chat's channel reaches all that have joined it."""
        ...

    def know(self, records: Sequence[InstanceRecord]) -> None:
        """These instances may connect, and are connected to: all that have a row, for one whose session is lost is
        still asked whether it lives."""
        ...

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        """False: it cannot be taken now (the peer is slow, or not connected yet)."""
        ...

    def tell_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        """As `send_nowait`, of a chat: where `is_broadcast`, to all that have joined its channel."""
        ...

    def join(self, chat_id: str) -> None: ...

    def quit(self, chat_id: str) -> None: ...

    async def aclose(self) -> None: ...
