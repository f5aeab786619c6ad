"""The other instances on a shared store: the membership list, and a link to each instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value
from antiphon.signal import Signal


class InstanceRecord(Value):
    """A member: an instance on a shared store. Times are in microseconds, store time.

    `relay_endpoint` is the address of its relay (empty: the bus carries the messages), `relay_key` its public CURVE
    key. `running` of `capacity` turns was its load at its last heartbeat, at `seen_at`. `is_present`: its database
    session holds its lock; False if the instance is dead, but also after the database has restarted.
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
    """The membership list of a shared store. The row of an instance has its addresses. A lock of its database session
    shows that it is alive: the database frees the lock the moment the process dies. Every method raises `Unavailable`
    if the store cannot be read or written."""

    async def register(self, record: InstanceRecord) -> None:
        """Write the row and hold the lock from now on, also after a lost connection."""
        ...

    async def heartbeat(self, instance_id: str, *, running: int, is_draining: bool = False) -> None:
        """Record that the instance is alive, and its load.

        Args:
            instance_id: The instance.
            running: The number of its running turns.
            is_draining: Whether it claims no new turns.
        """
        ...

    async def instances(self) -> tuple[tuple[InstanceRecord, ...], float]:
        """All rows, and how long the database has been up in seconds."""
        ...

    async def attempts_of(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        """The attempts (chat_id, attempt) whose lease the instance holds."""
        ...

    async def deregister(self, instance_id: str) -> None:
        """Remove the row of this instance or of a dead one. With the own row, the lock is released."""
        ...

    async def aclose(self) -> None:
        """Close the database session."""
        ...


class Link(Protocol):
    """Messages between instances: in order, each at most once, in bounded memory."""

    @property
    def received(self) -> Signal[str, bytes]:
        """Emitted in the event loop's thread for each message, with the sender's id (empty on a broadcast link)."""
        ...

    @property
    def endpoint(self) -> str:
        """The address to which other instances connect; empty if the bus carries the messages."""
        ...

    @property
    def key(self) -> str:
        """The public CURVE key of its connections; empty if it has none."""
        ...

    @property
    def error(self) -> str | None:
        """Which present instances do not answer, for readiness; None if all do."""
        ...

    @property
    def is_broadcast(self) -> bool:
        """Whether one message on a chat's channel reaches all instances that joined it."""
        ...

    def update_members(self, records: Sequence[InstanceRecord]) -> None:
        """Accept connections from exactly these instances, and connect to them. They include instances whose session
        is lost: the failure detector pings them."""
        ...

    def send_nowait(self, instance_id: str, message: bytes) -> bool:
        """Send a message to one instance; returns False under back-pressure, or while it is not connected."""
        ...

    def send_of_chat_nowait(self, chat_id: str, instance_id: str, message: bytes) -> bool:
        """Send a message to one instance or, if `is_broadcast`, to all that joined the chat's channel.

        Args:
            chat_id: The chat whose draft the message is about.
            instance_id: The instance; empty if `is_broadcast`.
            message: The message.

        Returns:
            False under back-pressure, or while the instance is not connected.
        """
        ...

    def join(self, chat_id: str) -> None:
        """Receive the messages that are broadcast on the chat's channel."""
        ...

    def quit(self, chat_id: str) -> None:
        """Stop receiving the messages of the chat's channel."""
        ...

    async def aclose(self) -> None:
        """Close all connections; queued messages may be dropped."""
        ...
