"""What the OpenAI model reads, against a fake server on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest

from antiphon.core.parts import (
    PartMetadata,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from antiphon.errors import AttemptFailed, Invalid
from antiphon.models.registry import make_model
from antiphon.ports import AnswerEnded
from antiphon.testing.model_server import Answer, FakeModelServer, Fault

from .asking import answer, calls, failure, opened, request, text

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server


async def test_text_arrives_piece_by_piece_with_its_usage(server: FakeModelServer) -> None:
    events = await answer(server)
    assert events[:2] == [Text("c1t1 "), Text("c1t2 ")]
    assert text(events) == "".join(f"c1t{n} " for n in range(1, 9))
    assert events[-1] == Usage(input_tokens=10, output_tokens=8, total_tokens=18)


async def test_usage_has_cached_and_reasoning_tokens(server: FakeModelServer) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 32},
    }
    server.plan(Answer(usage=usage))
    assert (await answer(server))[-1] == Usage(
        input_tokens=100, output_tokens=50, total_tokens=150, cache_read_tokens=64, reasoning_tokens=32
    )


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_read_by_both_of_its_names(server: FakeModelServer, field: str) -> None:
    server.plan(Answer(deltas=({field: "Hm"}, {field: "m"}, {"content": "Yes"})))
    events = await answer(server)
    metadata = PartMetadata({"openai": {"reasoning_field": field}})
    assert events[:4] == [Reasoning("Hm"), metadata, Reasoning("m"), Text("Yes")]


async def test_reasoning_in_both_fields_is_read_once(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=({"reasoning_content": "Hm", "reasoning": "Hm"},)))
    assert (await answer(server))[:1] == [Reasoning("Hm")]


async def test_content_as_a_list_of_pieces_and_refusals_are_text(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=({"content": [{"type": "text", "text": "A"}]}, {"refusal": "No."}, {"content": None})))
    assert text(await answer(server)) == "ANo."


async def test_characters_split_across_writes_arrive_whole(server: FakeModelServer) -> None:
    said = "Größe 🎼 \u2028 \n\nevent: forged\n\ndata: x\x00 ende"
    server.plan(Answer(text=said, write_bytes=1))
    assert text(await answer(server)) == said


async def test_lone_surrogates_do_not_break_the_answer(server: FakeModelServer) -> None:
    raw = b'data: {"choices": [{"delta": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}\n\n'
    server.plan(Fault(status=200, headers={"Content-Type": "text/event-stream"}, body=raw))
    assert text(await answer(server)) == "a\ufffd"


async def test_invalid_utf8_becomes_replacement_characters(server: FakeModelServer) -> None:
    raw = b'data: {"choices": [{"delta": {"content": "a\xff"}, "finish_reason": "stop"}]}\n\n'
    server.plan(Fault(status=200, headers={"Content-Type": "text/event-stream"}, body=raw))
    assert text(await answer(server)) == "a\ufffd"


async def test_line_ends_and_comments_of_any_kind_are_understood(server: FakeModelServer) -> None:
    raw = b': hello\r\nevent: x\r\nid: 1\r\ndata:{"choices":[{"delta":{"content":"A"}}]}\r\n\r\ndata: [DONE]\r\n'
    server.plan(Fault(status=200, headers={"Content-Type": "text/event-stream"}, body=raw))
    assert text(await answer(server)) == "A"


async def test_an_answer_of_8_megabytes_arrives_whole(server: FakeModelServer) -> None:
    said = "é" * 4 * 1024 * 1024
    server.plan(Answer(text=said), Answer(text="word " * 20_000))
    assert text(await answer(server)) == said
    assert len(text(await answer(server))) == 100_000


async def test_an_answer_that_is_not_a_stream_is_read_as_one(server: FakeModelServer) -> None:
    message = {
        "content": "Hello",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g"}}],
    }
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    server.plan(Fault(status=200, body=msgspec.json.encode(body)))
    events = await answer(server)
    assert text(events) == "Hello"
    assert calls(events) == [ToolCall("a", "f", {}), ToolCall("call-2-2", "g", {})]
    assert Usage(input_tokens=3) in events


async def test_a_stream_without_done_is_complete_with_a_finish_reason(server: FakeModelServer) -> None:
    server.plan(Answer(sends_done=False))
    assert text(await answer(server)).endswith("c1t8 ")


async def test_a_stream_with_done_alone_is_complete(server: FakeModelServer) -> None:
    server.plan(Answer(finish_reason=None))
    assert text(await answer(server)).endswith("c1t8 ")


async def test_an_answer_truncated_by_its_length_has_its_outcome(server: FakeModelServer) -> None:
    server.plan(Answer(finish_reason="length"))
    events = await answer(server)
    assert text(events).endswith("c1t8 ")
    assert events[-1] == AnswerEnded("length")


async def test_a_server_that_ignores_the_usage_option_is_tolerated(server: FakeModelServer) -> None:
    server.plan(Answer(sends_usage=False))
    assert not [event for event in await answer(server) if isinstance(event, Usage)]


async def test_a_server_that_refuses_the_usage_option_is_called_again_without_it(server: FakeModelServer) -> None:
    server.plan(Fault(status=400, message="Unknown parameter: 'stream_options'."))
    async with opened(server) as model:
        for call in (2, 3):
            assert text([event async for event in model.stream(request())]).startswith(f"c{call}t1 ")
    assert ["stream_options" in seen.body for seen in server.requests] == [True, False, False]


async def test_silence_before_the_headers_is_a_timeout(server: FakeModelServer) -> None:
    server.plan(Answer(stall_headers_s=float("inf")))
    failed = await failure(server, model_first_byte_s=0.05)
    assert (failed.kind, failed.retryable) == ("timeout", True)
    await server.wait_until(lambda: server.requests[0].is_abandoned)


async def test_silence_in_the_stream_is_a_timeout_and_ends_the_call(server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=2))
    async with opened(server, model_idle_s=0.05) as model:
        stream = model.stream(request())
        assert [await anext(stream), await anext(stream)] == [Text("c1t1 "), Text("c1t2 ")]
        with pytest.raises(AttemptFailed) as failed:
            await anext(stream)
        assert (failed.value.kind, failed.value.retryable) == ("timeout", True)
        await server.wait_until(lambda: server.requests[0].is_abandoned)


async def test_comments_do_not_hide_a_silent_server(server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=0, keep_alive=True))
    assert (await failure(server, model_first_byte_s=5.0, model_idle_s=0.05)).kind == "timeout"


async def test_a_stall_that_ends_in_time_has_no_effect(server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=4))
    async with opened(server) as model:
        stream = model.stream(request())
        first = [await anext(stream) for _ in range(4)]
        server.release()
        rest = [event async for event in stream]
    assert text([*first, *rest]) == "".join(f"c1t{n} " for n in range(1, 9))


async def test_cancelling_the_reader_ends_the_call(server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=2))
    task = asyncio.create_task(answer(server))
    await server.wait_until(lambda: bool(server.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.wait_until(lambda: server.requests[0].is_abandoned)


async def test_closing_the_iterator_ends_the_call(server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=2))
    async with opened(server) as model:
        async with aclosing(model.stream(request())) as stream:
            assert await anext(stream) == Text("c1t1 ")
        await server.wait_until(lambda: server.requests[0].is_abandoned)


async def test_a_connection_is_reused(server: FakeModelServer) -> None:
    async with opened(server) as model:
        for _ in range(3):
            assert [event async for event in model.stream(request())]
    assert [seen.connection for seen in server.requests] == [1, 1, 1]


async def test_the_registry_reads_key_and_address_from_the_environment(server: FakeModelServer) -> None:
    model = make_model("openai:ft:some:model", env={"OPENAI_API_KEY": "k1", "OPENAI_BASE_URL": server.base_url})
    assert (model.provider, model.name) == ("openai", "ft:some:model")
    assert [event async for event in model.stream(request())]
    await model.aclose()
    assert server.requests[0].headers["authorization"] == "Bearer k1"
    assert server.requests[0].body["model"] == "ft:some:model"


async def test_a_server_named_by_its_address_needs_no_key(server: FakeModelServer) -> None:
    model = make_model("openai:m", env={"OPENAI_BASE_URL": server.base_url})
    assert [event async for event in model.stream(request())]
    await model.aclose()


def test_without_key_and_address_the_missing_variable_is_named() -> None:
    with pytest.raises(Invalid, match="needs OPENAI_API_KEY"):
        make_model("openai:m", env={})
