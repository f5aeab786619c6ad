"""The model of OpenAI's Responses API against a scripted server: requests, events of every kind, and endings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon.core.parts import File, PartMetadata, Reasoning, Role, Source, Text, ToolCall, ToolResult, Usage
from antiphon.errors import AttemptFailed
from antiphon.models.responses import ResponsesModel
from antiphon.models.responses_request import REASONING
from antiphon.ports import AnswerEnded, Message, ModelEvent, ModelRequest, ToolSpec
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer, Fault
from antiphon.testing.responses_answers import ENCRYPTED, event_of
from support.tcp_server import open_tcp_server

from .asking import KEY, PROMPT, calls, request, text
from .raw_provider import head, sending

pytestmark = pytest.mark.anyio

PNG = "iVBORw0KGgo="
ADD = ToolSpec(name="add", description="Adds.", parameters={"type": "object"})
PROVIDER = "openai-responses"
REASONING_ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ENCRYPTED}


@asynccontextmanager
async def opened(base_url: str, **options: Any) -> AsyncIterator[ResponsesModel]:
    model = ResponsesModel("gpt-test", api_key=KEY, base_url=base_url, **options)
    try:
        yield model
    finally:
        await model.aclose()


async def answer(server: FakeModelServer, asked: ModelRequest | None = None, **options: Any) -> list[ModelEvent]:
    async with opened(server.base_url, **options) as model:
        return [event async for event in model.stream(asked or request())]


async def failure(server: FakeModelServer) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        await answer(server)
    assert failed.value.provider == PROVIDER
    assert KEY not in str(failed.value)
    assert PROMPT not in str(failed.value)
    return failed.value


async def answer_of(*pieces: bytes, asked: ModelRequest | None = None) -> list[ModelEvent]:
    """What the model makes of a body that is written in these pieces."""
    async with open_tcp_server(sending(head(), *pieces)) as port, opened(f"http://127.0.0.1:{port}/v1") as model:
        return [event async for event in model.stream(asked or request())]


def user(content: str, message_id: int = 2) -> Message:
    return Message(id=message_id, role=Role.USER, content=(Text(content),))


def assistant(*parts: Any, message_id: int = 3) -> Message:
    return Message(id=message_id, role=Role.ASSISTANT, content=parts)


def result(call_id: str, value: Any, *, is_error: bool = False) -> Message:
    return Message(id=4, role=Role.TOOL, content=(ToolResult(call_id, "add", value, is_error),))


async def sent(asked: ModelRequest) -> dict[str, Any]:
    async with FakeModelServer() as server:
        await answer(server, asked)
        return dict(server.requests[0].body)


COMPLETED = event_of({"type": "response.completed", "response": {"status": "completed"}})


# --- requests


async def test_a_request_stores_nothing_and_has_every_field() -> None:
    async with FakeModelServer() as server:
        events = await answer(server, request(system="be brief", tools=(ADD,)))
        (seen,) = server.requests
    assert text(events) == "c1t1 c1t2 c1t3 c1t4 c1t5 c1t6 c1t7 c1t8 "
    assert (seen.path, seen.headers["authorization"]) == ("/v1/responses", f"Bearer {KEY}")
    assert seen.body == {
        "model": "gpt-test",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "instructions": "be brief",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]}],
        "tools": [
            {
                "type": "function",
                "strict": False,
                "name": "add",
                "description": "Adds.",
                "parameters": {"type": "object"},
            }
        ],
    }


async def test_calls_results_and_reasoning_are_items_in_order() -> None:
    call = ToolCall("a", "add", {"x": 1}, {PROVIDER: {REASONING: [REASONING_ITEM]}})
    history = (user("add"), assistant(Text("Adding."), call), result("a", "no", is_error=True))
    body = await sent(request(*history))
    assert body["input"][1:] == [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Adding."}]},
        REASONING_ITEM,
        {"type": "function_call", "call_id": "a", "name": "add", "arguments": '{"x":1}'},
        {"type": "function_call_output", "call_id": "a", "output": "Error: no"},
    ]
    later = await sent(request(*history, user("thanks", 6)))
    assert ENCRYPTED not in json.dumps(later), "of an earlier turn it is not needed"


async def test_files_are_sent_as_images_documents_text_or_words() -> None:
    content = (
        File("image/png", PNG),
        File("application/pdf", PNG, name="a.pdf"),
        File("text/plain", "aGVsbG8="),
        File("image/png", "not base64!"),
    )
    body = await sent(request(Message(id=2, role=Role.USER, content=content)))
    assert body["input"][0]["content"] == [
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"},
        {"type": "input_text", "text": "hello"},
        {"type": "input_text", "text": "[a file of type image/png that cannot be shown here]"},
    ]


async def test_a_model_without_reasoning_is_asked_again_without_it() -> None:
    refusal = json.dumps({"error": {"message": "Encrypted content is not supported with this model."}}).encode()
    async with FakeModelServer() as server:
        server.plan(Fault(status=400, body=refusal))
        async with opened(server.base_url) as model:
            for _ in range(2):
                assert [event async for event in model.stream(request())]
        assert ["include" in seen.body for seen in server.requests] == [True, False, False]


# --- answers


async def test_reasoning_is_shown_and_kept_with_the_part_that_follows_it() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(reasoning="let me see", text="", calls=(FakeCall("add", {"x": [1, "é"]}),)))
        events = await answer(server, request(tools=(ADD,)))
    summary = [{"type": "summary_text", "text": "let me see"}]
    assert Reasoning("let me see") in events
    assert PartMetadata({PROVIDER: {REASONING: [REASONING_ITEM | {"summary": summary}]}}) in events
    assert [(call.tool_name, call.args) for call in calls(events)] == [("add", {"x": [1, "é"]})]


async def test_an_answer_may_come_whole_in_its_items() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "one"}, {"text": " two"}]}
    call = {"type": "function_call", "call_id": "a", "name": "add", "arguments": '{"x":1}'}
    events = await answer_of(
        event_of({"type": "response.output_item.done", "output_index": 0, "item": message}),
        event_of({"type": "response.output_item.done", "output_index": 1, "item": call}),
        COMPLETED,
    )
    assert text(events) == "one two"
    assert calls(events) == [ToolCall("a", "add", {"x": 1})]


async def test_a_gateway_may_answer_without_a_stream() -> None:
    body = {
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "whole"}]}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    events = await answer_of(json.dumps(body).encode())
    assert text(events) == "whole"
    assert Usage(input_tokens=1, output_tokens=2) in events


async def test_citations_are_sources_and_generated_images_files() -> None:
    annotation = {"type": "url_citation", "url": "https://example.org/", "title": "Example"}
    events = await answer_of(
        event_of({"type": "response.output_text.delta", "output_index": 0, "delta": "so"}),
        event_of({"type": "response.output_text.annotation.added", "output_index": 0, "annotation": annotation}),
        event_of(
            {
                "type": "response.output_item.done",
                "output_index": 1,
                "item": {"type": "image_generation_call", "result": PNG, "output_format": "webp"},
            }
        ),
        COMPLETED,
    )
    assert Source("", "https://example.org/", "Example") in events
    assert File("image/webp", PNG) in events


@pytest.mark.parametrize(
    ("reason", "outcome"), [("stop", ""), ("length", "length"), ("content_filter", "content_filter")]
)
async def test_the_end_becomes_the_outcome(reason: str, outcome: str) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="words", finish_reason=reason))
        events = await answer(server)
    assert [event.outcome for event in events if isinstance(event, AnswerEnded)] == ([outcome] if outcome else [])


async def test_a_refusal_is_text_with_its_outcome() -> None:
    events = await answer_of(
        event_of({"type": "response.refusal.delta", "output_index": 0, "delta": "I cannot."}), COMPLETED
    )
    assert text(events) == "I cannot."
    assert events[-1] == AnswerEnded("refusal")


async def test_an_answer_without_content_is_empty() -> None:
    assert await answer_of(COMPLETED) == [AnswerEnded("empty")]


async def test_usage_has_its_details() -> None:
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }
    async with FakeModelServer() as server:
        server.plan(Answer(text="words", usage=usage))
        events = await answer(server)
    expected = Usage(input_tokens=5, output_tokens=7, total_tokens=12, cache_read_tokens=3, reasoning_tokens=2)
    assert [event for event in events if isinstance(event, Usage)][-1] == expected


# --- failures


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request"), (401, "auth"), (429, "rate_limit"), (500, "server")]
)
async def test_an_error_status_has_its_kind(status: int, kind: str) -> None:
    async with FakeModelServer() as server:
        server.plan(Fault(status=status, headers={"Retry-After": "2"}))
        error = await failure(server)
    assert (error.kind, error.status_code, error.retry_after_s) == (kind, status, 2.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit"),
        ({"code": "server_error", "message": "it broke"}, "server"),
        ({"code": "context_length_exceeded", "message": "too long"}, "context_length"),
    ],
)
@pytest.mark.parametrize("is_failed_response", [False, True])
async def test_an_error_in_the_stream_fails_the_call(
    error: dict[str, str], kind: str, is_failed_response: bool
) -> None:
    failed = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    with pytest.raises(AttemptFailed) as raised:
        await answer_of(event_of(failed if is_failed_response else {"type": "error"} | error))
    assert raised.value.kind == kind


@pytest.mark.parametrize("cut_after", [1, 5])
async def test_an_answer_that_is_cut_off_may_be_retried(cut_after: int) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="one two three four five", calls=(FakeCall("add", {}),), cut_after=cut_after))
        error = await failure(server)
    assert error.kind == "network"


async def test_a_call_that_is_cut_off_at_the_limit_of_tokens_does_not_run() -> None:
    call = {"type": "function_call", "call_id": "a", "name": "add", "arguments": ""}
    incomplete = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    with pytest.raises(AttemptFailed, match="allow more tokens") as failed:
        await answer_of(
            event_of({"type": "response.output_item.added", "output_index": 0, "item": call}),
            event_of({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x'}),
            event_of({"type": "response.incomplete", "response": incomplete}),
        )
    assert failed.value.retryable is False


# --- every cut, and any event


async def test_the_answer_is_the_same_wherever_its_bytes_are_cut() -> None:
    async with FakeModelServer() as server:
        server.plan(
            Answer(
                text="né \U0001f600 done",
                reasoning="hm \U0001f600",
                calls=(FakeCall("add", {"x": "é"}),),
                write_bytes=1,
            )
        )
        whole = await answer(server)
    assert text(whole) == "né \U0001f600 done"
    assert calls(whole)[0].args == {"x": "é"}


@pytest.mark.parametrize("value", [None, 0, "x", [], {}, [{}], True, 1e400, "\ud800"])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.created", "response": ...},
        {"type": "response.output_item.added", "output_index": ..., "item": {"type": "message"}},
        {"type": "response.output_item.added", "output_index": 0, "item": ...},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": ...}},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": ...}},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "summary": ...}},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "image_generation_call", "x": ...}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": ...},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": ...},
        {"type": "response.reasoning_summary_part.added", "output_index": ...},
        {"type": "response.output_text.annotation.added", "annotation": ...},
        {"type": "response.in_progress", "response": ...},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": ...},
        {"type": ...},
    ],
    ids=repr,
)
async def test_a_field_of_any_shape_is_ignored(event: dict[str, Any], value: Any) -> None:
    def filled(shape: Any) -> Any:
        if shape is ...:
            return value
        return {key: filled(item) for key, item in shape.items()} if isinstance(shape, dict) else shape

    data = json.dumps(filled(event)).replace("Infinity", "1e400")
    events = await answer_of(
        f"data: {data}\n\n".encode(),
        event_of({"type": "response.output_text.delta", "output_index": 7, "delta": "words"}),
        COMPLETED,
    )
    assert text(events).endswith("words")


# --- reasoning


def reasoning_item(number: int, **fields: Any) -> bytes:
    item = {"type": "reasoning", "id": f"rs_{number}", "summary": []} | fields
    return event_of({"type": "response.output_item.done", "output_index": number, "item": item})


async def test_every_reasoning_item_before_a_text_is_kept() -> None:
    events = await answer_of(
        reasoning_item(0, encrypted_content="e0"),
        event_of({"type": "response.output_text.delta", "output_index": 1, "delta": "one "}),
        reasoning_item(2, encrypted_content="e2"),
        event_of({"type": "response.output_text.delta", "output_index": 3, "delta": "two"}),
        COMPLETED,
    )
    last = [event.provider_metadata for event in events if isinstance(event, PartMetadata)][-1]
    assert [item["encrypted_content"] for item in last[PROVIDER][REASONING]] == ["e0", "e2"]


async def test_a_reasoning_item_that_the_provider_forgets_is_not_sent_back() -> None:
    events = await answer_of(
        reasoning_item(0),
        event_of({"type": "response.output_text.delta", "output_index": 1, "delta": "one"}),
        COMPLETED,
    )
    assert not [event for event in events if isinstance(event, PartMetadata)]
