"""A worker that is lost may have streamed more than its stored partial has: clients that can take text back do, and
show what the chat has."""

from __future__ import annotations

from typing import Any

from antiphon.core.draft import Draft
from antiphon.core.events import Event, FactEvent
from antiphon.core.parts import Reasoning, Text
from antiphon.wire.agui.events import RunEvents
from antiphon.wire.agui.run import RunInfo
from antiphon.wire.agui.state import AgentStateView
from antiphon.wire.turn_output import TurnOutput
from antiphon.wire.ui_stream.chunks import AnswerInfo, UiChunks
from antiphon.wire.ui_stream.ids import MessageId

from .protocols import CHAT_ID

STORED = "One two"
ANSWER = f"ans_{CHAT_ID.replace('-', '')}"


def fact(kind: str, seq: int, **data: Any) -> FactEvent:
    return FactEvent(type=kind, seq=seq, at="", status="running", draft=seq, data=data)


def streamed(draft: int, *parts: Any) -> list[Event]:
    opened = Draft(draft)
    return [delta for part in parts if (delta := opened.write(part)) is not None]


def stored(seq: int, draft: int, *content: dict[str, Any], upto: int) -> FactEvent:
    message = {"id": seq, "role": "assistant", "turn_id": 2, "content": list(content), "created_at": ""}
    return fact("message_appended", seq, message=message, closes={"draft": draft, "upto": upto})


def kept_partial() -> list[Event]:
    """Of the draft 3, thoughts and a text of which the end is lost; then another answer."""
    hm, text = {"type": "reasoning", "text": "hm"}, {"type": "text", "text": STORED}
    return [
        fact("attempt_started", 3),
        *streamed(3, Reasoning("hm"), Text(STORED), Text(" three.")),
        stored(4, 3, hm, text, upto=2 + len(STORED)),
        fact("attempt_lost", 5),
        fact("attempt_started", 6),
        *streamed(6, Text("Again.")),
        stored(7, 6, {"type": "text", "text": "Again."}, upto=6),
    ]


def test_the_ai_sdk_takes_back_the_step_and_gets_it_again() -> None:
    stream = UiChunks(AnswerInfo(id=MessageId(CHAT_ID, 2, 2), model="m"), TurnOutput(2, 2))
    chunks = [chunk for event in kept_partial() for chunk in stream.apply(event)]
    (reset,) = [place for place, chunk in enumerate(chunks) if chunk["type"] == "reset-step"]
    shown = [(chunk["id"], chunk["delta"]) for chunk in chunks[reset:] if chunk["type"].endswith("-delta")]
    assert shown == [("3-0", "hm"), ("3-1", STORED), ("6-0", "Again.")]
    assert chunks[reset - 1]["type"] == "text-end"


def run_of(history: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    info = RunInfo(chat_id=CHAT_ID, thread_id="t", run_id="r", model="m", turn_id=2)
    run = RunEvents(info, TurnOutput(2, 2), state=AgentStateView(b"{}"), history=history)
    return [shown for event in kept_partial() for shown in run.apply(event)]


def test_an_ag_ui_client_gets_a_snapshot_and_the_message_again() -> None:
    events = run_of([])
    (snapshot,) = [place for place, event in enumerate(events) if event["type"] == "MESSAGES_SNAPSHOT"]
    assert events[snapshot]["messages"] == []
    (abandoned,) = [event["value"]["messageIds"] for event in events if event.get("name") == "antiphon.abandoned"]
    texts = [(event["messageId"], event["delta"]) for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"]
    assert texts == [
        (f"{ANSWER}_3", STORED),
        (f"{ANSWER}_3", " three."),
        (f"{ANSWER}_3", STORED),
        (f"{ANSWER}_6", "Again."),
    ]
    assert set(abandoned) == {f"{ANSWER}_3_0", f"{ANSWER}_3"}


def test_an_ag_ui_client_without_snapshots_gets_nothing_twice() -> None:
    texts = [event["delta"] for event in run_of(None) if event["type"] == "TEXT_MESSAGE_CONTENT"]
    assert texts == [STORED, " three.", "Again."]
