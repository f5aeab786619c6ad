"""An event of a stream as one JSON object: its fields and its cursor."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.events import Delta, Event, FactEvent, OpenDraft, Resync
from antiphon.wire import codec


def event_json(event: Event) -> dict[str, Any]:
    """The event's JSON, with its `cursor` if it has one."""
    shown = _fields(event)
    return shown | {"cursor": event.cursor} if event.cursor else shown


def _fields(event: Event) -> dict[str, Any]:
    if isinstance(event, FactEvent):
        shown = {"type": event.type, "seq": event.seq, "at": event.at, "status": event.status, "draft": event.draft}
        return shown | ({"more": True} if event.more else {}) | event.data
    shown = {"type": "delta"} if isinstance(event, Delta) else {"type": event.type}
    shown |= {name: value for name, value in _plain(event).items() if name != "cursor"}
    if isinstance(event, Resync):
        shown["open_draft"] = _open_draft(event.open_draft)
    return shown


def _open_draft(draft: OpenDraft) -> dict[str, Any]:
    parts = []
    for delta in draft.parts:
        part = _plain(delta.part)
        parts.append(part if delta.part_index is None else part | {"part_index": delta.part_index})
    return {"draft": draft.draft, "to": draft.to, "parts": parts}


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(codec.encode(value))
    return plain
