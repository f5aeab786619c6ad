"""Requests that are wrong in any way are errors with a sentence, never a 500, and never run anything."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from antiphon.api.http.table import Operation
from antiphon.api.ui_stream.protocol import ROUTES
from antiphon.api.ui_stream.shapes import ChatBody

from ..http.api_client import ApiClient
from ..http.invalid_requests import BROKEN_JSON, WRONG_VALUES, random_value
from ..http.wire import Answer

pytestmark = pytest.mark.anyio

FUZZED = 250
every_route = pytest.mark.parametrize("operation", ROUTES, ids=lambda o: f"{o.method} {o.full_path}")
CHAT = "//api/ui/chat"
STRINGS = (
    *("", "x", "user", "assistant", "system", "text", "file", "reasoning", "tool-clock", "dynamic-tool", "data-x"),
    *("output-available", "output-error", "approval-responded", "/say hi", "\ud800", "\x00", "data:;base64,aGk="),
    *("/api/v1/files/x", "http://[", "data:", "é", "step-start", "source-url", "input-streaming", "msg_" + "0" * 32),
)
KEYS = (
    *("id", "role", "parts", "type", "text", "url", "mediaType", "filename", "toolCallId", "toolName", "input"),
    *("output", "errorText", "approval", "approved", "state", "sourceId", "title", "data", "metadata"),
)


def path_of(operation: Operation, name: str = "x") -> str:
    return "/" + operation.full_path.replace("{id}", name)


def is_fine(answer: Answer) -> bool:
    """A success, or an error of the client as a sentence with its code."""
    if answer.status < 300:
        return True
    return 400 <= answer.status < 500 and bool(answer.body) and bool(answer.headers["antiphon-error"])


def asked(text: str = "/say x", **fields: Any) -> dict[str, Any]:
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": "c", "messages": [message], "trigger": "submit-message", **fields}


@every_route
async def test_a_request_without_a_good_token_is_refused_with_a_sentence(
    api: ApiClient, operation: Operation
) -> None:
    for token in (None, "wrong"):
        answer = await api.ask(operation.method, path_of(operation), token=token)
        assert (answer.status, answer.headers["antiphon-error"]) == (401, "unauthenticated")
        assert answer.headers["content-type"].startswith("text/plain")
    answer = await api.ask(operation.method, path_of(operation), headers={"origin": "https://evil.example"})
    assert (answer.status, answer.headers["antiphon-error"]) == (403, "forbidden")


async def test_a_body_that_is_no_such_json_is_a_sentence(api: ApiClient) -> None:
    for what, data in BROKEN_JSON.items():
        for path in (CHAT, f"{CHAT}/x/stop"):
            answer = await api.ask("POST", path, data=data)
            assert is_fine(answer), what
            assert answer.status >= 400, what
            assert len(answer.body) < 2_000, what


async def test_wrong_values_of_every_field_are_sentences(api: ApiClient) -> None:
    for number, field in enumerate(msgspec.structs.fields(ChatBody)):
        for at, value in enumerate(WRONG_VALUES):
            body = asked(id=f"c{number}-{at}") | {field.encode_name: value}
            answer = await api.ask("POST", CHAT, body)
            assert is_fine(answer), (field.name, value, answer.body)


def random_messages(random: Random) -> list[Any]:
    """Messages that are nearly right: a good beginning, with one field replaced or added."""
    tool = {"type": "tool-clock", "toolCallId": "c1", "input": {}}
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "/say hi"},
        {"type": "file", "mediaType": "text/plain", "url": "data:text/plain;base64,aGk="},
        {"type": "reasoning", "text": "r"},
        {"type": "step-start"},
        {**tool, "state": "output-available", "output": 1},
        {**tool, "state": "output-error", "errorText": "e"},
        {**tool, "state": "approval-responded", "approval": {"id": "c1", "approved": True}},
        {"type": "dynamic-tool", "toolName": "f", "toolCallId": "c2", "state": "output-available", "output": None},
        {"type": "source-url", "sourceId": "s", "url": "https://x.example"},
        {"type": "data-x", "data": 1},
    ]
    messages: list[dict[str, Any]] = []
    for number in range(random.randint(1, 4)):
        role = random.choice(("user", "assistant", "system"))
        chosen = [dict(random.choice(parts if role == "assistant" else parts[:2])) for _ in range(2)]
        messages.append({"id": f"m{number}", "role": role, "parts": chosen})
    spoiled: dict[str, Any] = random.choice([*messages, *(part for message in messages for part in message["parts"])])
    if random.random() < 0.8:
        spoiled[random.choice([*spoiled, random.choice(KEYS)])] = random_value(random, 3, STRINGS, KEYS)
    return messages


async def test_fuzzed_messages_are_answered_or_refused(api: ApiClient) -> None:
    random = Random("messages")
    taken = 0
    await api.ask("POST", CHAT, asked(id="waits", text="/call pay {}") | {"id": "waits"})
    for number in range(FUZZED):
        body: dict[str, Any] = {"id": f"c{number}", "messages": random_messages(random)}
        body["trigger"] = random.choice(("submit-message", "submit-message", "regenerate-message"))
        if random.random() < 0.3:
            body["id"] = random.choice(("c0", "waits"))
        if random.random() < 0.3:
            body["messageId"] = random.choice((*STRINGS, "m0", "m1"))
        answer = await api.ask("POST", CHAT, body)
        assert is_fine(answer), (body, answer.body)
        taken += answer.status == 200
    assert taken > FUZZED // 10


async def test_chats_of_others_and_names_that_are_no_chats_are_not_found(api: ApiClient) -> None:
    other = await api.as_owner("another owner")
    chat_id = await other.make_chat("/say x")
    assert (await api.ask("POST", CHAT, asked(id=chat_id))).status == 404
    assert (await api.ask("POST", f"{CHAT}/{chat_id}/stop")).status == 404
    assert (await api.ask("GET", f"{CHAT}/{chat_id}/stream")).status == 204
    assert (await api.ask("GET", f"{CHAT}/{chat_id}")).status == 404
    assert (await api.ask("GET", f"{CHAT}/unknown")).json == {"id": "unknown", "messages": [], "hasMore": False}
    for name in ("x", "%00", "%ff", "%20", "a%2fb", ".%2e"):
        assert (await api.ask("POST", f"{CHAT}/{name}/stop")).status == 404, name
        assert (await api.ask("GET", f"{CHAT}/{name}/stream")).status == 204, name
    assert (await api.ask("GET", f"{CHAT}/{'x' * 5_000}/stream")).status == 400


async def test_requests_that_mean_nothing_are_refused(api: ApiClient) -> None:
    (message,) = asked()["messages"]
    for body, words in (
        (asked(messages=[]), "messages"),
        (asked(messages=[message | {"role": "assistant"}]), "no such chat"),
        (asked(messages=[message | {"role": "tool"}]), "role"),
        (asked(messages=[message | {"parts": []}]), "content"),
        (asked(messages=[message | {"parts": [{"type": "data-x", "data": 1}]}]), "data-x"),
        (asked(messages=[message | {"parts": [{"type": "file", "url": "https://x.example/a.png"}]}]), "not fetched"),
        (asked(model="nothing:x"), "model"),
        (asked(tools=[{"name": "a b"}]), "name"),
    ):
        answer = await api.ask("POST", CHAT, body)
        assert is_fine(answer)
        assert answer.status >= 400
        assert words in answer.body.decode(), (words, answer.body)
    assert (await api.ask("GET", "/chats")).json["chats"] == []
    await api.ask("POST", CHAT, asked())
    for body, words in (
        (asked(messages=[message | {"role": "assistant"}]), "no answer"),
        (asked(messages=[message | {"id": "n"}], messageId="n"), "no such message"),
        (asked(messages=[message | {"id": "n"}], trigger="regenerate-message"), "no such message"),
        (asked("/say other"), "another"),
    ):
        answer = await api.ask("POST", CHAT, body)
        assert is_fine(answer)
        assert words in answer.body.decode(), (words, answer.body)
    for method, path, status in (
        ("PATCH", CHAT, 405),
        ("GET", "//api/ui/none", 404),
        ("GET", f"{CHAT}/x?limit=0", 400),
    ):
        assert (await api.ask(method, path)).status == status
