"""What a watcher is given: the facts themselves, deltas, and a few events of the stream's own.

`cursor` is what the reader holds after the event (empty for ping and bye). `wire.stream` reads and writes them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.parts import DeltaPart
from antiphon.core.values import Value


class Delta(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag="delta", tag_field="type"):
    """A piece of the draft `draft`, from one position to the next. `part_index` is None for call-started
    and tool-progress."""

    draft: int
    from_: int = msgspec.field(name="from")
    to: int
    part_index: int | None = None
    part: DeltaPart
    cursor: str = ""


class FactEvent(Value):
    """A fact as the stream tells it: `data` holds its own fields as JSON values; `status` and `draft` are those
    after it; `more`: its append goes on."""

    type: str
    seq: int
    at: str
    status: str
    draft: int
    more: bool = False
    data: dict[str, Any] = {}
    cursor: str = ""


class CaughtUp(Value):
    """Everything there is has been sent; what follows is live."""

    type: str = "caught_up"
    cursor: str = ""


class Resync(Value):
    """Drop what you have; here is the state. `reason` is start or behind. `may_have_gaps`: some of what follows may
    be lost, because the instance has no log to fill gaps from (a client of such a server sets it)."""

    reason: str
    chat: dict[str, Any]
    messages: list[dict[str, Any]]
    has_more: bool
    queued_messages: list[dict[str, Any]]
    open_draft: OpenDraft
    may_have_gaps: bool = False
    type: str = "resync"
    cursor: str = ""


class OpenDraft(Value):
    """The open draft in a resync: the deltas from 0 up to `to`. On the wire each is its part with its
    `part_index`; their lengths give the positions."""

    draft: int
    to: int
    parts: list[Delta]


class Ping(Value):
    type: str = "ping"
    cursor: str = ""


class Notice(Value):
    """What a foreign peer reports of the chat and no store has: transient, without a cursor. `kind` is retry or
    error, and the field of that name holds the contract's ChatStreamRetry or ChatStreamError."""

    kind: str
    retry: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    type: str = "notice"
    cursor: str = ""

    @property
    def words(self) -> str:
        """The peer's own words."""
        if self.retry is not None:
            return str(self.retry.get("error", ""))
        return str((self.error or {}).get("message", ""))


class Bye(Value):
    """The server closes the stream. `reason` is idle, slow, shutdown, revoked or deleted."""

    reason: str
    retry_ms: int | None = None
    type: str = "bye"
    cursor: str = ""


Event = Delta | FactEvent | CaughtUp | Resync | Notice | Ping | Bye
