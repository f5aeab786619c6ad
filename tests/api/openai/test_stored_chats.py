"""What `store: false` and the deletion of a response remove: only a chat without another turn."""

from __future__ import annotations

import openai
import pytest
from openai import AsyncOpenAI

from support.waiting import wait_until

pytestmark = pytest.mark.anyio


async def wait_gone(client: AsyncOpenAI, response_id: str) -> None:
    await wait_until(lambda: is_gone(client, response_id))


async def is_gone(client: AsyncOpenAI, response_id: str) -> bool:
    try:
        await client.responses.retrieve(response_id)
    except openai.NotFoundError:
        return True
    return False


async def test_a_response_that_is_not_stored_leaves_the_chat_that_it_continues(client: AsyncOpenAI) -> None:
    first = await client.responses.create(input="/say one")
    second = await client.responses.create(input="/say two", previous_response_id=first.id, store=False)
    alone = await client.responses.create(input="/say three", store=False)
    await wait_gone(client, alone.id)  # the same code has run for `second` by then
    assert not await is_gone(client, first.id)
    assert not await is_gone(client, second.id)


async def test_a_chat_that_a_header_names_stays(client: AsyncOpenAI) -> None:
    headers = {"antiphon-chat-id": "kept"}
    for text in ("/say one", "/say two"):
        made = await client.chat.completions.create(
            model="antiphon", messages=[{"role": "user", "content": text}], store=False, extra_headers=headers
        )
        assert made.choices[0].message.content == text.removeprefix("/say ")
        alone = await client.responses.create(input="/say three", store=False)
        await wait_gone(client, alone.id)  # the same code has run for the named chat by then


async def test_a_chat_that_is_continued_at_once_is_not_deleted(client: AsyncOpenAI) -> None:
    made = await client.responses.create(input="/say one", store=False)
    try:
        following = await client.responses.create(input="/say two", previous_response_id=made.id)
    except openai.NotFoundError:
        return  # the deletion was first
    assert following.output_text == "two"
    assert not await is_gone(client, following.id)


async def test_the_last_response_of_a_longer_chat_cannot_be_deleted_alone(client: AsyncOpenAI) -> None:
    first = await client.responses.create(input="/say one")
    second = await client.responses.create(input="/say two", previous_response_id=first.id)
    with pytest.raises(openai.BadRequestError, match="longer conversation"):
        await client.responses.delete(second.id)
    assert not await is_gone(client, first.id)


async def test_a_response_with_a_history_in_its_input_can_be_deleted(client: AsyncOpenAI) -> None:
    made = await client.responses.create(
        input=[
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "/say one"},
        ]
    )
    await client.responses.delete(made.id)
    assert await is_gone(client, made.id)
