"""The Anthropic model against a scripted server: requests, every kind of event, and how answers end."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon.core.parts import (
    File,
    PartMetadata,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from antiphon.errors import AttemptFailed
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.anthropic_request import CONTINUE, REDACTED_TEXT, THINKING
from antiphon.ports import AnswerEnded, Message, ModelEvent, ModelRequest, ToolSpec
from antiphon.testing.anthropic_answers import SIGNATURE, event_of
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer, Fault
from support.tcp_server import open_tcp_server

from .asking import KEY, PROMPT, calls, request, text
from .raw_provider import head, sending

pytestmark = pytest.mark.anyio

PNG = "iVBORw0KGgo="
ADD = ToolSpec(name="add", description="Adds.", parameters={"type": "object"})


@asynccontextmanager
async def opened(base_url: str, **options: Any) -> AsyncIterator[AnthropicModel]:
    model = AnthropicModel("claude-test", api_key=KEY, base_url=base_url, **options)
    try:
        yield model
    finally:
        await model.aclose()


async def answer(server: FakeModelServer, asked: ModelRequest | None = None, **options: Any) -> list[ModelEvent]:
    async with opened(server.base_url, **options) as model:
        return [event async for event in model.stream(asked or request())]


async def failure(server: FakeModelServer, asked: ModelRequest | None = None, **options: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        await answer(server, asked, **options)
    assert failed.value.provider == "anthropic"
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


def result(call_id: str, value: Any, *, is_error: bool = False, message_id: int = 4) -> Message:
    part = ToolResult(call_id, "add", value, is_error)
    return Message(id=message_id, role=Role.TOOL, content=(part,))


async def sent(asked: ModelRequest, **options: Any) -> dict[str, Any]:
    """The body of the request that the model sends."""
    async with FakeModelServer() as server:
        await answer(server, asked, **options)
        return dict(server.requests[0].body)


def plain(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without the marks of the cache."""
    return [
        {"role": message["role"], "content": [{k: v for k, v in b.items() if k != "cache_control"} for b in content]}
        for message in messages
        for content in [message["content"]]
    ]


# --- requests


async def test_a_request_has_the_version_the_key_and_the_required_fields() -> None:
    async with FakeModelServer() as server:
        events = await answer(server, request(system="be brief", tools=(ADD,)))
        (seen,) = server.requests
    assert text(events) == "c1t1 c1t2 c1t3 c1t4 c1t5 c1t6 c1t7 c1t8 "
    assert seen.path == "/v1/messages"
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in seen.headers
    cached = {"cache_control": {"type": "ephemeral"}}
    assert seen.body == {
        "model": "claude-test",
        "stream": True,
        "max_tokens": 32_000,
        "system": [{"type": "text", "text": "be brief"} | cached],
        "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT} | cached]}],
        "tools": [{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}],
    }


async def test_results_come_first_and_messages_of_one_role_are_merged() -> None:
    history = (
        user("add"),
        assistant(Text("Adding."), ToolCall("a", "add", {"x": 1}), ToolCall("b", "add", [1])),
        result("a", {"sum": 3}),
        result("b", "no numbers", is_error=True, message_id=5),
        user("and then?", 6),
    )
    body = await sent(request(*history, tools=(ADD,)))
    assert plain(body["messages"]) == [
        {"role": "user", "content": [{"type": "text", "text": "add"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Adding."},
                {"type": "tool_use", "id": "a", "name": "add", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "add", "input": {"invalid_arguments": [1]}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": '{"sum":3}'},
                {"type": "tool_result", "tool_use_id": "b", "content": "no numbers", "is_error": True},
                {"type": "text", "text": "and then?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    "history",
    [
        (assistant(Text("hello")), user("hi", 4)),
        (user("hi"), assistant(Text("a partial answer"))),
        (user("  \n"),),
        (Message(id=2, role=Role.SYSTEM, content=(Text("be brief"),)),),
    ],
    ids=["an answer first", "an answer last", "only white space", "only a system message"],
)
async def test_the_messages_begin_and_end_with_the_users_role(history: tuple[Message, ...]) -> None:
    body = await sent(request(*history))
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == roles[-1] == "user"
    assert all(a != b for a, b in itertools.pairwise(roles))
    assert CONTINUE in json.dumps(body)
    assert all(block.get("text", "x").strip() for message in body["messages"] for block in message["content"])


async def test_files_are_sent_as_images_documents_text_or_words() -> None:
    content = (
        File("image/png", PNG),
        File("application/pdf", PNG, name="a.pdf"),
        File("text/plain", "aGVsbG8="),
        File("video/mp4", PNG),
        File("image/png", "not base64!"),
    )
    body = await sent(request(Message(id=2, role=Role.USER, content=content)))
    assert plain(body["messages"])[0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
            "title": "a.pdf",
        },
        {"type": "text", "text": "hello"},
        {"type": "text", "text": "[a file of type video/mp4 that cannot be shown here]"},
        {"type": "text", "text": "[a file of type image/png that cannot be shown here]"},
    ]


async def test_parameters_are_sent_and_may_replace_the_limit_of_tokens() -> None:
    asked = ModelRequest(
        chat_id="c",
        turn_id=2,
        model="m",
        system="",
        messages=(user("hi"),),
        tools=(ADD,),
        parameters={"max_tokens": 7, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    )
    body = await sent(asked)
    assert body["max_tokens"] == 7
    assert [tool["name"] for tool in body["tools"]] == ["add", "web_search"]


# --- thinking


async def test_thinking_goes_back_with_its_signature_within_the_turn() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(reasoning="let me see", calls=(FakeCall("add", {"x": 1}),)))
        events = await answer(server, request(tools=(ADD,)))
    blocks = [{"length": 10, "signature": SIGNATURE}]
    assert [event for event in events if not isinstance(event, Usage)][:2] == [
        Reasoning("let me see"),
        PartMetadata({"anthropic": {THINKING: blocks}}),
    ]
    (call,) = calls(events)
    thought = Reasoning("let me see", {"anthropic": {THINKING: blocks}})
    history = (user("add"), assistant(thought, call), result(call.tool_call_id, 3))
    body = await sent(request(*history, tools=(ADD,)))
    assert body["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "let me see",
        "signature": SIGNATURE,
    }
    later = await sent(request(*history, assistant(Text("3"), message_id=5), user("thanks", 6)))
    assert "thinking" not in json.dumps(later), "of an earlier turn it is not needed"


async def test_redacted_thinking_is_shown_as_a_word_and_goes_back_as_it_came() -> None:
    def opening(index: int, block: dict[str, Any]) -> bytes:
        return event_of({"type": "content_block_start", "index": index, "content_block": block})

    def delta(index: int, **fields: Any) -> bytes:
        return event_of({"type": "content_block_delta", "index": index, "delta": fields})

    events = await answer_of(
        opening(0, {"type": "redacted_thinking", "data": "enc1"}),
        event_of({"type": "content_block_stop", "index": 0}),
        opening(1, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(1, type="thinking_delta", thinking="héllo \U0001f600"),
        delta(1, type="signature_delta", signature="si"),
        delta(1, type="signature_delta", signature="gn"),
        event_of({"type": "content_block_stop", "index": 1}),
        opening(2, {"type": "text", "text": "a"}),
        delta(2, type="text_delta", text="b"),
        event_of({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    )
    assert text(events) == "ab"
    thought = "".join(event.text for event in events if isinstance(event, Reasoning))
    assert thought == REDACTED_TEXT + "héllo \U0001f600"
    metadata = [event for event in events if isinstance(event, PartMetadata)][-1].provider_metadata
    part = Reasoning(thought, metadata)
    body = await sent(request(user("add"), assistant(part, ToolCall("a", "add", {})), result("a", 1)))
    assert body["messages"][1]["content"][:2] == [
        {"type": "redacted_thinking", "data": "enc1"},
        {"type": "thinking", "thinking": "héllo \U0001f600", "signature": "sign"},
    ]


@pytest.mark.parametrize(("provider", "is_kept"), [("anthropic", True), ("openai", False)])
async def test_a_turn_that_another_model_began_goes_on_without_thinking(provider: str, is_kept: bool) -> None:
    thought = Reasoning("hm", {provider: {THINKING: [{"length": 2, "signature": "s"}]}})
    history = (user("add"), assistant(thought, ToolCall("a", "add", {})), result("a", 1))
    asked = ModelRequest(
        chat_id="c",
        turn_id=2,
        model="m",
        system="",
        messages=history,
        parameters={"thinking": {"type": "enabled", "budget_tokens": 2_000}},
    )
    body = await sent(asked)
    assert ("thinking" in body) is is_kept
    assert (body["messages"][1]["content"][0]["type"] == "thinking") is is_kept


# --- answers


async def test_tool_calls_arrive_whole_also_without_arguments() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="ok", calls=(FakeCall("add", {"x": [1, "é"]}), FakeCall("now", {}))))
        events = await answer(server)
    assert [(call.tool_name, call.args) for call in calls(events)] == [("add", {"x": [1, "é"]}), ("now", {})]
    events = await answer_of(
        event_of(
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "tool_use", "id": "t1", "name": "now", "input": {}},
            }
        ),
        event_of({"type": "content_block_stop", "index": 0}),
        event_of({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        event_of({"type": "message_stop"}),
    )
    assert calls(events) == [ToolCall("t1", "now", {})]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("end_turn", ""),
        ("stop_sequence", ""),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("something new", ""),
    ],
)
async def test_the_stop_reason_becomes_the_outcome(reason: str, outcome: str) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="words", finish_reason=reason))
        events = await answer(server)
    assert [event.outcome for event in events if isinstance(event, AnswerEnded)] == ([outcome] if outcome else [])


async def test_an_answer_without_content_is_empty() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text=""))
        assert (await answer(server))[-1] == AnswerEnded("empty")


async def test_usage_counts_the_cache_as_input() -> None:
    usage = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 11,
        "output_tokens": 3,
    }
    async with FakeModelServer() as server:
        server.plan(Answer(text="words", usage=usage))
        events = await answer(server)
    last = [event for event in events if isinstance(event, Usage)][-1]
    assert last == Usage(input_tokens=23, output_tokens=3, cache_creation_tokens=7, cache_read_tokens=11)


async def test_a_paused_answer_is_continued_with_its_blocks() -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    raw = (
        {"type": "content_block_start", "index": 1, "content_block": search | {"input": {}}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"query":"x"}'},
        },
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": found},
        {"type": "content_block_stop", "index": 2},
    )
    async with FakeModelServer() as server:
        server.plan(
            Answer(text="searching", deltas=raw, finish_reason="pause_turn", usage={"output_tokens": 2}),
            Answer(text=" found", usage={"output_tokens": 3}),
        )
        events = await answer(server)
        first, second = server.requests
    assert text(events) == "searching found"
    assert second.body["messages"] == [
        *plain(first.body["messages"]),
        {"role": "assistant", "content": [{"type": "text", "text": "searching"}, search, found]},
    ]
    assert [event for event in events if isinstance(event, Usage)][-1] == Usage(output_tokens=5)
    assert not calls(events), "the provider runs its own tools"


async def test_an_answer_that_is_paused_for_ever_fails() -> None:
    async with FakeModelServer(default=lambda seen: Answer(text="x", finish_reason="pause_turn")) as server:
        error = await failure(server)
        assert len(server.requests) == 17
    assert (error.kind, error.retryable) == ("server", False)


async def test_a_citation_is_a_source() -> None:
    citation = {"type": "web_search_result_location", "url": "https://example.org/", "title": "Example"}
    events = await answer_of(
        event_of({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "so"}}),
        event_of(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "citations_delta", "citation": citation},
            }
        ),
        event_of({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    )
    assert Source("", "https://example.org/", "Example") in events


# --- failures


@pytest.mark.parametrize(
    ("status", "type_", "kind"),
    [
        (400, "invalid_request_error", "invalid_request"),
        (401, "authentication_error", "auth"),
        (403, "permission_error", "auth"),
        (413, "request_too_large", "context_length"),
        (429, "rate_limit_error", "rate_limit"),
        (500, "api_error", "server"),
        (529, "overloaded_error", "overloaded"),
    ],
)
async def test_an_error_status_has_its_kind(status: int, type_: str, kind: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": type_, "message": "no"}}).encode()
    async with FakeModelServer() as server:
        server.plan(Fault(status=status, body=body, headers={"Retry-After": "2"}))
        error = await failure(server)
    assert (error.kind, error.status_code, error.retry_after_s) == (kind, status, 2.0)


async def test_a_prompt_that_is_too_long_is_a_failure_of_context() -> None:
    message = "prompt is too long: 208310 tokens > 200000 maximum"
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}}).encode()
    async with FakeModelServer() as server:
        server.plan(Fault(status=400, body=body))
        assert (await failure(server)).kind == "context_length"


async def test_an_error_in_the_stream_fails_the_call() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(error_after=3, error={"type": "overloaded_error", "message": "Overloaded"}))
        error = await failure(server)
    assert (error.kind, error.retryable) == ("overloaded", True)


@pytest.mark.parametrize("cut_after", [0, 1, 5])
async def test_an_answer_that_is_cut_off_may_be_retried(cut_after: int) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(reasoning="hm", calls=(FakeCall("add", {"x": 1}),), cut_after=cut_after))
        error = await failure(server)
    assert error.kind == "network"


async def test_a_call_that_is_cut_off_at_the_limit_of_tokens_does_not_run() -> None:
    opening = {"type": "tool_use", "id": "t1", "name": "add", "input": {}}
    with pytest.raises(AttemptFailed, match="allow more tokens") as failed:
        await answer_of(
            event_of({"type": "content_block_start", "index": 0, "content_block": opening}),
            event_of(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": '{"x'},
                }
            ),
            event_of({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}),
        )
    assert failed.value.retryable is False


# --- every cut, and any event


async def test_the_answer_is_the_same_wherever_its_bytes_are_cut() -> None:
    async with FakeModelServer() as server:
        plan = Answer(
            text="né \U0001f600 done", reasoning="hm \U0001f600", calls=(FakeCall("add", {"x": "é"}),), write_bytes=1
        )
        server.plan(plan)
        whole = await answer(server)
    assert text(whole) == "né \U0001f600 done"
    assert calls(whole)[0].args == {"x": "é"}


@pytest.mark.parametrize("value", [None, 0, "x", [], {}, [{}], True, 1e400, "\ud800"])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start", "message": ...},
        {"type": "message_start", "message": {"usage": ...}},
        {"type": "message_start", "message": {"usage": {"input_tokens": ...}}},
        {"type": "content_block_start", "index": ..., "content_block": {"type": "text", "text": "x"}},
        {"type": "content_block_start", "index": 0, "content_block": ...},
        {"type": "content_block_start", "index": 0, "content_block": {"type": ...}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ...}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ...}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "redacted_thinking", "data": ...}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": ..., "name": "n"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": ...}},
        {"type": "content_block_delta", "index": 0, "delta": ...},
        {"type": "content_block_delta", "index": 0, "delta": {"type": ...}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ...}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": ...}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": ...}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ...}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": ...}},
        {"type": "content_block_stop", "index": ...},
        {"type": "message_delta", "delta": ...},
        {"type": "message_delta", "usage": ...},
        {"type": ...},
        {"type": "ping"},
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
        event_of({"type": "content_block_start", "index": 7, "content_block": {"type": "text", "text": ""}}),
        event_of({"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "words"}}),
        event_of({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        event_of({"type": "message_stop"}),
    )
    assert text(events).endswith("words")


# --- thinking and pauses together


def opening(index: int, **block: Any) -> bytes:
    return event_of({"type": "content_block_start", "index": index, "content_block": block})


def delta(index: int, **fields: Any) -> bytes:
    return event_of({"type": "content_block_delta", "index": index, "delta": fields})


def closing(index: int) -> bytes:
    return event_of({"type": "content_block_stop", "index": index})


def stopping(reason: str) -> bytes:
    return event_of({"type": "message_delta", "delta": {"stop_reason": reason}}) + event_of({"type": "message_stop"})


def thinking(index: int, text: str, signature: str) -> bytes:
    pieces = [delta(index, type="thinking_delta", thinking=text)] if text else []
    pieces.append(delta(index, type="signature_delta", signature=signature))
    return opening(index, type="thinking", thinking="", signature="") + b"".join(pieces) + closing(index)


async def sent_after(*answers: bytes) -> list[dict[str, Any]]:
    """The bodies of the requests to a server that gives these answers, one for each request."""
    async with FakeModelServer() as server:
        server.plan(
            *(Fault(status=200, body=body, headers={"Content-Type": "text/event-stream"}) for body in answers)
        )
        await answer(server)
        return [dict(seen.body) for seen in server.requests]


async def metadata_of(*answers: bytes) -> tuple[str, dict[str, Any]]:
    """The reasoning of an answer, and the last metadata with it."""
    async with FakeModelServer() as server:
        server.plan(
            *(Fault(status=200, body=body, headers={"Content-Type": "text/event-stream"}) for body in answers)
        )
        events = await answer(server)
    text_ = "".join(event.text for event in events if isinstance(event, Reasoning))
    found = [event.provider_metadata for event in events if isinstance(event, PartMetadata)]
    return text_, found[-1]


async def blocks_sent_back(text_: str, metadata: dict[str, Any]) -> list[dict[str, Any]]:
    part = Reasoning(text_, metadata)
    body = await sent(request(user("add"), assistant(part, ToolCall("a", "add", {})), result("a", 1), tools=(ADD,)))
    return [block for block in body["messages"][1]["content"] if "thinking" in block["type"]]


SERVER_TOOL = opening(1, type="server_tool_use", id="s1", name="web_search", input={"query": "x"}) + closing(1)


async def test_thinking_before_and_after_a_pause_keeps_its_own_signatures() -> None:
    text_, metadata = await metadata_of(
        thinking(0, "First thought.", "SIG1") + SERVER_TOOL + stopping("pause_turn"),
        thinking(0, "Second.", "SIG2") + opening(1, type="tool_use", id="t", name="add", input={}) + closing(1)
        + stopping("tool_use"),
    )  # fmt: skip
    assert await blocks_sent_back(text_, metadata) == [
        {"type": "thinking", "thinking": "First thought.", "signature": "SIG1"},
        {"type": "thinking", "thinking": "Second.", "signature": "SIG2"},
    ]


async def test_hidden_thinking_goes_back_with_its_signature() -> None:
    text_, metadata = await metadata_of(
        thinking(0, "", "SIG") + opening(1, type="tool_use", id="t", name="add", input={}) + closing(1)
        + stopping("tool_use")
    )  # fmt: skip
    assert text_ == REDACTED_TEXT
    assert await blocks_sent_back(text_, metadata) == [{"type": "thinking", "thinking": "", "signature": "SIG"}]


async def test_a_paused_answer_goes_back_with_every_field() -> None:
    half = delta(2, type="text_delta", text="HALF").replace(b"HALF", b"\\ud83d")
    paused = (
        thinking(0, "", "SIG") + opening(1, type="text", text="") + closing(1) + opening(2, type="text", text="ok ")
    )
    _, body = await sent_after(
        paused + half + delta(2, type="text_delta", text="so") + SERVER_TOOL.replace(b'"index":1', b'"index":3')
        + stopping("pause_turn"),
        opening(0, type="text", text="done") + closing(0) + stopping("end_turn"),
    )  # fmt: skip
    assert body["messages"][-1]["content"] == [
        {"type": "thinking", "thinking": "", "signature": "SIG"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "text", "text": "ok \ufffdso"},
    ]


async def test_a_pause_without_any_block_fails() -> None:
    async with FakeModelServer() as server:
        server.plan(Fault(status=200, body=stopping("pause_turn"), headers={"Content-Type": "text/event-stream"}))
        error = await failure(server)
        assert len(server.requests) == 1
    assert (error.kind, error.retryable) == ("server", False)


async def test_many_thinking_blocks_send_their_metadata_once_each() -> None:
    body = b"".join(thinking(number, "x", "s" * 4_000) for number in range(25))
    events = await answer_of(body, opening(30, type="text", text="so") + closing(30), stopping("end_turn"))
    sizes = [len(json.dumps(event.provider_metadata)) for event in events if isinstance(event, PartMetadata)]
    assert len(sizes) == 25
    assert max(sizes) < 25 * 4_200


async def test_the_kept_part_of_an_answer_and_the_next_one_are_two_messages() -> None:
    thought = Reasoning("hm", {"anthropic": {THINKING: [{"length": 2, "signature": "s"}]}})
    history = (
        user("add"),
        Message(id=3, role=Role.ASSISTANT, content=(Text("A par"),), is_interrupted=True),
        assistant(thought, ToolCall("a", "add", {}), message_id=4),
        result("a", 1, message_id=5),
    )
    body = await sent(request(*history, tools=(ADD,)))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert body["messages"][3]["content"][0]["type"] == "thinking"


async def test_a_history_with_calls_is_sent_without_tools_as_one_that_can_only_be_read() -> None:
    history = (user("add"), assistant(ToolCall("a", "add", {})), result("a", 1), assistant(Text("3"), message_id=5))
    body = await sent(request(*history, user("thanks", 6)))
    assert body["tools"] == [{"name": "add", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


async def test_a_whole_call_at_the_limit_of_tokens_runs() -> None:
    call = opening(0, type="tool_use", id="t", name="now", input={}) + closing(0)
    assert calls(await answer_of(call, stopping("max_tokens"))) == [ToolCall("t", "now", {})]
