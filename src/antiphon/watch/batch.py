"""The next events of a chat after one place, encoded once for all watchers there."""

from __future__ import annotations

from antiphon.wire.stream import Frame
from antiphon.wire.websocket import Messages, events_of


class Batch:
    """The next events after one place, and the place after them."""

    __slots__ = ("_chunked", "_messages", "data", "frames", "position", "seq")

    def __init__(self, frames: list[Frame], seq: int, position: int) -> None:
        self.frames = frames
        self.data = b"".join(frame.sse for frame in frames)
        self.seq = seq
        self.position = position
        self._chunked: bytes | None = None
        self._messages: Messages | None = None

    @property
    def chunked(self) -> bytes:
        """The data as one chunk of HTTP's chunked coding, made once for all connections."""
        if self._chunked is None:
            self._chunked = b"%x\r\n%b\r\n" % (len(self.data), self.data)
        return self._chunked

    def messages(self, chat_id: str) -> Messages:
        """The events as WebSocket messages, made once for all connections."""
        if self._messages is None:
            self._messages = events_of(chat_id, self.frames)
        return self._messages
