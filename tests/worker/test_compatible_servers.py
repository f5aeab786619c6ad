"""The known differences between servers of chat completions, as docs/how-to/configure-models.md lists them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from antiphon.core.parts import PartMetadata, Reasoning, Role, Text, ToolCall, ToolResult, Usage
from antiphon.errors import AttemptFailed
from antiphon.models.openai_request import chat_messages
from antiphon.ports import AnswerEnded, Message, ToolSpec
from antiphon.testing.model_server import Answer, FakeModelServer, Fault

from .asking import answer, calls, request, text
from .raw_provider import STOP, answer_of, called, said, sse

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "configure-models.md"
ADD = ToolSpec(name="add", description="", parameters={"type": "object"})
TESTED = {"Gemini", "Ollama", "vLLM", "llama.cpp", "LM Studio", "OpenRouter", "DeepSeek", "Mistral"}


def history(metadata: Any = None, *, call_id: str = "call_0123456789") -> tuple[Message, ...]:
    return (
        Message(id=2, role=Role.USER, content=(Text("add"),)),
        Message(
            id=3,
            role=Role.ASSISTANT,
            content=(Reasoning("hm", metadata), ToolCall(call_id, "add", {}, metadata)),
        ),
        Message(id=4, role=Role.TOOL, content=(ToolResult(call_id, "add", 3),)),
    )


def test_every_server_of_the_page_is_tested() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", PAGE.read_text().partition("### Compatible servers")[2], re.M)
    named = {row for row in rows if row not in ("server", "---", "servers without `stream_options`")}
    assert named >= TESTED


async def test_gemini_returns_the_signature_of_a_call_and_prefixes_its_reason() -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    call = {"index": 0, "id": "c", "extra_content": signature, "function": {"name": "add", "arguments": "{}"}}
    events = await answer_of(sse(called(call), STOP), asked=request(tools=(ADD,)))
    (metadata,) = [event.provider_metadata for event in events if isinstance(event, PartMetadata)]
    assert metadata == {"openai": {"extra_content": signature}}
    (sent,) = chat_messages(request(*history(metadata)), "openai")[1]["tool_calls"]
    assert sent["extra_content"] == signature
    events = await answer_of(sse(said("so"), said("", finish_reason="content_filter: SAFETY")))
    assert events[-1] == AnswerEnded("content_filter")


@pytest.mark.parametrize("fields", [{}, {"id": ""}, {"id": "c", "index": 0}], ids=str)
async def test_ollama_sends_a_call_whole(fields: dict[str, Any]) -> None:
    call = fields | {"function": {"name": "add", "arguments": '{"x":1}'}}
    events = await answer_of(sse(called(call), STOP), asked=request(tools=(ADD,)))
    (found,) = calls(events)
    assert (found.tool_name, found.args) == ("add", {"x": 1})
    assert found.tool_call_id


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_vllm_sends_reasoning_in_either_field_and_aborts(field: str) -> None:
    chunk = {"choices": [{"index": 0, "delta": {field: "hm"}}]}
    events = await answer_of(sse(chunk, said("so"), STOP))
    assert Reasoning("hm") in events
    with pytest.raises(AttemptFailed, match="abort"):
        await answer_of(sse(said("so", finish_reason="abort")))


async def test_llama_cpp_names_a_context_that_is_too_long_and_ends_without_a_blank_line() -> None:
    error = {"code": 400, "type": "exceed_context_size_error", "message": "the request exceeds the context size"}
    async with FakeModelServer() as server:
        server.plan(Fault(status=400, body=json.dumps({"error": error}).encode()))
        with pytest.raises(AttemptFailed) as failed:
            await answer(server)
    assert failed.value.kind == "context_length"
    assert text(await answer_of(sse(said("so"), STOP).removesuffix(b"\n\n"))) == "so"


async def test_lm_studio_sends_an_error_event() -> None:
    body = sse(said("so"), done=False) + b'event: error\ndata: {"error":{"message":"the model crashed"}}\n\n'
    with pytest.raises(AttemptFailed, match="the model crashed"):
        await answer_of(body)


async def test_openrouter_sends_comments_and_errors_in_a_choice() -> None:
    body = b": OPENROUTER PROCESSING\n\n" + sse(said("so"), STOP)
    assert text(await answer_of(body)) == "so"
    broken = {"choices": [{"index": 0, "delta": {"content": ""}, "error": {"code": 502, "message": "upstream"}}]}
    with pytest.raises(AttemptFailed) as failed:
        await answer_of(sse(said("so"), broken))
    assert failed.value.kind == "server"


def test_deepseek_gets_its_reasoning_back_only_in_a_turn_with_calls() -> None:
    metadata = {"deepseek": {"reasoning_field": "reasoning_content"}}
    sent = chat_messages(request(*history(metadata)), "deepseek")
    assert sent[1]["reasoning_content"] == "hm"
    said_so = Message(id=3, role=Role.ASSISTANT, content=(Reasoning("hm", metadata), Text("so")))
    plain = chat_messages(request(history()[0], said_so), "deepseek")
    assert "reasoning_content" not in plain[1]


async def test_mistral_sends_pieces_and_takes_short_ids() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    pieces = {"choices": [{"index": 0, "delta": {"content": [thinking, {"type": "text", "text": "so"}]}}]}
    events = await answer_of(sse(pieces, STOP))
    assert [event for event in events if not isinstance(event, Usage)] == [Reasoning("hm"), Text("so")]
    refusal = "Tool call id was call_0123456789 but must be a-z, A-Z, 0-9, with a length of 9."
    async with FakeModelServer() as server:
        server.plan(Fault(status=400, message=refusal), Answer(text="three"))
        assert text(await answer(server, request(*history()))) == "three"
        first, second = (seen.body["messages"] for seen in server.requests)
    assert first[1]["tool_calls"][0]["id"] == first[2]["tool_call_id"] == "call_0123456789"
    short = second[1]["tool_calls"][0]["id"]
    assert re.fullmatch(r"[a-z0-9]{9}", short)
    assert second[2]["tool_call_id"] == short
