"""Following chats: what the protocols by which an instance is reached use to stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from antiphon.wire.stream import Frame


class FrameBatch(Protocol):
    """The next events of a stream. `data` is them as server-sent events, `chunked` as one chunk of HTTP's coding."""

    @property
    def frames(self) -> Sequence[Frame]: ...

    @property
    def data(self) -> bytes: ...

    @property
    def chunked(self) -> bytes: ...


class ChatWatcher(Protocol):
    """A cursor in one chat's stream."""

    sending_since: float
    """When the peer stopped accepting data (loop time); 0 while it accepts. A peer that stays slow is closed."""
    stop_sending: Callable[[], object] | None
    """Called to abort a peer that was closed as slow."""
    on_wake: Callable[[], None] | None
    """Called instead of waking `next_batch` when there may be more."""

    @property
    def is_closed(self) -> bool:
        """Whether the last event (`bye`) was handed out."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether the next events have to be read from the store."""
        ...

    def next_batch_nowait(self) -> FrameBatch | None:
        """The next events, None if there are none yet. Not while `is_behind`."""
        ...

    async def next_batch(self) -> FrameBatch:
        """The next events, waiting for them, from the store where needed."""
        ...

    async def next_old_batch(self) -> FrameBatch | None:
        """The next events from the store; None once the watcher is no longer behind."""
        ...


class EventStream(Protocol):
    """A stream without cursors: each event is sent once, to the streams that are open then."""

    owner_id: str
    token_id: str
    sending_since: float
    stop_sending: Callable[[], object] | None
    is_closed: bool

    def end(self, reason: str, retry_ms: int | None = None) -> None:
        """Close it with a `bye`."""
        ...

    async def next_batch(self) -> list[Frame]:
        """The next events, waiting for them; a `bye` is the last."""
        ...


class Watch(Protocol):
    """Opens streams, bounded in number, and closes them when their token is revoked or the server stops."""

    def open_watcher(
        self,
        chat_id: str,
        cursor: tuple[int, int] | None,
        *,
        token_id: str = "",
        owner_id: str = "",
        until_idle: bool = False,
        by_ref: bool = False,
        reads_all: bool = False,
    ) -> AbstractAsyncContextManager[ChatWatcher]:
        """Follow a chat.

        Args:
            cursor: (seq, position) after which to continue; None starts now, with a `resync`.
            until_idle: Close it once the chat is idle.
            by_ref: Omit the content of a message whose whole draft was streamed.
            reads_all: Send every fact, however far behind the cursor is, never a `resync`.

        Raises:
            NotFound: There is no such chat.
            CursorInvalid: The chat has not reached that seq.
            TooMany: The maximum number of watchers is reached.
        """
        ...

    def open_feed(self, owner_id: str, *, token_id: str = "") -> AbstractAsyncContextManager[EventStream]:
        """Follow the changes of all chats of an owner, from now on."""
        ...

    def end_all(self, reason: str, retry_ms: int | None = None) -> None:
        """Close every stream, and those that are opened later."""
        ...
