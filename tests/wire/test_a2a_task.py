"""The updates of a task depend on positions only: any cut, and a subscription at any time, give the same task."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.parts import Reasoning, Text, ToolCall
from antiphon.wire.a2a import states
from antiphon.wire.a2a.ids import TaskId, parse_task_id
from antiphon.wire.a2a.requests import OWN
from antiphon.wire.a2a.task import TaskView
from antiphon.wire.codec import decode, encode

from .protocols import CHAT_ID, Recording, content_of, cut, recordings, stored, whole

Json = dict[str, Any]

SUBSCRIPTIONS = 8
"""Number of places in a chat at which a client subscribes."""


def view_of(recording: Recording) -> TaskView:
    return TaskView(TaskId(CHAT_ID, recording.turn_id), "context", base_url="http://host")


def task_after(recording: Recording, events: list[Event]) -> Json:
    """The task of a client that reads it when it has ended."""
    view = view_of(recording)
    for event in events:
        view.apply(event)
    return plain(view.snapshot())


def plain(task: Json) -> Json:
    """A task as JSON, with the text of an artifact as one part."""
    copy: Json = decode(encode(task), Json)
    for artifact in copy.get("artifacts", ()):
        if all("text" in part for part in artifact["parts"]):
            artifact["parts"] = [{"text": "".join(part["text"] for part in artifact["parts"])}]
    return copy


def fold(task: Json, updates: list[Json]) -> Json:
    """What a client has that adds updates to the task with which its stream began."""
    task = plain(task)
    for update in updates:
        if "artifactUpdate" in update:
            _add_artifact(task.setdefault("artifacts", []), update["artifactUpdate"])
        else:
            _set_status(task, update["statusUpdate"])
    if not task.get("artifacts", True):
        del task["artifacts"]
    return plain(task)


def _add_artifact(artifacts: list[Json], update: Json) -> None:
    artifact = plain({"artifacts": [update["artifact"]]})["artifacts"][0]
    name = artifact["artifactId"]
    places = [n for n, known in enumerate(artifacts) if known["artifactId"] == name]
    if artifact.get("metadata", {}).get(OWN, {}).get("abandoned"):
        artifacts[:] = [known for known in artifacts if known["artifactId"] != name]
    elif update.get("append"):
        artifacts[places[0]]["parts"] += artifact["parts"]
    elif places:
        artifacts[places[0]] = artifact
    else:
        artifacts.append(artifact)


def _set_status(task: Json, update: Json) -> None:
    own = update.get("metadata", {}).get(OWN, {})
    before, status = task["status"].get("message"), update["status"]
    if before is not None and before != status.get("message"):
        task.setdefault("history", []).append(before)
    task["status"] = status
    if "message" in own:
        task.setdefault("history", []).append(own["message"])
    known = task["metadata"][OWN]
    if "toolCall" in own:
        known.setdefault("toolCalls", []).append(own["toolCall"])
    if "toolResult" in own:
        for call in known.get("toolCalls", []):
            if call["toolCallId"] == own["toolResult"]["toolCallId"]:
                call |= own["toolResult"]
    known |= {key: own[key] for key in ("turnId", "usage", "outcome") if key in own}


def test_any_cut_of_the_deltas_gives_the_same_task() -> None:
    for number, recording in enumerate(recordings(retries=True)):
        reference = task_after(recording, stored(recording))
        assert task_after(recording, whole(recording)) == reference
        assert task_after(recording, cut(recording, Random(number))) == reference
        assert reference["status"]["state"] in states.TERMINAL


@pytest.mark.parametrize("retries", [False, True])
def test_a_subscription_at_any_event_gives_the_rest_exactly_once(retries: bool) -> None:
    for number, recording in enumerate(recordings(retries=retries)):
        events = cut(recording, Random(number))
        reference = task_after(recording, stored(recording))
        first = next(n for n, e in enumerate(events) if isinstance(e, FactEvent) and e.seq == recording.turn_id)
        for begun in Random(number).sample(
            range(first + 1, len(events)), min(SUBSCRIPTIONS, len(events) - first - 1)
        ):
            view = view_of(recording)
            for event in events[:begun]:
                view.apply(event)
            task = plain(view.snapshot())
            view.drop_content()
            updates = [update for event in events[begun:] for update in view.apply(event)]
            assert fold(task, plain({"updates": updates})["updates"]) == reference


def test_encoded_updates_are_the_same() -> None:
    for recording in recordings(retries=True):
        slow, fast = view_of(recording), view_of(recording)
        for event in whole(recording):
            assert [decode(data, Json) for data in fast.encoded(event)] == [
                decode(encode(update), Json) for update in slow.apply(event)
            ]
        assert plain(fast.snapshot()) == plain(slow.snapshot())


def test_the_task_has_all_text_calls_and_reasoning_of_the_committed_messages() -> None:
    for recording in recordings(retries=True):
        task, content = task_after(recording, whole(recording)), content_of(recording)
        texts = [a["parts"][0]["text"] for a in task.get("artifacts", ()) if "text" in a["parts"][0]]
        assert texts == [part.text for part in content if isinstance(part, Text) and part.text]
        calls = {part.tool_call_id: part.args for part in content if isinstance(part, ToolCall)}
        assert {call["toolCallId"]: call["args"] for call in task["metadata"][OWN].get("toolCalls", ())} == calls
        said = [*task["history"], *([task["status"]["message"]] if "message" in task["status"] else [])]
        thought = [m["parts"][0]["text"] for m in said if m["parts"][0].get("metadata")]
        assert thought == [part.text for part in content if isinstance(part, Reasoning) and part.text]
        assert len({message["messageId"] for message in said}) == len(said)


def test_a_wait_for_the_client_says_what_is_open_as_text_and_as_a_value() -> None:
    waits = 0
    for recording in recordings():
        view = view_of(recording)
        for event in whole(recording):
            view.apply(event)
            if isinstance(event, FactEvent) and event.type == "action_required":
                waits += 1
                text, value = view.snapshot()["status"]["message"]["parts"]
                assert text["text"].count("\n") == len(event.data["calls"]) - 1
                asked = [call["toolCallId"] for call in value["data"]["openCalls"]]
                assert asked == [call["tool_call_id"] for call in event.data["calls"]]
                assert view.state == states.INPUT_REQUIRED
    assert waits


def test_a_task_waits_until_the_last_open_call_is_answered_and_says_which_are_left() -> None:
    partly = 0
    for recording in recordings():
        view, left = view_of(recording), set[str]()
        for event in stored(recording):
            view.apply(event)
            if not isinstance(event, FactEvent):
                continue
            if event.type == "action_required":
                left = {call["tool_call_id"] for call in event.data["calls"]}
            elif event.type == "action_resolved":
                left.discard(event.data["tool_call_id"])
                assert (view.state == states.INPUT_REQUIRED) == bool(left)
                if left:
                    partly += 1
                    value = view.snapshot()["status"]["message"]["parts"][1]["data"]
                    assert {call["toolCallId"] for call in value["openCalls"]} == left
    assert partly


def fact(kind: str, seq: int, draft: int, **data: Any) -> FactEvent:
    return FactEvent(type=kind, seq=seq, at="2026-01-02T03:04:05Z", status="running", draft=draft, data=data)


def test_what_a_lost_worker_has_sent_and_not_stored_is_replaced_or_taken_back() -> None:
    """Its partial message has less than its watchers: the first part is shorter, the second is missing."""
    asked = fact("message_appended", 2, 2, message={"role": "user", "turn_id": 2, "content": []})
    begun: list[Event] = [asked, fact("attempt_started", 3, 3, instance_id="i")]
    sent = [
        Delta(draft=3, from_=0, to=6, part_index=0, part=Text("abcdef")),
        Delta(draft=3, from_=6, to=9, part_index=1, part=Reasoning("hmm")),
        Delta(draft=3, from_=9, to=12, part_index=2, part=Text("xyz")),
    ]
    partial = {"role": "assistant", "turn_id": 2, "content": [{"type": "text", "text": "abc"}], "interrupted": True}
    ends = [
        fact("message_appended", 4, 4, message=partial),
        fact("turn_ended", 5, 5, turn_id=2, outcome="interrupted"),
    ]
    views = [TaskView(TaskId(CHAT_ID, 2), "context") for _ in range(2)]
    for event in (*begun, *ends):
        views[0].apply(event)
    reference = plain(views[0].snapshot())
    assert reference["artifacts"] == [{"artifactId": "3-0", "parts": [{"text": "abc"}]}]
    for event in begun:
        views[1].apply(event)
    task = plain(views[1].snapshot())
    views[1].drop_content()
    updates = [update for event in (*sent, *ends) for update in views[1].apply(event)]
    assert fold(task, plain({"updates": updates})["updates"]) == reference


def test_only_the_last_piece_of_an_artifact_is_marked_and_ids_name_draft_and_part() -> None:
    for recording in recordings():
        begun: dict[str, bool] = {}
        view = view_of(recording)
        for event in whole(recording):
            for update in view.apply(event):
                if (found := update.get("artifactUpdate")) is None:
                    continue
                name = found["artifact"]["artifactId"]
                assert found.get("append", False) == (name in begun) or found.get("lastChunk")
                begun[name] = begun.get(name, False) or found.get("lastChunk", False)
        assert all(begun.values())


def test_ids_of_tasks_name_the_chat_and_the_message() -> None:
    task_id = TaskId(CHAT_ID, 17)
    assert parse_task_id(str(task_id)) == task_id
