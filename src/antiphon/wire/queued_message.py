"""What becomes of a message that waits in a chat's queue, for protocols whose answer begins with its turn."""

from __future__ import annotations

from typing import NamedTuple

from antiphon.core.events import Event, FactEvent


class Delivered(NamedTuple):
    """The message has left the queue: the fact `seq` appended it, and began the turn or joined it."""

    turn_id: int
    seq: int


class Removed(NamedTuple):
    """The message was deleted from the queue: it gets no answer."""


def queue_outcome(event: Event, queued_id: int) -> Delivered | Removed | None:
    """What an event says about the message `queued_id`; None: nothing."""
    if not isinstance(event, FactEvent) or event.data.get("queued_id") != queued_id:
        return None
    if event.type == "message_appended":
        return Delivered(event.data["message"]["turn_id"], event.seq)
    return Removed() if event.type == "queued_message_deleted" else None
