"""What instances say to each other about drafts: who wants which, what has grown, and whether they are there.

JSON, one message each. Older and newer instances stand side by side: a message of an unknown type is an error to
`decode_message`, which its receiver counts and passes over.
"""

from __future__ import annotations

from antiphon.core.events import Delta
from antiphon.core.values import Value
from antiphon.wire import codec


class Wanted(Value):
    """A chat that is watched, and how much of which draft the asking instance has. `is_gap`: what came then began
    later, so something was lost. `is_seen`: somebody watches it there, and not only a program that listens to all."""

    chat_id: str
    draft: int = 0
    position: int = 0
    is_gap: bool = False
    is_seen: bool = True


class Watch(Value, tag="watch", tag_field="type"):
    """Send what these drafts gain from the positions on, and the chats' next drafts; until unwatched or forgotten."""

    wanted: tuple[Wanted, ...]


class Unwatch(Value, tag="unwatch", tag_field="type"):
    chat_ids: tuple[str, ...]


class Deltas(Value, tag="deltas", tag_field="type"):
    chat_id: str
    deltas: tuple[Delta, ...]


class Ping(Value, tag="ping", tag_field="type"):
    """Are you there? The answer is a `Pong` with the same number."""

    number: int = 0


class Pong(Value, tag="pong", tag_field="type"):
    number: int = 0


Message = Watch | Unwatch | Deltas | Ping | Pong


def encode_message(message: Message) -> bytes:
    return codec.encode(message)


def decode_message(data: bytes) -> Message:
    """Raises `PeerError` for what is none, or of a type that this version does not know."""
    message: Message = codec.decode(data, Message)
    return message
