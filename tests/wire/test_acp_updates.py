"""The session updates of an editor depend on positions only: any cut gives the same text, calls and ids."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from antiphon.core.draft import Draft
from antiphon.core.events import Delta, Event, FactEvent
from antiphon.core.parts import Reasoning, Source, Text, ToolCall
from antiphon.wire.acp.updates import BEGUN_AGAIN, CUT_BACK, WITHDRAWN, ChatUpdates

from .protocols import Recording, content_of, cut, deliver, recordings, stored, whole

Updates = list[dict[str, Any]]
TEXTS = ("agent_message_chunk", "agent_thought_chunk", "user_message_chunk")


def updates_of(events: list[Event]) -> Updates:
    chat = ChatUpdates()
    return [update for event in events for update in chat.apply(event)]


def seen(updates: Updates) -> Updates:
    """What an editor shows: neighbouring pieces of text as one, each call with its latest fields, and without the
    text that does not count. The output of running tools is shown only to those who watch."""
    withdrawn = {update["_meta"][WITHDRAWN] for update in updates if "_meta" in update}
    found: Updates = []
    calls: dict[str, dict[str, Any]] = {}
    for update in updates:
        kind = update["sessionUpdate"]
        if kind in ("notice", "usage_update") or "_meta" in update:
            continue
        if kind in ("tool_call", "tool_call_update"):
            call_id = update["toolCallId"]
            assert kind == "tool_call" or call_id in calls
            call = calls.setdefault(call_id, {})
            if "rawInput" in update:  # those who watch get it before, while the model writes it
                found.append(call)
            call |= {name: value for name, value in update.items() if name != "sessionUpdate"}
            continue
        assert kind in TEXTS or kind == "session_info_update", kind
        if update.get("messageId") in withdrawn:
            continue
        last = found[-1] if found else {}
        same = [{name: value for name, value in one.items() if name != "content"} for one in (update, last)]
        if kind in TEXTS and same[0] == same[1] and update["content"]["type"] == last["content"]["type"] == "text":
            joined = last["content"]["text"] + update["content"]["text"]
            found[-1] = update | {"content": {"type": "text", "text": joined}}
        else:
            found.append(update)
    return found


def without_ids(updates: Updates) -> Updates:
    return [{name: value for name, value in one.items() if name != "messageId"} for one in updates]


@pytest.mark.parametrize("retries", [False, True])
def test_any_cut_of_the_deltas_gives_the_same_updates(retries: bool) -> None:
    for number, recording in enumerate(recordings(retries=retries)):
        reference = seen(updates_of(whole(recording)))
        shown = without_ids if recording.is_retried else list
        for other in (cut(recording, Random(number)), stored(recording)):
            assert shown(seen(updates_of(other))) == shown(reference)


def test_the_messages_of_the_history_give_the_same_updates() -> None:
    for recording in recordings(retries=True):
        chat = ChatUpdates()
        messages = [event.data["message"] for event in stored(recording) if _is(event, "message_appended")]
        later = [update for message in messages for update in chat.message(message)]
        live = [
            one for one in seen(updates_of(whole(recording))) if one.get("sessionUpdate") != "session_info_update"
        ]
        shown = without_ids if recording.is_retried else list
        assert shown(seen(later)) == shown(live)


def test_a_session_that_is_loaded_in_the_middle_of_a_draft_goes_on_at_each_position() -> None:
    for recording in recordings(6):
        events = whole(recording)
        reference = seen(updates_of(events))
        for position in range(1, len(events), 7):
            chat, before = ChatUpdates(), events[:position]
            facts = [event for event in before if isinstance(event, FactEvent)]
            stored_facts = [_appended(event) for event in facts if event.type != "attempt_started"]
            updates = [update for event in stored_facts for update in chat.apply(event)]
            last = facts[-1]
            held = _held(recording, last, before)
            updates += chat.open_draft(recording.turn_id, last.seq, last.draft, held)
            updates += [update for event in events[position:] for update in chat.apply(event)]
            assert seen(updates) == reference


def _held(recording: Recording, last: FactEvent, before: list[Event]) -> list[Delta]:
    """The open draft as a `resync` has it, merged."""
    draft = Draft(last.draft)
    for event in before:
        if isinstance(event, Delta) and event.draft == last.draft:
            draft.apply(event)
    return draft.read(0)


def _appended(event: FactEvent) -> FactEvent:
    """A fact as the history has it: the draft that is open then is not known from it."""
    return msgspec.structs.replace(event, draft=event.seq) if event.type == "message_appended" else event


def _is(event: Event, kind: str) -> bool:
    return isinstance(event, FactEvent) and event.type == kind


def test_the_updates_have_all_text_and_calls_of_the_committed_messages() -> None:
    for recording in recordings(retries=True):
        updates = seen(updates_of(whole(recording)))
        content = content_of(recording)
        for kind, part_type in (("agent_message_chunk", Text), ("agent_thought_chunk", Reasoning)):
            texts = [one["content"].get("text", "") for one in updates if one.get("sessionUpdate") == kind]
            assert "".join(texts) == "".join(part.text for part in content if isinstance(part, part_type))
        made = {one["toolCallId"]: one["rawInput"] for one in updates if "toolCallId" in one}
        assert made == {part.tool_call_id: part.args for part in content if isinstance(part, ToolCall)}


def test_every_answer_that_is_begun_again_is_announced_once() -> None:
    found = 0
    for recording in recordings(retries=True):
        updates = updates_of(whole(recording))
        withdrawn = [update["_meta"][WITHDRAWN] for update in updates if "_meta" in update]
        assert len(withdrawn) == len(set(withdrawn))
        found += len(withdrawn)
        assert not [update for update in updates_of(stored(recording)) if "_meta" in update]
    assert found > 5


def test_a_message_of_this_editor_is_not_repeated() -> None:
    (recording,) = recordings(1)
    events = deliver(recording, lambda draft: ())
    event = next(event for event in events if isinstance(event, FactEvent) and event.type == "message_appended")
    event.data["message"]["client_message_id"] = "mine"
    shown = {own: ChatUpdates(is_own=lambda name, own=own: name == own).apply(event) for own in ("mine", "other")}
    assert shown["mine"] == []
    assert [one["sessionUpdate"] for one in shown["other"]] == ["user_message_chunk"]


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        ("One two.", "One two."),
        ("One two. Three.", "One two. Three."),
        ("One", f"One two.{BEGUN_AGAIN}One"),
        ("One 2.", f"One two.{BEGUN_AGAIN}One 2."),
    ],
)
def test_an_answer_that_is_begun_again_goes_on_as_long_as_its_text_agrees(again: str, expected: str) -> None:
    chat = ChatUpdates()
    updates: Updates = []

    def write(text: str) -> None:
        for letter in text:
            delta = next(filter(None, [draft.write(Text(letter))]))
            updates.extend(chat.apply(delta))

    draft = Draft(2)
    updates += chat.open_draft(2, 2, 2, ())
    write("One two.")
    updates += chat.apply(FactEvent(type="attempt_lost", seq=4, at="", status="running", draft=4))
    draft = Draft(4)
    write(again)
    content = [{"type": "text", "text": again}]
    message = {"id": 5, "role": "assistant", "turn_id": 2, "content": content, "created_at": ""}
    data = {"message": message}
    updates += chat.apply(FactEvent(type="message_appended", seq=5, at="", status="running", draft=5, data=data))
    assert "".join(one["content"]["text"] for one in updates) == expected
    assert len({one["messageId"] for one in updates}) == (2 if BEGUN_AGAIN in expected else 1)


def appended(seq: int, draft: int, text: str) -> FactEvent:
    """An answer of turn 2."""
    content = [{"type": "text", "text": text}]
    message = {"id": seq, "role": "assistant", "turn_id": 2, "content": content, "created_at": ""}
    data = {"message": message, "closes": {"draft": draft, "upto": len(text)}}
    return FactEvent(type="message_appended", seq=seq, at="", status="running", draft=seq, data=data)


def written(draft: int, *parts: Any) -> list[Delta]:
    """The deltas of a draft."""
    opened = Draft(draft)
    return [delta for part in parts if (delta := opened.write(part)) is not None]


@pytest.mark.parametrize("is_lost_before", [False, True])
def test_an_end_that_was_shown_and_not_stored_is_withdrawn(is_lost_before: bool) -> None:
    """A lost worker had streamed more than its stored partial has."""
    chat = ChatUpdates()
    updates = chat.open_draft(2, 2, 2, written(2, Text("One two"), Text(" three.")))
    if is_lost_before:
        updates += chat.apply(FactEvent(type="attempt_lost", seq=4, at="", status="running", draft=4))
        updates += [update for delta in written(4, Text("One two three")) for update in chat.apply(delta)]
    updates += chat.apply(appended(5, 4 if is_lost_before else 2, "One two"))
    updates += chat.apply(FactEvent(type="attempt_lost", seq=6, at="", status="running", draft=6))
    updates += [update for delta in written(6, Text("Again.")) for update in chat.apply(delta)]
    updates += chat.apply(appended(7, 6, "Again."))
    words = BEGUN_AGAIN if is_lost_before else CUT_BACK
    assert "".join(one["content"]["text"] for one in updates) == f"One two three.{words}One twoAgain."
    assert [update["_meta"] for update in updates if "_meta" in update] == [{WITHDRAWN: "2-2"}]
    assert [one["content"]["text"] for one in seen(updates)] == ["One two", "Again."]


def test_blocks_of_an_answer_that_is_begun_again_stay_separate() -> None:
    sources = [Source(url=f"https://example.org/{n}", title="t") for n in (1, 2)]
    chat = ChatUpdates()
    updates = chat.open_draft(2, 2, 2, written(2, *sources, Text("One")))
    shown = seen(updates)[:2]
    chat.apply(FactEvent(type="attempt_lost", seq=4, at="", status="running", draft=4))
    again = [update for delta in written(4, *sources, Text("Two")) for update in chat.apply(delta)]
    assert without_ids(seen(again)[:2]) == without_ids(shown)
