"""Which fields of a fact its event in the stream has."""

from __future__ import annotations

from antiphon.core import facts as f

OPTIONAL: dict[type[f.Fact], frozenset[str]] = {
    f.HistoryTruncated: frozenset({"state_seq"}),
    f.ChatCreated: frozenset(
        {"title", "is_title_made", "model", "system", "labels", "tools", "mcp_server_ids", "parent", "forked_from"}
    ),
    f.AttemptReleased: frozenset({"usage", "content_size"}),
    f.AttemptLost: frozenset({"content_size"}),
    f.RetryScheduled: frozenset({"kind", "provider", "status_code", "usage"}),
    f.ActionResolved: frozenset({"by", "args", "always"}),
    f.TurnEnded: frozenset({"error", "usage"}),
}
"""The fields of a fact that are omitted when they have their default; all others are always sent."""

_NOT_SHOWN = frozenset({"used"})
"""Fields of facts that clients do not get: `usage` has the sum."""

_SHAPED: dict[type[f.Fact], tuple[str, ...]] = {
    f.MessageAppended: ("message", "outcome?", "closes?", "calls?", "queued_id?", "client_message_id?", "hidden_by?"),
    f.MessageQueued: ("queued_message", "when_busy"),
    f.QueuedMessageEdited: ("queued_id", "content"),
    f.StateChanged: ("size",),
}


def event_fields(kind: type[f.Fact]) -> tuple[str, ...]:
    """The fields of a fact's event beside those of every fact; `name?` is omitted when it has its default (a
    queue_moved's `before` is null for the end)."""
    if kind in _SHAPED:
        return _SHAPED[kind]
    optional = OPTIONAL.get(kind, frozenset())
    return tuple(f"{name}?" if name in optional else name for name in shown_fields(kind))


def shown_fields(kind: type[f.Fact]) -> tuple[str, ...]:
    """The fields of a fact but its content, which only workers read, and what clients do not get."""
    return tuple(name for name in kind.__struct_fields__ if name != "content" and name not in _NOT_SHOWN)
