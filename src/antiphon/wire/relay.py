"""The messages between instances about drafts: subscriptions, deltas and heartbeats.

Each message is one JSON object. Older and newer instances run side by side: a message of an unknown type is decoded
as `Unknown`, which the receiver skips.
"""

from __future__ import annotations

from antiphon.core.events import Delta
from antiphon.core.parts import Unknown
from antiphon.core.values import Value
from antiphon.wire import codec


class Wanted(Value):
    """A subscription to one chat, with the draft and position up to which the subscriber has the text. `is_gap`: a
    delta was lost after this position. `is_seen`: the chat itself has watchers there, not only a subscriber to all
    chats."""

    chat_id: str
    draft: int = 0
    position: int = 0
    is_gap: bool = False
    is_seen: bool = True


class Watch(Value, tag="watch", tag_field="type"):
    """Subscribe: send the deltas of these drafts from the given positions, and those of the chats' next drafts, until
    `Unwatch` or until the subscription expires."""

    wanted: tuple[Wanted, ...]


class Unwatch(Value, tag="unwatch", tag_field="type"):
    chat_ids: tuple[str, ...]


class Deltas(Value, tag="deltas", tag_field="type"):
    chat_id: str
    deltas: tuple[Delta, ...]


class Ping(Value, tag="ping", tag_field="type"):
    """A liveness check. The reply is a `Pong` with the same number."""

    number: int = 0


class Pong(Value, tag="pong", tag_field="type"):
    number: int = 0


Message = Watch | Unwatch | Deltas | Ping | Pong


def encode_message(message: Message) -> bytes:
    return codec.encode(message)


def decode_message(data: bytes) -> Message | Unknown:
    """Raises `PeerError` for bytes that are not a message."""
    message: Message | Unknown = codec.decode(data, Message)
    return message
