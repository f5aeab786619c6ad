"""What an instance needs of the other instances on its store: their membership, and a link to each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from antiphon.core.values import Value


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
