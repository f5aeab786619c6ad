"""The stored messages of a chat, in the AI SDK's shape, are those that the chunks of its stream make."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from antiphon.core.facts import MessageAppended
from antiphon.core.parts import Data, File, FileReference, Source, Text, ToolCall, ToolResult, Unknown
from antiphon.errors import Invalid
from antiphon.wire.ui_stream.history import ui_messages
from antiphon.wire.ui_stream.messages import read_history, tool_answers
from antiphon.wire.ui_stream.parts import user_parts_json, whole_chunk

from .protocols import CHAT_ID, Recording, recordings, stored
from .test_ui_chunks import chunks_of, kept

Json = dict[str, Any]
OUTPUTS = {"tool-output-available": "output-available", "tool-output-error": "output-error"}


def folded(recording: Recording) -> list[Json]:
    """The parts of the answer as a client makes them of the chunks of all its streams. A denial is an error there."""
    parts: list[Json] = []
    calls: dict[str, Json] = {}
    waits = [entry.seq for entry in recording.entries if type(entry.fact).__name__ == "ActionRequired"]
    for after in (recording.turn_id, *waits):
        for chunk in kept(chunks_of(recording, stored(recording, after=after - 1), after)):
            apply(chunk, parts, calls)
    return [{key: value for key, value in part.items() if value is not None} for part in parts]


def apply(chunk: Json, parts: list[Json], calls: dict[str, Json]) -> None:
    kind = chunk["type"]
    if kind == "start-step":
        parts.append({"type": "step-start"})
    elif "delta" in chunk:
        parts.append({"type": kind.removesuffix("-delta"), "text": chunk["delta"], "state": "done"})
    elif kind in ("tool-input-available", "tool-input-error"):
        name, call_id = chunk["toolName"], chunk["toolCallId"]
        shown = {"type": f"tool-{name}", "toolCallId": call_id, "input": chunk["input"], "state": "input-available"}
        calls[call_id] = shown | ({"providerExecuted": True} if chunk.get("providerExecuted") else {})
        if kind == "tool-input-error":
            calls[call_id] |= {"state": "output-error", "errorText": chunk["errorText"]}
        parts.append(calls[call_id])
    elif kind == "tool-output-denied":
        calls[chunk["toolCallId"]] |= {"state": "output-error", "errorText": None}
    elif kind in OUTPUTS:
        shown = {key: value for key, value in chunk.items() if key in ("output", "errorText")}
        calls[chunk["toolCallId"]] |= {"state": OUTPUTS[kind], **shown}
    elif kind.startswith(("source", "file", "data-")) and kind != "data-question":
        parts.append(chunk)


def read(recording: Recording, **options: Any) -> list[Json]:
    entries = [entry for entry in recording.entries if isinstance(entry.fact, MessageAppended)]
    return ui_messages(CHAT_ID, entries, **{"running_turn_id": 0, "restarts": {}} | options)


def in_order(parts: list[Json]) -> list[str]:
    """The parts; a call and the text of the same step may change places, and the reason of a denial is not shown."""
    return sorted(
        repr(sorted((k, v) for k, v in part.items() if k != "errorText" and v is not None)) for part in parts
    )


@pytest.mark.parametrize("retries", [False, True])
def test_the_stored_messages_are_those_of_the_stream(retries: bool) -> None:
    for number, recording in enumerate(recordings(retries=retries)):
        messages = [message for message in read(recording) if message["role"] == "assistant"]
        found = messages[0]["parts"] if messages else []
        assert in_order(found) == in_order(folded(recording)), number
        assert len(messages) <= 1


def test_the_answer_in_progress_is_left_out() -> None:
    recording = recordings()[0]
    assert [m["role"] for m in read(recording, running_turn_id=recording.turn_id)] == ["user"]
    (_, answer) = read(recording, restarts={recording.turn_id: 9})[:2]
    assert answer["id"].endswith(f"_{recording.turn_id}_9")


def test_a_history_is_read_back_as_it_is_shown() -> None:
    for recording in recordings():
        shown = [message for message in read(recording) if message["parts"]]
        history = read_history(shown)
        calls = [part for past in history.messages for part in past.content if isinstance(part, ToolCall)]
        results = [part for past in history.messages for part in past.content if isinstance(part, ToolResult)]
        assert [call.tool_call_id for call in calls] == [result.tool_call_id for result in results]
        texts = [p.text for past in history.messages for p in past.content if isinstance(p, Text)]
        assert texts == [p["text"] for m in shown for p in m["parts"] if p["type"] == "text"]


def test_each_kind_of_part_has_a_chunk() -> None:
    data = base64.b64encode(b"hi").decode()
    shown = [
        whole_chunk(part, "3-0")
        for part in (
            Source(url="https://x.example", title="X"),
            Source(source_id="s", title="A book"),
            Data(data=[1], name="plan"),
            Data(data=1),
            File(media_type="image/png", data=data),
            FileReference(file_name="a.png", file_id="f", media_type="image/png"),
            FileReference(file_name="a.py", start_line=1, end_line=2, content="x"),
            Unknown("chart", {"type": "chart", "x": 1}),
        )
    ]
    assert shown[:6] == [
        {"type": "source-url", "sourceId": "3-0", "url": "https://x.example", "title": "X"},
        {"type": "source-document", "sourceId": "s", "mediaType": "text/plain", "title": "A book"},
        {"type": "data-plan", "id": "3-0", "data": [1]},
        {"type": "data-value", "id": "3-0", "data": 1},
        {"type": "file", "url": f"data:image/png;base64,{data}", "mediaType": "image/png"},
        {"type": "file", "url": "/api/v1/files/f", "mediaType": "image/png"},
    ]
    assert shown[6]["type"] == "data-file-reference"
    assert shown[7] == {"type": "data-chart", "id": "3-0", "data": {"type": "chart", "x": 1}}
    (file,) = user_parts_json([File(media_type="image/png", data=data, name="a.png")], "m")
    assert file["filename"] == "a.png"


def test_files_of_the_server_are_named_by_their_address() -> None:
    def read_file(url: str) -> Any:
        part = {"type": "file", "mediaType": "image/png", "url": url}
        return read_history([{"id": "m", "role": "user", "parts": [part]}]).messages[0].content[0]

    for url in ("/api/v1/files/f1", "https://host.example:1/api/v1/files/f1"):
        assert read_file(url) == FileReference(file_id="f1")
    for url in ("https://host.example/f1", "/api/v1/files/", "/api/v1/files/a/b", "x", ""):
        with pytest.raises(Invalid):
            read_file(url)


def test_only_answers_are_answers() -> None:
    tool: Json = {"type": "tool-f", "toolCallId": "c", "input": {}}
    states = [
        {**tool, "state": "input-available"},
        {**tool, "state": "approval-requested", "approval": {"id": "c"}},
        {**tool, "toolCallId": "d", "state": "approval-responded", "approval": {"id": "d", "approved": False}},
        {**tool, "toolCallId": "e", "state": "output-available", "output": None},
    ]
    answers = tool_answers({"role": "assistant", "parts": [{"type": "text", "text": "x"}, *states]}, "m")
    assert {name: answer.is_approved for name, answer in answers.items()} == {"d": False, "e": None}
