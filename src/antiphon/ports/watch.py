"""Following chats: the interface by which the APIs stream events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from antiphon.wire.stream import Frame


class FrameBatch(Protocol):
    """The next events of a stream."""

    @property
    def frames(self) -> Sequence[Frame]:
        """The events."""
        ...

    @property
    def data(self) -> bytes:
        """The events as server-sent events."""
        ...

    @property
    def chunked(self) -> bytes:
        """`data` as one chunk of HTTP's chunked transfer coding."""
        ...


class ChatWatcher(Protocol):
    """A cursor in one chat's stream."""

    sending_since: float
    """When the client stopped accepting data, in seconds of the event loop's time; 0 while it accepts. A client that
    stays slow is closed."""
    stop_sending: Callable[[], object] | None
    """Called to abort the connection of a client that was closed as slow."""
    on_wake: Callable[[], None] | None
    """Called when there may be new events, instead of waking `next_batch`."""

    @property
    def is_closed(self) -> bool:
        """Whether the last event (`bye`) was returned."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether the next events have to be read from the store."""
        ...

    def next_batch_nowait(self) -> FrameBatch | None:
        """The next events; None if there are none yet. Must not be called while `is_behind`."""
        ...

    async def next_batch(self) -> FrameBatch:
        """Wait for the next events; they are read from the store if necessary."""
        ...

    async def next_old_batch(self) -> FrameBatch | None:
        """The next events from the store; None once the watcher is no longer behind."""
        ...


class EventStream(Protocol):
    """A stream without cursors: each event is sent once, to the streams that are open at that time. `sending_since`
    and `stop_sending` are as in `ChatWatcher`."""

    owner_id: str
    token_id: str
    sending_since: float
    stop_sending: Callable[[], object] | None
    is_closed: bool

    def end(self, reason: str, retry_ms: int | None = None) -> bool:
        """Close the stream with a `bye`. Returns False if it was closed before.

        Args:
            reason: Why it is closed.
            retry_ms: After how many milliseconds the client should reconnect.
        """
        ...

    async def next_batch(self) -> list[Frame]:
        """Wait for the next events; a `bye` is the last one."""
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
            chat_id: The chat.
            cursor: (seq, position) after which to continue; None starts now, with a `resync`.
            token_id: The token or session of the client; the stream is closed when it is revoked.
            owner_id: The owner of the client, whose number of watchers is limited.
            until_idle: Close it once the chat is idle.
            by_ref: Omit the content of a message whose whole draft was streamed.
            reads_all: Send every fact, however old the cursor is, and never a `resync`.

        Raises:
            NotFound: There is no such chat.
            CursorInvalid: The chat has not reached that seq.
            TooMany: The maximum number of watchers is reached.
        """
        ...

    def open_feed(self, owner_id: str, *, token_id: str = "") -> AbstractAsyncContextManager[EventStream]:
        """Follow the changes of all chats of an owner from now on.

        Args:
            owner_id: The owner.
            token_id: The token or session of the client; the stream is closed when it is revoked.

        Raises:
            TooMany: The maximum number of watchers is reached.
        """
        ...

    def end_all(self, reason: str, retry_ms: int | None = None) -> None:
        """Close every stream, and those that are opened later.

        Args:
            reason: Why they are closed.
            retry_ms: After how many milliseconds the clients should reconnect.
        """
        ...
