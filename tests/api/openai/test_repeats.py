"""Requests that a client sends again: with an idempotency key, or the same answers to the same calls."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from antiphon.errors import TooMany, Unavailable
from antiphon.wire.openai.ids import parse_conversation_id, parse_response_id

from ..http.api_client import ApiClient

pytestmark = pytest.mark.anyio


async def complete(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> Any:
    return await client.chat.completions.with_raw_response.create(
        model="rehearsal",
        messages=[{"role": "user", "content": text}],
        extra_headers=headers,
    )


async def test_a_repeat_of_the_request_that_created_a_named_chat_runs_nothing(
    client: AsyncOpenAI, api: ApiClient
) -> None:
    headers = {"antiphon-chat-id": "thread", "Idempotency-Key": "key 1"}
    first = await complete(client, "/say one", headers)
    chat_id = first.headers["antiphon-chat-id"]
    again = await complete(client, "/say one", headers)
    assert again.parse().id == first.parse().id
    assert await api.texts(chat_id) == ["user: /say one", "assistant: one"]
    with pytest.raises(openai.ConflictError):
        await complete(client, "/say other", headers)
    more = {"antiphon-chat-id": "thread", "Idempotency-Key": "key 2"}
    second = await complete(client, "/say two", more)
    repeat = await complete(client, "/say two", more)
    late = await complete(client, "/say one", headers)
    assert (repeat.parse().id, late.parse().id) == (second.parse().id, first.parse().id)
    assert len(await api.texts(chat_id)) == 4


@pytest.mark.parametrize("is_completion", [True, False])
@pytest.mark.parametrize(
    ("error", "status"),
    [(TooMany("watchers", 1), 429), (Unavailable("no store"), 503), (ValueError("a mistake"), 500)],
)
async def test_an_error_after_the_start_is_not_repeated_by_the_client(
    client: AsyncOpenAI,
    api: ApiClient,
    monkeypatch: pytest.MonkeyPatch,
    is_completion: bool,
    error: Exception,
    status: int,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(api.instance.watch, "open_watcher", refuse)
    patient = client.with_options(max_retries=2)
    asking = complete(patient, "/say one", {}) if is_completion else patient.responses.create(input="/say one")
    with pytest.raises(openai.APIStatusError) as caught:
        await asking
    assert (caught.value.status_code, caught.value.response.headers["x-should-retry"]) == (status, "false")
    assert "message" in caught.value.response.json()["error"]
    assert len((await api.ask("GET", "/chats")).json["chats"]) == 1


async def test_a_request_whose_effect_is_unknown_is_not_repeated_by_the_client(
    client: AsyncOpenAI, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_: Any, **__: Any) -> Any:
        raise Unavailable("the answer was lost", is_uncertain=True)

    monkeypatch.setattr(api.instance.store, "append", lose)
    with pytest.raises(openai.InternalServerError) as caught:
        await client.with_options(max_retries=2).responses.create(input="/say one")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.json()["error"]["antiphon"]["is_uncertain"] is True


async def test_an_error_of_a_read_may_be_repeated(
    client: AsyncOpenAI, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await client.responses.create(input="/say one")

    def refuse(*_: Any, **__: Any) -> Any:
        raise TooMany("watchers", 1)

    monkeypatch.setattr(api.instance.watch, "open_watcher", refuse)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.responses.retrieve(made.id)
    assert "x-should-retry" not in caught.value.response.headers


async def test_a_repeat_in_a_conversation_runs_nothing(client: AsyncOpenAI, api: ApiClient) -> None:
    headers = {"Idempotency-Key": "key 1"}
    made = await client.conversations.create(extra_headers=headers)
    first = await client.responses.create(input="/say one", conversation=made.id, extra_headers=headers)
    again = await client.responses.create(input="/say one", conversation=made.id, extra_headers=headers)
    assert again.id == first.id
    assert len(await api.texts(parse_conversation_id(made.id))) == 2


async def test_a_repeat_of_a_branch_runs_nothing_whatever_became_of_the_chat(
    client: AsyncOpenAI, api: ApiClient
) -> None:
    first = await client.responses.create(input="/say one")
    second = await client.responses.create(input="/say two", previous_response_id=first.id)
    headers = {"Idempotency-Key": "key 1"}
    asked: Any = {"input": "/say three", "previous_response_id": first.id, "extra_headers": headers}
    branch = await client.responses.create(**asked)
    chat_id = parse_response_id(first.id).chat_id
    changed = await api.ask("PATCH", f"/chats/{chat_id}", {"labels": {"k": "v"}})
    assert changed.status == 200
    await client.responses.create(input="/stall 600", previous_response_id=second.id, background=True)
    again = await client.responses.create(**asked)
    assert (again.id, again.output_text) == (branch.id, "three")
    with pytest.raises(openai.ConflictError):
        await client.responses.create(**asked | {"input": "/say four"})
    assert len((await api.ask("GET", "/chats")).json["chats"]) == 2
