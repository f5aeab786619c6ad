"""What an instance needs of the other instances on its store: their membership, and a link to each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value
from antiphon.signal import Signal


class InstanceRecord(Value):
    """A member: an instance on a shared store. Times in microseconds, store time.

    `relay_endpoint` is the address of its relay (empty: the bus carries it), `relay_key` the public CURVE key.
    `running` of `capacity` turns is its load at its last heartbeat. `is_present`: its session still holds its lock.
    That is False while it is dead, but also after the database has restarted.
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
    """The membership list of a shared store. An instance's row says where it is reached; a lock of its database
    session shows that it lives, and is freed the moment its process dies."""

    async def register(self, record: InstanceRecord) -> None:
        """Write the row, and hold the lock from now on, also after a lost connection."""
        ...

    async def heartbeat(self, instance_id: str, *, running: int, is_draining: bool = False) -> None:
        """Record that the instance lives, and its load."""
        ...

    async def instances(self) -> tuple[tuple[InstanceRecord, ...], float]:
        """All rows, and how long the database has been up, in seconds."""
        ...

    async def attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        """The attempts (chat_id, attempt) whose lease the instance holds."""
        ...

    async def deregister(self, instance_id: str) -> None:
        """Remove the row (its own, or that of a dead instance); with its own, release the lock."""
        ...

    async def aclose(self) -> None: ...


class Link(Protocol):
    """Messages from one instance to another: in order, each at most once, and bounded."""

    @property
    def received(self) -> Signal[str, bytes]:
        """Emitted in the loop's thread for each message, with the sender's instance id (empty on a broadcast)."""
        ...

    @property
    def endpoint(self) -> str:
        """Where other instances reach this one; empty where the bus carries the messages."""
        ...

    @property
    def key(self) -> str:
        """The public CURVE key of its connections; empty if it has none."""
        ...

    @property
    def error(self) -> str | None:
        """Which present instances do not answer (readiness); None if all do."""
        ...

    @property
    def is_broadcast(self) -> bool:
        """Whether one message on a chat's channel reaches every instance that joined it."""
        ...

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        """Accept connections from exactly these instances, and connect to them. An instance whose session is lost is
        among them: it is asked whether it lives."""
        ...

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        """Send to one instance. False under back-pressure, or while it is not connected."""
        ...

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        """Send to one instance or, where `is_broadcast`, to all that joined the chat's channel."""
        ...

    def join(self, chat_id: str) -> None:
        """Receive what is broadcast on the chat's channel."""
        ...

    def quit(self, chat_id: str) -> None:
        """End `join`."""
        ...

    async def aclose(self) -> None: ...
