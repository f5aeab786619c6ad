"""Events of chats as WebSocket messages: the event's JSON with `chat_id` and `cursor`.

Frames of a server are not masked (RFC 6455, section 5.1), so the bytes of an event are the same for all watchers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from antiphon.wire.stream import Frame

_TEXT = 0x81
"""The first byte of a frame that is a whole text message."""


class Messages:
    """Messages for one connection or for many: their JSON texts, and the bytes of their frames."""

    __slots__ = ("_frames", "texts")

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.texts = texts
        self._frames: bytes | None = None

    @property
    def chunked(self) -> bytes:
        """The frames, made once."""
        if self._frames is None:
            self._frames = b"".join(map(text_frame, self.texts))
        return self._frames


def text_frame(text: bytes) -> bytes:
    """A whole text message as one frame."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", _TEXT, size) + text
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size) + text
    return struct.pack("!BBQ", _TEXT, 127, size) + text


def events_of(chat_id: str, frames: Iterable[Frame]) -> Messages:
    """The messages for the events of a chat."""
    return Messages([event_json(chat_id, frame) for frame in frames])


def event_json(chat_id: str, frame: Frame, *, has_cursor: bool = True) -> bytes:
    """The JSON of an event with the chat that it belongs to, and with its cursor where it has one."""
    cursor = b"" if frame.seq is None or not has_cursor else b'"cursor":"%d.%d",' % (frame.seq, frame.position)
    return b'{"chat_id":"%b",%b%b' % (chat_id.encode(), cursor, frame.data[1:])
