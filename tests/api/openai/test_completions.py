"""Chat completions by OpenAI's own client against a real server."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from ..http.api_client import ApiClient

pytestmark = pytest.mark.anyio

PICK: Any = {
    "type": "function",
    "function": {"name": "pick", "description": "Pick.", "parameters": {"type": "object", "properties": {}}},
}
MODEL = "rehearsal"


def said(text: str) -> Any:
    return {"role": "user", "content": text}


async def ask(client: AsyncOpenAI, *messages: dict[str, Any], **more: Any) -> Any:
    return await client.chat.completions.create(model=MODEL, messages=list(messages), **more)  # type: ignore[call-overload]


async def test_an_answer_has_its_text_and_usage(client: AsyncOpenAI) -> None:
    made = await ask(client, {"role": "system", "content": "be brief"}, said("/think hm\n/tokens 3"))
    (choice,) = made.choices
    assert (choice.message.content, choice.finish_reason, made.object) == ("w1 w2 w3 ", "stop", "chat.completion")
    assert choice.message.reasoning_content == "hm"
    assert made.usage.completion_tokens == 3


async def test_a_stream_has_the_text_and_the_usage_at_the_end(client: AsyncOpenAI) -> None:
    stream = await ask(client, said("/tokens 5"), stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "w1 w2 w3 w4 w5 "
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 5)
    assert len({chunk.id for chunk in chunks}) == 1
    without = [chunk async for chunk in await ask(client, said("/tokens 1"), stream=True)]
    assert all(chunk.usage is None for chunk in without)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_function_makes_a_round_trip_with_the_history_in_the_request(
    client: AsyncOpenAI, stream: bool
) -> None:
    question = said('/say a\n/call pick {"x": 1}\n/say b')
    if stream:
        chunks = [chunk async for chunk in await ask(client, question, tools=[PICK], stream=True)]
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    else:
        made = await ask(client, question, tools=[PICK])
        assert (made.choices[0].finish_reason, made.choices[0].message.content) == ("tool_calls", "a")
        calls = made.choices[0].message.tool_calls
    (call,) = calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("pick", {"x": 1})
    shown = {"id": call.id, "type": "function", "function": {"name": "pick", "arguments": call.function.arguments}}
    answer = {"role": "assistant", "content": "a", "tool_calls": [shown]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "7"}
    made = await ask(client, question, answer, result, tools=[PICK])
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("b", "stop")


async def test_a_header_names_a_chat_that_goes_on(client: AsyncOpenAI, api: ApiClient) -> None:
    named = {"antiphon-chat-id": "thread / 7"}
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[said("/say one")], extra_headers=named
    )  # type: ignore[list-item]
    chat_id = raw.headers["antiphon-chat-id"]
    history = [said("/say one"), {"role": "assistant", "content": "one"}]
    for headers, text in ((named, "two"), ({"antiphon-chat-id": chat_id}, "three")):
        made = await ask(client, *history, said(f"/say {text}"), extra_headers=headers)
        assert made.choices[0].message.content == text
    assert (await api.texts(chat_id))[1::2] == ["assistant: one", "assistant: two", "assistant: three"]
    other = await api.as_owner("a user of the same name")
    async with AsyncOpenAI(base_url=client.base_url, api_key=other.token, max_retries=0) as stranger:
        await ask(stranger, said("/say mine"), extra_headers=named)
        with pytest.raises(openai.NotFoundError):
            await ask(stranger, said("/say mine"), extra_headers={"antiphon-chat-id": chat_id})


async def test_an_approval_is_a_function_call_in_a_named_chat(client: AsyncOpenAI) -> None:
    named = {"antiphon-chat-id": "approvals"}
    made = await ask(client, said('/call pay {"amount": 2}\n/say b'), extra_headers=named)
    (call,) = made.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)["args"]) == ("antiphon_approve", {"amount": 2})
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"approve": true}'}
    made = await ask(client, result, extra_headers=named)
    assert made.choices[0].message.content == "b"


async def test_a_failed_turn_is_an_error_that_the_client_does_not_repeat(client: AsyncOpenAI, api: ApiClient) -> None:
    with pytest.raises(openai.InternalServerError):
        await client.with_options(max_retries=2).chat.completions.create(model=MODEL, messages=[said("/fail auth")])  # type: ignore[list-item]
    assert len((await api.ask("GET", "/chats")).json["chats"]) == 1
    with pytest.raises(openai.APIError):
        [chunk async for chunk in await ask(client, said("/say a\n/fail auth"), stream=True)]


async def test_an_answer_that_is_begun_again_goes_on_where_its_text_agrees(client: AsyncOpenAI) -> None:
    """The rehearsal model says the same again after it has failed once."""
    stream = await ask(client, said("/say one \n/fail overloaded 1\n/say two"), stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "one two"


async def test_what_cannot_be_done_is_refused(client: AsyncOpenAI) -> None:
    for wrong in ({"n": 2}, {"response_format": {"type": "json_object"}}, {"tools": [{"type": "custom"}]}):
        with pytest.raises(openai.BadRequestError):
            await ask(client, said("x"), **wrong)
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    calling = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for message in (
        {"role": "function", "name": "f", "content": "x"},
        {"role": "user", "content": [audio]},
        {"role": "assistant", "content": "an answer to nothing"},
        {"role": "assistant", "content": None, "tool_calls": [calling]},
    ):
        with pytest.raises(openai.BadRequestError, match=r"messages\[0\]|history"):
            await ask(client, message)
    with pytest.raises(openai.BadRequestError, match="no result"):
        await ask(client, said("x"), {"role": "assistant", "content": None, "tool_calls": [calling]})
