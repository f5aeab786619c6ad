"""The interface of a worker: the turns to run, and how instances distribute them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from antiphon.core.facts import Entry
from antiphon.core.model import Chat, Status
from antiphon.core.parts import FileReference
from antiphon.ports.chat_store import PAGE_BYTES_MAX, Append
from antiphon.ports.chats import Chats
from antiphon.ports.clock import Clock
from antiphon.ports.files import StoredFile
from antiphon.ports.leases import FlushedDelta


class TurnSlots(Protocol):
    """The free slots of this process's worker. A turn can be claimed in the append that starts it, which saves one
    durable write."""

    def reserve_nowait(self, owner_id: str) -> str | None:
        """Reserve a slot for a chat of that owner; returns the instance's id, or None if there is no free slot."""
        ...

    def release(self, owner_id: str) -> None:
        """Release a slot: the append was not written, or the attempt has ended."""
        ...

    def start(self, chat_id: str, chat: Chat) -> None:
        """Run the attempt that holds `chat` in the reserved slot. Its append is durable."""
        ...


class NoSlots:
    """A process without a worker: other instances run every turn."""

    def reserve_nowait(self, owner_id: str) -> str | None:
        return None

    def release(self, owner_id: str) -> None:
        """Does nothing: no slot was reserved."""

    def start(self, chat_id: str, chat: Chat) -> None:
        raise AssertionError("no slot was reserved")


class Balance:
    """How turns are distributed over instances. This class is for a single instance: it claims every turn at once."""

    def may_claim(self, load: int) -> bool:
        """Whether this instance, which runs `load` turns, should claim another one."""
        return True

    def delay_s(self, chat_id: str, load: int) -> float:
        """How long to leave a chat to less busy instances before it is claimed, in seconds.

        Args:
            chat_id: The chat.
            load: How many turns this instance runs.
        """
        return 0.0


class Work(Chats, Protocol):
    """Everything that a worker uses of the chats: commands and state, the turns to claim, their leases, and the
    contents that a model needs. The lease methods are those of `LeaseStore`, the reads those of `ChatStore` and
    `FileStore`."""

    @property
    def clock(self) -> Clock:
        """The clock of the store."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes write the same chats, so that a cached state may be old."""
        ...

    def subscribe_to_appends(self, chat_id: str | None, subscriber: Callable[[Append], object]) -> Callable[[], None]:
        """Call `subscriber` with each append of this process to the chat (None: to any chat); returns a function that
        ends it."""
        ...

    async def claimable(self, *, limit: int, passing_over: Sequence[str] = ()) -> tuple[str, ...]: ...

    async def renew(self, instance_id: str, attempts: Sequence[tuple[str, int]]) -> dict[str, Status]: ...

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None: ...

    async def read_messages(
        self, chat_id: str, *, limit: int, bytes_max: int = PAGE_BYTES_MAX
    ) -> tuple[tuple[Entry, ...], bool]: ...

    async def read_contents(self, chat_id: str, seqs: Sequence[int]) -> dict[int, bytes]: ...

    async def find_file(self, file_id: str) -> StoredFile | None: ...

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes: ...

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]: ...

    async def store_file(
        self, owner_id: str, pieces: AsyncIterator[bytes], *, media_type: str = "", name: str = ""
    ) -> FileReference:
        """Store a file as an upload of the owner, and describe it. It expires unless a chat names it.

        Raises:
            Refused: The file is empty or too large, its bytes are not of that type, or the owner stores too much.
            Unavailable: The store does not work now.
        """
        ...
