"""Which attempts hold a chat, what is due, and the stored pieces of open drafts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.model import Status
from antiphon.core.values import Value


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


class LeaseStore(Protocol):
    """The leases of running turns, and the pieces of their drafts."""

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
