"""The chunks of a UI message stream depend on positions only: any cut gives the same texts, ids and calls."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from antiphon.core.events import Event
from antiphon.core.parts import Reasoning, Text, ToolCall
from antiphon.wire.turn_output import TurnOutput
from antiphon.wire.ui_stream.chunks import AnswerInfo, UiChunks, sse
from antiphon.wire.ui_stream.ids import MessageId, client_message_id, parse_message_id

from .protocols import CHAT_ID, Recording, content_of, cut, recordings, stored, whole

TRANSIENT = ("tool-input-start", "tool-input-delta", "data-tool-progress", "data-retry")
"""What only a client that watches gets; the part that they begin or describe comes whole."""


def chunks_of(recording: Recording, events: list[Event], after: int = 0) -> list[dict[str, Any]]:
    output = TurnOutput(recording.turn_id, after or recording.turn_id)
    stream = UiChunks(AnswerInfo(id=MessageId(CHAT_ID, recording.turn_id, recording.turn_id), model="m"), output)
    return [*stream.begin(), *(chunk for event in events for chunk in stream.apply(event))]


def lasting(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chunks with the deltas of a part as one, without those that a later client does not get."""
    found: list[dict[str, Any]] = []
    for chunk in chunks:
        if chunk["type"] in TRANSIENT:
            continue
        if "delta" in chunk and found[-1]["type"] == chunk["type"] and found[-1]["id"] == chunk["id"]:
            found[-1] = chunk | {"delta": found[-1]["delta"] + chunk["delta"]}
        else:
            found.append(chunk)
    return found


def kept(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chunks without those that were taken back, and without steps that are empty then."""
    found: list[dict[str, Any]] = []
    for chunk in lasting(chunks):
        if chunk["type"] == "reset-step":
            while found[-1]["type"] != "start-step":
                found.pop()
        elif chunk["type"] == "finish-step" and found[-1]["type"] == "start-step":
            found.pop()
        else:
            found.append(chunk)
    return found


def messages_of(recording: Recording) -> list[int]:
    """The facts after which a client reads on: the turn, and each wait for clients."""
    waits = [entry.seq for entry in recording.entries if type(entry.fact).__name__ == "ActionRequired"]
    return [recording.turn_id, *waits]


def test_any_cut_of_the_deltas_gives_the_same_chunks() -> None:
    for number, recording in enumerate(recordings()):
        for after in messages_of(recording):
            reference = kept(chunks_of(recording, whole(recording, after=after - 1), after))
            assert kept(chunks_of(recording, cut(recording, Random(number), after=after - 1), after)) == reference
            assert kept(chunks_of(recording, stored(recording, after=after - 1), after)) == reference


def test_encoded_chunks_are_the_same() -> None:
    for recording in recordings(retries=True):
        output = TurnOutput(recording.turn_id, recording.turn_id)
        info = AnswerInfo(id=MessageId(CHAT_ID, recording.turn_id, recording.turn_id), model="m")
        stream = UiChunks(info, output)
        events = whole(recording)
        data = sse(stream.begin()) + b"".join(map(stream.encoded, events))
        assert data == sse(chunks_of(recording, events))


def test_what_is_taken_back_is_all_that_a_later_client_does_not_get() -> None:
    retried = [recording for recording in recordings(retries=True) if recording.is_retried]
    assert retried
    for recording in retried:
        live, later = (kept(chunks_of(recording, events(recording))) for events in (whole, stored))
        assert live == later


@pytest.mark.parametrize("retries", [False, True])
def test_every_id_is_begun_before_it_is_used_and_ended_once(retries: bool) -> None:
    for recording in recordings(retries=retries):
        open_ids: set[str] = set()
        calls: set[str] = set()
        is_in_step = False
        for chunk in chunks_of(recording, whole(recording)):
            kind = chunk["type"]
            if kind.startswith(("text-", "reasoning-")):
                assert is_in_step
                if kind.endswith("-start"):
                    assert chunk["id"] not in open_ids
                    open_ids.add(chunk["id"])
                else:
                    assert chunk["id"] in open_ids
                open_ids -= {chunk["id"]} if kind.endswith("-end") else set()
            elif kind == "tool-input-start":
                calls.add(chunk["toolCallId"])
            elif "toolCallId" in chunk:
                assert kind == "tool-input-error" or chunk["toolCallId"] in calls
            elif kind in ("start-step", "finish-step"):
                assert is_in_step == (kind == "finish-step")
                is_in_step = kind == "start-step"
        assert not open_ids
        assert not is_in_step


def test_the_chunks_have_all_text_and_calls_of_the_committed_messages() -> None:
    for recording in recordings(retries=True):
        after = messages_of(recording)[-1]
        chunks = kept(chunks_of(recording, whole(recording)))
        if len(messages_of(recording)) > 1:
            continue  # the answer is several streams
        assert after == recording.turn_id
        content = content_of(recording)
        texts = [part.text for part in content if isinstance(part, Text | Reasoning) and part.text]
        assert [chunk["delta"] for chunk in chunks if "delta" in chunk] == texts
        calls = {part.tool_call_id: part.args for part in content if isinstance(part, ToolCall)}
        made = {c["toolCallId"]: c["input"] for c in chunks if c["type"] == "tool-input-available"}
        assert made == calls


def test_ids_name_the_chat_the_turn_and_its_restart() -> None:
    for made in (MessageId(CHAT_ID, 2, 2), MessageId(CHAT_ID, 2, 9)):
        assert parse_message_id(str(made), CHAT_ID) == made
    other = "0badc0de-0000-4000-8000-000000000002"
    assert parse_message_id(str(MessageId(CHAT_ID, 2, 2)), other) is None
    for text in ("", "msg_", "x", f"msg_{'0' * 32}_0", "msg_" + "0" * 31 + "_2"):
        assert parse_message_id(text, "0" * 8 + "-0000-0000-0000-" + "0" * 12) is None


def test_client_ids_that_are_long_or_not_plain_are_hashed() -> None:
    assert client_message_id("aB3") == "aB3"
    for text in ("", "é", "x" * 129, "\n", "\ud800"):
        assert client_message_id(text).startswith("ui-")
        assert len(client_message_id(text)) == 39
