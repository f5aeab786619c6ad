"""The chunks of the agent protocol depend on positions only; its requests, records and errors have its shape."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.core.events import Event, FactEvent
from antiphon.core.model import Needs
from antiphon.core.parts import Text, ToolCall
from antiphon.errors import BudgetExhausted, Invalid, TooLarge, Unavailable
from antiphon.wire.nats_agent.chunks import AnswerChunks, Question, Settled, pieces_of, query
from antiphon.wire.nats_agent.errors import RESTARTED, service_error, turn_error
from antiphon.wire.nats_agent.requests import read_prompt, read_reply
from antiphon.wire.nats_agent.service import AgentName, AgentRecord
from antiphon.wire.stream import OpenCall

from .protocols import CHAT_ID, Recording, content_of, cut, recordings, stored, whole

LIMIT = 400


def answer_to(recording: Recording, events: list[Event], bytes_max: int = LIMIT) -> tuple[list[Any], Any]:
    """The chunks with the pieces of a text as one, and the error at the end."""
    chunks = AnswerChunks(CHAT_ID, turn_id=recording.turn_id, after=recording.turn_id, bytes_max=bytes_max)
    found: list[Any] = []
    for event in events:
        for chunk in chunks.apply(event):
            if isinstance(chunk, Question | Settled):
                found.append(chunk)
                continue
            assert len(chunk) <= bytes_max
            shown = json.loads(chunk)
            is_text = isinstance(shown["data"], str)
            if is_text and found and isinstance(found[-1], dict) and found[-1]["type"] == shown["type"]:
                found[-1] = shown | {"data": found[-1]["data"] + shown["data"]}
            else:
                found.append(shown)
    assert chunks.is_complete
    return found, chunks.error


def test_any_cut_of_the_deltas_gives_the_same_chunks_and_questions() -> None:
    for number, recording in enumerate(recordings()):
        reference = answer_to(recording, whole(recording))
        assert answer_to(recording, cut(recording, Random(number))) == reference
        assert answer_to(recording, stored(recording)) == reference


def test_the_chunks_have_all_text_calls_and_questions() -> None:
    for recording in recordings():
        found, _ = answer_to(recording, whole(recording))
        texts = "".join(c["data"] for c in found if isinstance(c, dict) and c["type"] == "response")
        content = content_of(recording)
        for part in content:
            if isinstance(part, Text):
                assert part.text in texts
                texts = texts[texts.index(part.text) + len(part.text) :]
        calls = [part.tool_call_id for part in content if isinstance(part, ToolCall)]
        assert [c["data"]["id"] for c in found if isinstance(c, dict) and c["type"] == "tool_call"] == calls
        asked = [c.tool_call_id for c in found if isinstance(c, Question)]
        assert set(asked) <= set(calls)
        assert len({c.id for c in found if isinstance(c, Question)}) == len(asked)


def test_an_answer_that_is_begun_again_agrees_or_ends_with_an_error() -> None:
    retried = [recording for recording in recordings(retries=True) if recording.is_retried]
    outcomes = set()
    for recording in retried:
        live, error = answer_to(recording, whole(recording))
        later, _ = answer_to(recording, stored(recording))
        outcomes.add(error == RESTARTED)
        if error != RESTARTED:
            texts = [
                [c["data"] for c in one if isinstance(c, dict) and c["type"] == "response"] for one in (live, later)
            ]
            assert "".join(texts[0]).startswith("".join(texts[1]))
    assert outcomes == {True, False}


def test_a_queued_message_is_answered_from_the_turn_that_it_begins() -> None:
    for recording in recordings():
        events = [
            replace(event, data=event.data | {"queued_id": 7})
            if isinstance(event, FactEvent) and event.seq == recording.turn_id
            else event
            for event in whole(recording)
        ]
        queued = AnswerChunks(CHAT_ID, turn_id=0, after=7)
        begun = AnswerChunks(CHAT_ID, turn_id=recording.turn_id, after=recording.turn_id)
        assert [queued.apply(event) for event in events] == [begun.apply(event) for event in events]
        assert (queued.is_complete, queued.error) == (True, begun.error)


@pytest.mark.parametrize("text", ["x" * 5_000, "\u2028\x01" * 900, "é😀" * 900])
def test_a_long_text_is_cut_into_payloads_that_fit(text: str) -> None:
    pieces = list(pieces_of("response", text, 1_000))
    assert max(map(len, pieces)) <= 1_000
    assert "".join(json.loads(piece)["data"] for piece in pieces) == text


def open_call(needs: Needs, args: Any, question: str = "") -> OpenCall:
    return OpenCall(tool_call_id="c1", tool_name="t", args=args, needs=needs, deadline=0, question=question)


def test_a_question_fits_into_any_payload() -> None:
    asked = query(
        Question(id="q", tool_call_id="c1"), open_call(Needs.APPROVAL, "\x01" * 10_000), "_INBOX.x", bytes_max=1_000
    )
    assert len(asked) <= 1_000
    assert json.loads(asked)["data"]["prompt"].endswith("…")


def test_replies_are_read_by_what_the_call_needs() -> None:
    approval = open_call(Needs.APPROVAL, {})
    assert [read_reply(text, approval).is_approved for text in (b"Yes", b'{"prompt": "no"}', b"ok!")] == [
        True,
        False,
        True,
    ]
    with pytest.raises(Invalid, match="yes or no is expected"):
        read_reply(b"why?", approval)
    result = open_call(Needs.RESULT, {})
    assert [read_reply(text, result).value for text in (b"[1]", b"so so")] == [[1], "so so"]
    asked = open_call(Needs.ANSWER, {"question": "?", "schema": {"type": "integer"}}, "?")
    assert read_reply(b"3", asked).value == 3
    assert read_reply(b"3", open_call(Needs.ANSWER, {"question": "?"}, "?")).value == "3"
    with pytest.raises(Invalid, match="JSON"):
        read_reply(b"three", asked)
    with pytest.raises(Invalid, match="attachments"):
        read_reply(b'{"prompt": "x", "attachments": [{"filename": "a", "content": "YQ=="}]}', asked)


def test_a_prompt_is_text_or_an_envelope() -> None:
    assert read_prompt(b" hi").content == (Text(" hi"),)
    prompt = read_prompt(b'\n{"prompt": "hi", "session": "s", "message_id": "m", "other": 1}')
    assert (prompt.content, prompt.session, prompt.message_id) == ((Text("hi"),), "s", "m")
    assert read_prompt(b"x", {"Nats-Msg-Id": "h"}).message_id == "h"
    many = json.dumps({"prompt": "x", "attachments": [{"filename": "a", "content": "YQ=="}] * 65})
    with pytest.raises(Invalid, match="at most 64"):
        read_prompt(many.encode())


def test_errors_have_a_status_of_the_protocol_and_one_line() -> None:
    exhausted = BudgetExhausted("cost", 1, 2, what="w", resets_at="t", retry_after_ms=1_500)
    for error, status in (
        (Invalid("f", "r\r\nX: y"), 400),
        (TooLarge("x", 1), 400),
        (exhausted, 429),
        (Unavailable(), 500),
    ):
        shown = service_error(error)
        assert shown.headers["Nats-Service-Error-Code"] == str(status)
        assert "\n" not in shown.headers["Nats-Service-Error"]
        assert json.loads(shown.body)["error"] == error.code
    assert service_error(exhausted).retry_after_s == 2
    assert turn_error({"kind": "auth", "message": "é"}).headers["Nats-Service-Error"] == "?"
    assert turn_error(None).code == "server"


@pytest.mark.parametrize("text", ["", "/", "a.b", "A", "x/", "/x", "a/b/c", "*", "a b", "x" * 64])
def test_a_name_that_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="--nats-agent"):
        AgentName.parse(text)


def test_a_record_names_its_subjects() -> None:
    record = AgentRecord(name=AgentName.parse("alice/desk"), instance_id="i", max_payload=1_000)
    info = json.loads(record.info())
    assert (info["type"], info["name"], info["id"]) == ("io.nats.micro.v1.info_response", "agents", record.id)
    assert [one["subject"] for one in info["endpoints"]] == [
        "agents.prompt.antiphon.alice.desk",
        "agents.status.antiphon.alice.desk",
    ]
    assert info["endpoints"][0]["metadata"] == {"max_payload": "1000B", "attachments_ok": "true"}
    assert json.loads(record.heartbeat(1_500_000, 30))["ts"] == "1970-01-01T00:00:01.5Z"
