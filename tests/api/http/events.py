"""What recorded streams are held against: cursors, folds, and the standard's own reading of the bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from antiphon.core.view import View
from antiphon.wire.stream import decode_event

from .wire import SseEvent


def check_cursors(events: Sequence[SseEvent], *, seq: int = 0, position: int = 0) -> None:
    """Every event's id is what its reader then holds, without hole, from (seq, position) on."""
    for event in events:
        shown = event.json
        assert shown["type"] == event.type
        if event.type in ("ping", "bye"):
            assert event.id == ""
            continue
        if event.type == "resync":
            seq, position = shown["chat"]["seq"], shown["open_draft"]["to"]
        elif event.type == "delta":
            assert shown["from"] == position, event.raw
            length = len(shown["part"].get("text", shown["part"].get("args_delta", "x")))
            assert shown["to"] - shown["from"] == (1 if shown["part"]["type"] == "tool-progress" else length)
            position = shown["to"]
        elif event.type != "caught_up":
            assert shown["seq"] == seq + 1, event.raw
            seq = shown["seq"]
            position = 0 if shown["draft"] == seq else position
        assert event.id == f"{seq}.{position}", event.raw


def fold(events: Sequence[SseEvent], view: View | None = None) -> View:
    """What a viewer shows after these events. Fails where they have a hole."""
    view = view or View()
    for event in events:
        view.apply(decode_event(event.data, cursor=event.id))
    return view


def shown(view: View) -> dict[str, Any]:
    """All that a viewer shows, to be compared."""
    named = {name: value for name, value in vars(view).items() if name not in ("draft", "bye", "is_caught_up")}
    return named | {"draft": (view.draft.name, view.draft.position, view.draft.content())}


def merged(events: Sequence[SseEvent]) -> list[Any]:
    """The events with neighbouring deltas joined: how the text is split into deltas is not guaranteed."""
    joined: list[Any] = []
    for event in events:
        if event.type != "delta":
            joined.append(event.raw)
            continue
        delta = event.json
        part = delta["part"]
        name = {"text": "text", "reasoning": "text", "tool-call-args": "args_delta"}.get(part["type"], "")
        before = joined[-1] if joined and isinstance(joined[-1], dict) else None
        if before and name and _place(before) == _place(delta):
            before["to"], before["part"][name] = delta["to"], before["part"][name] + part[name]
        else:
            joined.append(delta)
    return joined


def _place(delta: dict[str, Any]) -> tuple[Any, ...]:
    return delta["draft"], delta.get("part_index"), delta["part"]["type"]


def preview(events: Sequence[SseEvent]) -> dict[int, str]:
    """The text that was seen of each draft."""
    texts: dict[int, str] = {}
    for event in events:
        if event.type == "delta" and event.json["part"]["type"] == "text":
            delta = event.json
            texts[delta["draft"]] = texts.get(delta["draft"], "") + delta["part"]["text"]
    return texts


def standard_events(data: bytes) -> list[tuple[str, str, str]]:
    """(id, type, data) as the HTML standard reads a stream: every CR and LF is a line's end, ids stay."""
    found = []
    last_id, kind, lines = "", "", list[str]()
    for line in re.split("\r\n|\n|\r", data.decode("utf-8")):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if lines:
                found.append((last_id, kind or "message", "\n".join(lines)))
            kind, lines = "", []
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "event":
            kind = value
        elif name == "data":
            lines.append(value)
    return found
