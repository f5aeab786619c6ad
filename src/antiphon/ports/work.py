"""What a worker is given: the turns to run, and the rules by which instances share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.facts import Entry
from antiphon.core.model import Chat, Status
from antiphon.ports.chat_store import PAGE_BYTES_MAX
from antiphon.ports.chats import Chats
from antiphon.ports.clock import Clock
from antiphon.ports.leases import FlushedDelta


class TurnSlots(Protocol):
    """The free places of this process's worker. A turn that starts here can be claimed in the very append that starts
    it, which saves one durable write."""

    def reserve_nowait(self, owner_id: str) -> str | None:
        """Reserve a place for a chat of that owner; the instance's id, or None if there is no free place."""
        ...

    def release(self, owner_id: str) -> None:
        """Give the place back: the append was not written, or the attempt has ended."""
        ...

    def start(self, chat_id: str, chat: Chat) -> None:
        """The append is durable: run the attempt that holds `chat` in the reserved place."""
        ...


class NoSlots:
    """A process without a worker: every turn is left to others."""

    def reserve_nowait(self, owner_id: str) -> str | None:
        return None

    def release(self, owner_id: str) -> None:
        """Nothing was reserved."""

    def start(self, chat_id: str, chat: Chat) -> None:
        raise AssertionError("nothing was reserved")


class Balance:
    """How turns are spread over instances. This one is that of a single instance: it claims everything at once."""

    def may_claim(self, load: int) -> bool:
        """Whether a turn should start here, where `load` of them run."""
        return True

    def delay_s(self, chat_id: str, load: int) -> float:
        """How long to leave a chat that any instance may claim to less busy ones, in seconds."""
        return 0.0


class Work(Chats, Protocol):
    """All that a worker sees of the chats: commands and state, the turns to claim, their leases, and the contents
    that a model needs. The lease methods are those of `LeaseStore`, the reads those of `ChatStore`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes write the same chats, so that a cached state may be old."""
        ...

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]: ...

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]: ...

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None: ...

    async def read_messages(
        self, chat_id: str, *, limit: int, bytes_max: int = PAGE_BYTES_MAX
    ) -> tuple[tuple[Entry, ...], bool]: ...

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]: ...
