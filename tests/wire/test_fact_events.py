"""The event of every kind of fact has the fields that the reference names: all of them where they say something, and
The event of every kind of fact has the fields in the reference."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antiphon.core import facts as f
from antiphon.core.model import Outcome, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.wire.fact_fields import event_fields
from antiphon.wire.stream import fact_frame

EVERY = {"type", "seq", "at", "status", "draft"}

BARE: tuple[f.Fact, ...] = (
    f.ChatCreated(owner_id="o"),
    f.MessageAppended(role=Role.USER, turn_id=2, content_size=2, content=b"[]"),
    f.MessageQueued(content_size=2, when_busy=WhenBusy.QUEUE, content=b"[]"),
    f.QueuedMessageEdited(queued_id=2, content_size=2, content=b"[]"),
    f.QueuedMessageDeleted(queued_id=2),
    f.QueueMoved(queued_id=2),
    f.QueuedMessagePromoted(queued_id=2),
    f.HistoryTruncated(from_message_id=2),
    f.AttemptStarted(instance_id="i"),
    f.AttemptReleased(attempt=2),
    f.AttemptLost(attempt=2, reason="lease"),
    f.RetryScheduled(tries=1, delay_ms=0, error="", retrying_at=0),
    f.InterruptRequested(turn_id=2),
    f.ActionRequired(calls=(), deadline=0),
    f.ActionResolved(tool_call_id="c", outcome="result"),
    f.TurnRestarted(turn_id=2),
    f.TurnEnded(turn_id=2, outcome=Outcome.ANSWERED),
    f.StateChanged(content_size=2, content=b"{}"),
    f.TitleChanged(title="", by="person"),
    f.LabelsChanged(labels={}),
    f.PinChanged(pin_order=0),
    f.ModelChanged(model=""),
    f.SystemChanged(system=""),
    f.ToolsChanged(tools=None),
    f.McpServersChanged(mcp_server_ids=()),
    f.DiffStatusChanged(diff_status=None),
    f.Archived(),
    f.Unarchived(),
    f.ChatDeleted(),
)


def event_of(fact: f.Fact) -> dict[str, Any]:
    content = getattr(fact, "content", None)
    recorded = f.Recorded(5, 1_000_000, fact)
    entry = f.Entry(recorded=recorded, status=Status.RUNNING, draft=5, content=content)
    shown: dict[str, Any] = msgspec.json.decode(fact_frame("c", entry, position=0).data)
    return shown


def test_every_kind_is_covered() -> None:
    assert {type(fact) for fact in BARE} == set(f.KINDS.values())


@pytest.mark.parametrize("fact", BARE, ids=f.kind_of)
def test_an_empty_fact_has_its_required_fields_only(fact: f.Fact) -> None:
    required = {name for name in event_fields(type(fact)) if not name.endswith("?")}
    assert set(event_of(fact)) == EVERY | required
