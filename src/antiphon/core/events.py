"""The events of a chat's stream: facts, deltas, and a few events about the stream itself.

`cursor` is where a watcher resumes after the event (empty for ping and bye). `wire.stream` encodes and decodes them.
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
    """A fact in the stream. `data` has the fact's own fields as JSON; `status` and `draft` are the chat's after
    the fact; `more`: further facts of the same append follow."""

    type: str
    seq: int
    at: str
    status: str
    draft: int
    more: bool = False
    data: dict[str, Any] = {}
    cursor: str = ""


class CaughtUp(Value):
    """All stored events were sent; live events follow."""

    type: str = "caught_up"
    cursor: str = ""


class Resync(Value):
    """The whole state, which replaces what the watcher had. `reason` is start or behind. `may_have_gaps`: events
    may be lost later, because the instance has no log to fill gaps from (the client of such a server sets it)."""

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
    """The open draft in a resync: the deltas from position 0 to `to`. On the wire each delta is its part with the
    `part_index`; the lengths of the parts give the positions."""

    draft: int
    to: int
    parts: list[Delta]


class Ping(Value):
    type: str = "ping"
    cursor: str = ""


class Notice(Value):
    """A report from a foreign peer that is not in the store: transient, without a cursor. `kind` is retry or error;
    the field of that name has the contract's ChatStreamRetry or ChatStreamError."""

    kind: str
    retry: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    type: str = "notice"
    cursor: str = ""

    @property
    def words(self) -> str:
        """The text of the report, as the peer wrote it."""
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
