"""Answers to open calls, settings and copies: a request that is refused changes nothing, and nothing is lost."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from antiphon.chats.owned import OwnedChats
from antiphon.wire.openai.ids import parse_response_id

from ..http.api_client import ApiClient
from ..http.test_files import PNG, reference, upload

pytestmark = pytest.mark.anyio

PICK: Any = {"type": "function", "name": "pick", "description": "Pick.", "parameters": {"type": "object"}}


def output_of(response: Any, output: Any) -> Any:
    call = next(item for item in response.output if item.type == "function_call")
    return {"type": "function_call_output", "call_id": call.call_id, "output": output}


async def test_a_copy_keeps_the_files_of_results(client: AsyncOpenAI, api: ApiClient) -> None:
    file = await upload(api, PNG + b"of a result")
    first = await client.responses.create(input="/call pick {}\n/say a", tools=[PICK])
    picked = [output_of(first, [reference(file)])]
    second = await client.responses.create(input=picked, previous_response_id=first.id)  # type: ignore[arg-type]
    await client.responses.create(input="/say two", previous_response_id=second.id)
    branch = await client.responses.create(input="/say three", previous_response_id=second.id)
    assert branch.output_text == "three"
    old, new = (parse_response_id(response.id).chat_id for response in (first, branch))
    assert old != new
    assert await api.instance.store.files_of_chat(new) == {file["file_id"]}
    await api.ask("DELETE", f"/chats/{old}")
    assert (await api.ask("GET", f"/files/{file['file_id']}")).status == 200


# --- a refused request changes nothing


async def test_a_refused_message_changes_no_setting(client: AsyncOpenAI, api: ApiClient) -> None:
    made = await client.conversations.create(metadata={"k": "v"})
    running = await client.responses.create(input="/stall 600", conversation=made.id, background=True)
    chat_id = parse_response_id(running.id).chat_id
    chats = api.instance.chats_of(api.owner_id)
    before = await chats.get(chat_id)
    with pytest.raises(openai.ConflictError):
        await client.responses.create(
            input="x", conversation=made.id, instructions="other", metadata={"k": "w"}, tools=[PICK]
        )
    after = await chats.get(chat_id)
    assert (after.labels, after.system, after.tools) == (before.labels, before.system, before.tools)
    await client.responses.cancel(running.id)


async def test_settings_and_their_message_are_one_change(client: AsyncOpenAI, api: ApiClient) -> None:
    first = await client.responses.create(input="/say one", metadata={"a": "1"})
    given: Any = {"instructions": "be brief", "metadata": {"b": "2"}, "tools": [PICK]}
    second = await client.responses.create(input="/say two", previous_response_id=first.id, **given)
    assert (second.output_text, second.instructions, second.metadata) == ("two", "be brief", {"a": "1", "b": "2"})
    assert second.tools[0].name == "pick"


async def test_answers_that_come_too_late_leave_no_message_and_no_setting(
    client: AsyncOpenAI, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await client.responses.create(input="/call pick {}\n/stall 600", tools=[PICK])
    chat_id = parse_response_id(first.id).chat_id
    given = output_of(first, "7")
    original = OwnedChats.change
    others: list[int] = []

    async def change(chats: OwnedChats, chat: str, *commands: Any, **more: Any) -> Any:
        if not others:  # another client is first
            others.append(1)
            await api.instance.chats_of(api.owner_id).submit_result(chat_id, given["call_id"], "8")
        return await original(chats, chat, *commands, **more)

    monkeypatch.setattr(OwnedChats, "change", change)
    said: Any = {"role": "user", "content": "and this"}
    with pytest.raises(openai.APIStatusError):
        await client.responses.create(input=[given, said], previous_response_id=first.id, metadata={"k": "w"})
    chat = await api.chat(chat_id)
    assert (await api.queued(chat_id), chat["labels"]) == ([], {})
    assert not any("and this" in text for text in await api.texts(chat_id))
    await client.responses.cancel(first.id)


async def test_a_message_beside_the_answers_is_read_in_the_same_turn(client: AsyncOpenAI, api: ApiClient) -> None:
    first = await client.responses.create(input="/call pick {}\n/say a", tools=[PICK])
    given = [output_of(first, "7"), {"role": "user", "content": "/say b"}]
    for _ in range(2):
        second = await client.responses.create(input=given, previous_response_id=first.id)
        assert second.status == "completed"
    texts = await api.texts(parse_response_id(first.id).chat_id)
    assert texts.count("user: /say b") == 1
    given[1] = {"role": "user", "content": "/say c"}
    with pytest.raises(openai.ConflictError):
        await client.responses.create(input=given, previous_response_id=first.id)


# --- repeated approvals


async def test_a_repeated_approval_gets_the_same_response(client: AsyncOpenAI) -> None:
    first = await client.responses.create(input='/call pay {"amount": 3}\n/say b')
    answer = {"type": "mcp_approval_response", "approval_request_id": first.output[-1].id, "approve": True}
    made = [
        await client.responses.create(input=[answer], previous_response_id=first.id)  # type: ignore[list-item]
        for _ in range(2)
    ]
    assert (made[1].id, made[1].output) == (made[0].id, made[0].output)
    with pytest.raises(openai.ConflictError):
        await client.responses.create(input=[answer | {"approve": False}], previous_response_id=first.id)  # type: ignore[list-item]


async def test_repeated_answers_in_a_conversation_get_the_same_response(client: AsyncOpenAI, api: ApiClient) -> None:
    made = await client.conversations.create()
    first = await client.responses.create(
        input="/call pick {}\n/say a\n/call pick {}\n/say b", conversation=made.id, tools=[PICK]
    )
    given = [output_of(first, "7")]
    second = await client.responses.create(input=given, conversation=made.id)
    again = await client.responses.create(input=given, conversation=made.id)
    assert (again.id, again.output) == (second.id, second.output), "the turn waits for another call now"
    more = [output_of(second, "8")]
    third = await client.responses.create(input=more, conversation=made.id)
    for answers, response in ((more, third), (given, second)):
        repeat = await client.responses.create(input=answers, conversation=made.id)
        assert (repeat.id, repeat.output) == (response.id, response.output)
    with pytest.raises(openai.BadRequestError, match="waits"):
        await client.responses.create(input=[output_of(second, "9")], conversation=made.id)


async def test_a_repeated_approval_in_a_named_chat_gets_the_same_completion(client: AsyncOpenAI) -> None:
    named = {"antiphon-chat-id": "approvals"}
    asked: Any = {"role": "user", "content": "/call pay {}\n/say b"}
    made = await client.chat.completions.create(model="rehearsal", messages=[asked], extra_headers=named)
    (call,) = made.choices[0].message.tool_calls or ()
    answer: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"approve": true}'}
    first, again = [
        await client.chat.completions.create(model="rehearsal", messages=[answer], extra_headers=named)
        for _ in range(2)
    ]
    assert (again.id, again.choices[0].message.content) == (first.id, "b")
