"""The leases of attempts, what is due, and the flushed deltas of open drafts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.model import Status
from antiphon.core.values import Value


class FlushedDelta(Value):
    """A delta of an open draft, stored in case the process dies. It has the text from position `from_` to `to`;
    `body` is its JSON."""

    chat_id: str
    draft: int
    from_: int
    to: int
    body: bytes


class Due(Value):
    """Something that is due in a chat: an expired lease, an overdue interrupt, or an expired deadline. `why` is
    lease, interrupt or action."""

    chat_id: str
    attempt: int
    why: str


class LeaseStore(Protocol):
    """The leases of running turns, and the flushed deltas of their drafts. Every method raises `Unavailable` if the
    store cannot be read or written."""

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]:
        """Chats with a turn that no attempt holds and whose `retrying_at` has passed, the longest waiting first.

        Args:
            limit: Maximum number of chats.
            passing_over: Ids of owners and chats to leave out.
        """
        ...

    async def due(self, *, limit: int) -> tuple[Due, ...]:
        """What is due now: at most `limit` expired leases, and at most `limit` overdue interrupts and deadlines."""
        ...

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]:
        """Renew leases.

        Args:
            instance_id: The instance that holds them.
            attempts: Their (chat_id, attempt).

        Returns:
            The status of each chat whose lease was renewed. The others lost theirs.
        """
        ...

    async def take_over(self, instance_id: str) -> tuple[tuple[str, int], ...]:
        """The attempts of other instances that hold a lease, for a store that one process owns: they are lost, since
        their process is dead.

        Args:
            instance_id: This instance; empty: return all leases, also of a shared store.

        Returns:
            Their (chat_id, attempt); none for a shared store.
        """
        ...

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        """Store deltas of open drafts. Deltas of drafts that are not open are ignored."""
        ...

    async def read_flushed(self, chat_id: str, draft: int) -> tuple[FlushedDelta, ...]:
        """The stored deltas of a draft, in the order of their positions."""
        ...
