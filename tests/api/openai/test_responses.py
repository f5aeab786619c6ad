"""Responses by OpenAI's own client against a real server."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from anyio import to_thread
from openai import AsyncOpenAI, OpenAI

from antiphon.wire.openai.ids import parse_response_id
from support.waiting import wait_until

from ..http.api_client import ApiClient

pytestmark = pytest.mark.anyio

PICK: Any = {
    "type": "function",
    "name": "pick",
    "description": "Pick a file.",
    "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
    "strict": False,
}
TEXT_DELTA = "response.output_text.delta"


async def events_of(stream: Any) -> list[Any]:
    return [event async for event in stream]


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == TEXT_DELTA)


# --- create


async def test_a_response_has_the_answer_and_its_usage(client: AsyncOpenAI) -> None:
    made = await client.responses.create(model="rehearsal", input="/tokens 3", metadata={"k": "v"}, instructions="be")
    assert (made.status, made.output_text, made.model) == ("completed", "w1 w2 w3 ", "rehearsal")
    assert made.usage is not None
    assert made.usage.output_tokens == 3
    assert (made.metadata, made.instructions, made.error) == ({"k": "v"}, "be", None)
    assert (await client.responses.retrieve(made.id)).output == made.output


async def test_a_stream_has_text_reasoning_and_the_final_response(client: AsyncOpenAI) -> None:
    events = await events_of(await client.responses.create(input="/think hm\n/tokens 4\n/say done", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert text_of(events) == events[-1].response.output_text == "w1 w2 w3 w4 done"
    reasoning, message = events[-1].response.output
    assert (reasoning.type, reasoning.summary[0].text, message.type) == ("reasoning", "hm", "message")
    assert [e.item for e in events if e.type == "response.output_item.done"] == events[-1].response.output


async def test_the_helper_that_accumulates_a_stream_accepts_it(client: AsyncOpenAI) -> None:
    async with client.responses.stream(
        model="rehearsal", input="/think hm\n/tokens 5\n/call clock {}\n/say x"
    ) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    assert final.output_text == "w1 w2 w3 w4 w5 x"


async def test_the_synchronous_client_does_the_same(api: ApiClient) -> None:
    def ask() -> tuple[str, str]:
        with OpenAI(base_url=f"http://127.0.0.1:{api.port}/v1", api_key=api.token, max_retries=0) as client:
            with client.responses.create(input="/tokens 3", stream=True) as stream:
                events = list(stream)
            return text_of(events), client.responses.retrieve(events[-1].response.id).output_text

    assert await to_thread.run_sync(ask) == ("w1 w2 w3 ", "w1 w2 w3 ")


async def test_a_background_response_is_polled(client: AsyncOpenAI) -> None:
    made = await client.responses.create(input="/tokens 20\n/rate 200", background=True)
    assert (made.status, made.background, made.usage) == ("in_progress", True, None)

    async def is_completed() -> bool:
        return (await client.responses.retrieve(made.id)).status == "completed"

    await wait_until(is_completed)
    assert (await client.responses.retrieve(made.id)).output_text.split()[-1] == "w20"


async def test_a_message_with_an_image_and_a_history_is_understood(client: AsyncOpenAI, api: ApiClient) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    history: Any = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "one"}]},
        {"type": "function_call", "call_id": "c1", "name": "pick", "arguments": '{"x": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "7"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "/say two"},
                {"type": "input_image", "image_url": image, "detail": "auto"},
            ],
        },
    ]
    made = await client.responses.create(input=history)
    assert made.output_text == "two"
    chat_id = parse_response_id(made.id).chat_id
    assert await api.texts(chat_id) == ["user: first", "assistant: one", "tool: ", "user: /say two", "assistant: two"]
    items = await client.responses.input_items.list(made.id, order="asc")
    kinds = [(item.type, getattr(item, "role", "")) for item in items.data]
    assert kinds == [
        ("message", "user"),
        ("message", "assistant"),
        ("function_call", ""),
        ("function_call_output", ""),
        ("message", "user"),
    ]


# --- resume


async def test_a_stream_resumes_after_every_number(client: AsyncOpenAI) -> None:
    events = await events_of(await client.responses.create(input="/think hm\n/tokens 6\n/say 😀 ok", stream=True))
    response_id, whole = events[-1].response.id, text_of(events)
    for number, event in enumerate(events):
        after = event.sequence_number
        rest = await events_of(await client.responses.retrieve(response_id, stream=True, starting_after=after))
        assert text_of(events[: number + 1]) + text_of(rest) == whole
        assert [e.sequence_number for e in rest if e.type != TEXT_DELTA] == [
            e.sequence_number for e in events[number + 1 :] if e.type != TEXT_DELTA
        ]
        assert all(e.sequence_number > after for e in rest)


async def test_a_running_response_is_resumed_in_the_middle(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(input="/tokens 60\n/rate 300", stream=True)
    seen: list[Any] = []
    async for event in stream:
        seen.append(event)
        if len(text_of(seen)) > 30:
            break
    await stream.close()
    response_id = seen[0].response.id
    rest = await events_of(
        await client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    )
    assert text_of(seen) + text_of(rest) == "".join(f"w{n} " for n in range(1, 61))


# --- stop


async def test_a_disconnect_does_not_stop_the_turn_and_cancel_does(client: AsyncOpenAI, api: ApiClient) -> None:
    stream = await client.responses.create(input="/say begun\n/stall 600", stream=True)
    async for event in stream:
        if event.type == TEXT_DELTA:
            break
    await stream.close()
    response_id = event_id = (await anext_response(client, api)).id
    assert (await client.responses.retrieve(response_id)).status == "in_progress"
    started = time.monotonic()
    cancelled = await client.responses.cancel(event_id)
    assert time.monotonic() - started < 1
    assert (cancelled.status, cancelled.output_text) == ("cancelled", "begun")
    assert (await client.responses.cancel(event_id)).status == "cancelled"


async def anext_response(client: AsyncOpenAI, api: ApiClient) -> Any:
    """The response of the newest chat of the owner."""
    chat = (await api.ask("GET", "/chats?limit=1")).json["chats"][0]
    return await client.responses.retrieve(f"resp_{chat['id'].replace('-', '')}_{chat['turn_id']}")


# --- continue


async def test_a_conversation_continues_after_the_previous_response(client: AsyncOpenAI, api: ApiClient) -> None:
    first = await client.responses.create(input="/say one")
    second = await client.responses.create(input="/say two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    chat_id = parse_response_id(second.id).chat_id
    assert chat_id == parse_response_id(first.id).chat_id
    assert await api.texts(chat_id) == ["user: /say one", "assistant: one", "user: /say two", "assistant: two"]


async def test_an_earlier_response_is_continued_in_a_copy(client: AsyncOpenAI, api: ApiClient) -> None:
    first = await client.responses.create(input="/say one", tools=[PICK], instructions="be brief")
    await client.responses.create(input="/say two", previous_response_id=first.id)
    other = await client.responses.create(input="/say three", previous_response_id=first.id)
    chat_id = parse_response_id(other.id).chat_id
    assert chat_id != parse_response_id(first.id).chat_id
    assert await api.texts(chat_id) == ["user: /say one", "assistant: one", "user: /say three", "assistant: three"]
    assert (other.instructions, other.tools[0].name) == ("be brief", "pick")


async def test_a_response_in_progress_cannot_be_continued(client: AsyncOpenAI) -> None:
    first = await client.responses.create(input="/stall 600", background=True)
    with pytest.raises(openai.ConflictError) as caught:
        await client.responses.create(input="x", previous_response_id=first.id)
    assert caught.value.code == "conversation_locked"
    await client.responses.cancel(first.id)


async def test_an_idempotency_key_makes_a_repeat_harmless(client: AsyncOpenAI, api: ApiClient) -> None:
    headers = {"Idempotency-Key": "key 1"}
    first = await client.responses.create(input="/say one", extra_headers=headers)
    again = await client.responses.create(input="/say one", extra_headers=headers)
    assert (again.id, again.output) == (first.id, first.output)
    more = {"Idempotency-Key": "key 2"}
    second = await client.responses.create(input="/say two", previous_response_id=first.id, extra_headers=more)
    repeat = await client.responses.create(input="/say two", previous_response_id=first.id, extra_headers=more)
    assert (repeat.id, repeat.output_text) == (second.id, "two")
    assert len((await api.ask("GET", "/chats")).json["chats"]) == 1
    with pytest.raises(openai.ConflictError):
        await client.responses.create(input="/say other", extra_headers=headers)


# --- tools


async def test_a_function_of_the_client_makes_a_round_trip(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(input='/say a\n/call pick {"x": 1}\n/say b', tools=[PICK], stream=True)  # type: ignore[call-overload]
    events = await events_of(stream)
    first = events[-1].response
    call = next(item for item in first.output if item.type == "function_call")
    assert (first.status, call.name, call.arguments, call.status) == ("completed", "pick", '{"x":1}', "completed")
    assert "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta") == call.arguments
    result = [{"type": "function_call_output", "call_id": call.call_id, "output": "7"}]
    second = await client.responses.create(input=result, previous_response_id=first.id)  # type: ignore[arg-type]
    assert (second.status, second.output_text) == ("completed", "b")
    repeat = await client.responses.create(input=result, previous_response_id=first.id)  # type: ignore[arg-type]
    assert (repeat.id, repeat.output) == (second.id, second.output)
    assert (await client.responses.retrieve(first.id)).output == first.output
    wrong = [{"type": "function_call_output", "call_id": call.call_id, "output": "8"}]
    with pytest.raises(openai.ConflictError):
        await client.responses.create(input=wrong, previous_response_id=first.id)  # type: ignore[arg-type]


async def test_the_output_of_every_open_call_is_needed(client: AsyncOpenAI) -> None:
    first = await client.responses.create(input="/call pick {}\n/say b", tools=[PICK])  # type: ignore[list-item]
    for wrong in ("just text", [{"type": "function_call_output", "call_id": "other", "output": "7"}]):
        with pytest.raises(openai.BadRequestError, match="output"):
            await client.responses.create(input=wrong, previous_response_id=first.id)  # type: ignore[arg-type]
    await client.responses.cancel(first.id)


async def test_a_tool_of_the_server_is_an_mcp_call(client: AsyncOpenAI) -> None:
    made = await client.responses.create(input="/call clock {}\n/say b")
    call = made.output[0]
    assert (call.type, call.name, call.output, call.server_label) == ("mcp_call", "clock", "noon", "antiphon")
    assert made.output_text == "b"


@pytest.mark.parametrize("approve", [True, False])
async def test_an_approval_is_asked_for_and_given(client: AsyncOpenAI, approve: bool) -> None:
    first = await client.responses.create(input='/call pay {"amount": 3}\n/say b')
    request = first.output[-1]
    assert (request.type, request.name, request.arguments) == ("mcp_approval_request", "pay", '{"amount":3}')
    answer = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": approve}
    second = await client.responses.create(input=[answer], previous_response_id=first.id)  # type: ignore[list-item]
    call = second.output[0]
    assert (call.type, call.arguments, call.approval_request_id) == ("mcp_call", '{"amount":3}', request.id)
    assert (call.status, call.output) == (("completed", "paid 3") if approve else ("failed", None))
    assert second.output_text == "b"


async def test_a_question_of_an_agent_is_a_function_call(client: AsyncOpenAI) -> None:
    first = await client.responses.create(input='/call ask_person {"question": "why?"}\n/say b')
    call = first.output[-1]
    assert (call.type, call.name) == ("function_call", "ask_person")
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": "because"}
    second = await client.responses.create(input=[answer], previous_response_id=first.id)  # type: ignore[list-item]
    assert second.output_text == "b"


async def test_a_turn_that_is_retried_is_the_same_response_with_its_new_answer(
    client: AsyncOpenAI, api: ApiClient
) -> None:
    failed = await client.responses.create(input="/fail auth\n/say fine")
    assert failed.status == "failed"
    chat_id = parse_response_id(failed.id).chat_id
    await api.ask("POST", f"/chats/{chat_id}/retry")
    events = await events_of(await client.responses.retrieve(failed.id, stream=True))
    assert (events[-1].type, events[-1].response.output_text) == ("response.completed", "fine")
    again = await client.responses.retrieve(failed.id)
    assert (again.status, again.output_text, again.error) == ("completed", "fine", None)


# --- errors, deletion, settings


async def test_errors_have_the_shape_of_the_protocol(client: AsyncOpenAI, api: ApiClient) -> None:
    failed = await client.responses.create(input="/fail auth")
    assert failed.status == "failed"
    assert failed.error is not None
    with pytest.raises(openai.NotFoundError) as missing:
        await client.responses.retrieve("resp_" + "0" * 32 + "_2")
    assert missing.value.type == "not_found_error"
    with pytest.raises(openai.BadRequestError) as unknown:
        await client.responses.create(input="x", model="no such model")
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    for wrong in ({"tools": [{"type": "web_search"}]}, {"text": {"format": {"type": "json_object"}}}):
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(input="x", **wrong)  # type: ignore[call-overload]
    with pytest.raises(openai.BadRequestError, match=r"input\[0\]"):
        await client.responses.create(input=[{"type": "item_reference", "id": "msg_1"}])
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{api.port}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_a_foreign_response_is_like_one_that_is_missing(client: AsyncOpenAI, api: ApiClient) -> None:
    made = await client.responses.create(input="/say one")
    other = await api.as_owner("a neighbour")
    url = f"http://127.0.0.1:{api.port}/v1"
    async with AsyncOpenAI(base_url=url, api_key=other.token, max_retries=0) as stranger:
        for action in (stranger.responses.retrieve, stranger.responses.cancel, stranger.responses.delete):
            bodies = []
            for response_id in (made.id, "resp_" + "0" * 32 + "_2"):
                with pytest.raises(openai.NotFoundError) as caught:
                    await action(response_id)
                bodies.append(caught.value.body)
            assert bodies[0] == bodies[1]
        chat_id = parse_response_id(made.id).chat_id.replace("-", "")
        for name in ("previous_response_id", "conversation"):
            bodies = []
            for hex_id in (chat_id, "0" * 32):
                given = {"previous_response_id": f"resp_{hex_id}_2", "conversation": f"conv_{hex_id}"}[name]
                with pytest.raises(openai.NotFoundError) as caught:
                    await stranger.responses.create(input="x", **{name: given})  # type: ignore[call-overload]
                bodies.append(caught.value.body)
            assert bodies[0] == bodies[1]
        for read in (
            stranger.conversations.retrieve,
            stranger.conversations.delete,
            stranger.conversations.items.list,
        ):
            with pytest.raises(openai.NotFoundError):
                await read(f"conv_{chat_id}")  # type: ignore[operator]
    assert (await client.responses.retrieve(made.id)).output_text == "one"


async def test_a_response_is_deleted_with_its_chat(client: AsyncOpenAI) -> None:
    made = await client.responses.create(input="/say one")
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)
    first = await client.responses.create(input="/say one")
    await client.responses.create(input="/say two", previous_response_id=first.id)
    with pytest.raises(openai.BadRequestError, match="longer conversation"):
        await client.responses.delete(first.id)


async def test_a_response_that_is_not_stored_is_gone_after_its_delivery(client: AsyncOpenAI) -> None:
    made = await client.responses.create(input="/say one", store=False)
    assert made.output_text == "one"

    async def is_gone() -> bool:
        try:
            await client.responses.retrieve(made.id)
        except openai.NotFoundError:
            return True
        return False

    await wait_until(is_gone)


async def test_settings_without_effect_are_reported(client: AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(input="/say one", temperature=0.5, top_p=1, user="u")
    assert raw.headers["antiphon-ignored"] == "temperature, top_p"
    prompt: Any = {"id": "pmpt_1"}
    with pytest.raises(openai.BadRequestError, match="stored prompts"):
        await client.responses.create(input="/say hi", prompt=prompt)
    include: Any = ["reasoning.encrypted_content"]
    raw = await client.responses.with_raw_response.create(input="/say hi", user="u", include=include)
    assert raw.headers["antiphon-ignored"] == "include"


# --- conversations and models


async def test_a_conversation_is_a_chat(client: AsyncOpenAI, api: ApiClient) -> None:
    made = await client.conversations.create(metadata={"k": "v"})
    answer = await client.responses.create(input="/say one", conversation=made.id)
    again = await client.responses.create(input="/say two", conversation={"id": made.id})
    assert again.conversation is not None
    assert again.conversation.id == made.id
    items = [item async for item in client.conversations.items.list(made.id, order="asc", limit=1)]
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant"]
    assert items[1].id == answer.output[0].id
    newest = [item.id async for item in client.conversations.items.list(made.id, limit=3)]
    assert newest == [item.id for item in reversed(items)]
    assert (await client.conversations.update(made.id, metadata={"k": "w"})).metadata == {"k": "w"}
    assert (await client.conversations.retrieve(made.id)).metadata == {"k": "w"}
    assert (await client.conversations.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(made.id)


async def test_models_are_listed(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert names[:2] == ["antiphon", "rehearsal"]
    assert (await client.models.retrieve("rehearsal")).owned_by == "antiphon"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")
