"""Requests that are wrong in any way are errors as AG-UI's event, never a 500, and never run anything."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import msgspec
import pytest
from ag_ui.core import RunErrorEvent

from antiphon.api.agui.protocol import ROUTES
from antiphon.api.agui.runs import NEW_MESSAGES_MAX
from antiphon.api.agui.shapes import RunBody
from antiphon.api.http.table import Operation

from ..http.api_client import ApiClient
from ..http.invalid_requests import BROKEN_JSON, WRONG_VALUES, random_value
from ..http.wire import Answer

pytestmark = pytest.mark.anyio

FUZZED = 250
every_route = pytest.mark.parametrize("operation", ROUTES, ids=lambda o: f"{o.method} {o.full_path}")
RUN = "//agui"
STRINGS = (
    *("", "x", "user", "assistant", "system", "tool", "reasoning", "activity", "developer", "text", "image", "file"),
    *("data", "url", "function", "/say hi", "\ud800", "\x00", "data:;base64,aGk=", "aGk=", "text/plain", "resolved"),
    *("/api/v1/files/x", "http://[", "é", "{}", "[", "antiphon", "cancelled"),
)
KEYS = (
    *("id", "role", "content", "type", "text", "source", "value", "mimeType", "toolCallId", "toolCalls", "function"),
    *("name", "arguments", "error", "metadata", "filename", "encryptedValue", "interruptId", "status", "payload"),
)


def path_of(operation: Operation, name: str = "x") -> str:
    return "/" + operation.full_path.replace("{thread_id}", name)


def is_fine(answer: Answer) -> bool:
    """A success, or an error of the client as the event that AG-UI has for it."""
    if answer.status < 300:
        return True
    event = RunErrorEvent.model_validate(answer.json)
    return 400 <= answer.status < 500 and bool(event.message) and bool(event.code)


def asked(text: str = "/say x", **fields: Any) -> dict[str, Any]:
    message = {"id": "m", "role": "user", "content": text}
    return {"threadId": "t", "runId": "r", "messages": [message], **fields}


@every_route
async def test_a_request_without_a_good_token_is_refused_as_an_event(api: ApiClient, operation: Operation) -> None:
    for token in (None, "wrong"):
        answer = await api.ask(operation.method, path_of(operation), token=token)
        assert (answer.status, answer.json["type"], answer.json["code"]) == (401, "RUN_ERROR", "unauthenticated")
    answer = await api.ask(operation.method, path_of(operation), headers={"origin": "https://evil.example"})
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


async def test_a_body_that_is_no_such_json_is_an_event(api: ApiClient) -> None:
    for what, data in BROKEN_JSON.items():
        for path in (RUN, f"{RUN}/x/stop"):
            answer = await api.ask("POST", path, data=data)
            assert is_fine(answer), what
            assert answer.status >= 400, what
            assert len(answer.body) < 2_000, what


async def test_wrong_values_of_every_field_are_events(api: ApiClient) -> None:
    for number, field in enumerate(msgspec.structs.fields(RunBody)):
        for at, value in enumerate(WRONG_VALUES):
            body = asked(threadId=f"t{number}-{at}") | {field.encode_name: value}
            answer = await api.ask("POST", RUN, body)
            assert is_fine(answer), (field.name, value, answer.body)


def random_messages(random: Random) -> list[Any]:
    """Messages that are nearly right: a good beginning, with one field replaced or added."""
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    source = {"type": "data", "value": "aGk=", "mimeType": "text/plain"}
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "/say hi"},
        {"type": "document", "source": source, "metadata": {"filename": "a.txt"}},
        {"type": "image", "source": {"type": "url", "value": "data:image/png;base64,aGk="}},
    ]
    kinds: list[dict[str, Any]] = [
        {"role": "user", "content": "/say hi"},
        {"role": "user", "content": [dict(parts[0]), dict(random.choice(parts))]},
        {"role": "assistant", "content": "a", "toolCalls": [call]},
        {"role": "tool", "toolCallId": "c1", "content": "r"},
        {"role": "reasoning", "content": "hm"},
        {"role": "system", "content": "s"},
        {"role": "activity", "activityType": "x", "content": {}},
    ]
    messages = [{"id": f"m{n}", **random.choice(kinds)} for n in range(random.randint(1, 5))]
    if random.random() < 0.5:
        messages.append({"id": "last", **random.choice(kinds[:2])})
    spoiled: list[Any] = [*messages]
    for message in messages:
        content, calls = message.get("content"), message.get("toolCalls", [])
        spoiled += [part for part in (*(content if isinstance(content, list) else ()), *calls) if part]
    if random.random() < 0.8:
        one = random.choice(spoiled)
        one[random.choice([*one, random.choice(KEYS)])] = random_value(random, 3, STRINGS, KEYS)
    return messages


async def test_fuzzed_messages_are_answered_or_refused(api: ApiClient) -> None:
    random = Random("messages")
    taken = 0
    await api.ask("POST", RUN, asked("/call pay {}", threadId="waits"))
    for number in range(FUZZED):
        body = asked(threadId=f"t{number}", messages=random_messages(random))
        if random.random() < 0.3:
            body["threadId"] = random.choice(("t0", "waits"))
        if random.random() < 0.3:
            entry = {"interruptId": "call_3", "status": "resolved", "payload": {"approved": True}}
            entry[random.choice((*entry, "x"))] = random_value(random, 2, STRINGS, KEYS)
            body["resume"] = [entry]
        answer = await api.ask("POST", RUN, body)
        assert is_fine(answer), (body, answer.body)
        taken += answer.status == 200
    assert taken > FUZZED // 10


async def test_threads_of_others_and_names_that_are_no_chats_are_not_found(api: ApiClient) -> None:
    other = await api.as_owner("another owner")
    chat_id = await other.make_chat("/say x")
    assert (await api.ask("POST", RUN, asked(threadId=chat_id))).status == 404
    assert (await api.ask("POST", f"{RUN}/{chat_id}/stop")).status == 404
    assert (await api.ask("GET", f"{RUN}/{chat_id}")).status == 404
    for name in ("x", "%00", "%ff", "%20", "a%2fb", ".%2e"):
        assert (await api.ask("POST", f"{RUN}/{name}/stop")).status == 404, name
        assert b"RUN_FINISHED" in (await api.ask("GET", f"{RUN}/{name}")).body, name
    assert (await api.ask("GET", f"{RUN}/{'x' * 5_000}")).status == 400


async def test_requests_that_mean_nothing_are_refused(api: ApiClient) -> None:
    (message,) = asked()["messages"]
    image = {"type": "image", "source": {"type": "url", "value": "https://x.example/a.png"}}
    answer_to = {"interruptId": "x", "status": "resolved", "payload": {"approved": True}}
    for body, words in (
        (asked(messages=[]), "ends with"),
        (asked(messages=[message, {"id": "a", "role": "assistant", "content": "a"}]), "ends with"),
        (asked(messages=[message | {"role": "robot"}]), "role"),
        (asked(messages=[message | {"content": []}]), "content"),
        (asked(messages=[message | {"content": [{"type": "hologram"}]}]), "hologram"),
        (asked(messages=[message | {"content": [image]}]), "not fetched"),
        (asked(resume=[answer_to]), "no interrupts"),
        (asked(forwardedProps={"antiphon": {"model": "nothing:x"}}), "model"),
        (asked(forwardedProps={"antiphon": {"whenBusy": "x"}}), "forwardedProps.antiphon"),
        (asked(tools=[{"name": "a b"}]), "name"),
    ):
        answer = await api.ask("POST", RUN, body)
        assert is_fine(answer)
        assert answer.status >= 400
        assert words in answer.body.decode(), (words, answer.body)
    assert (await api.ask("GET", "/chats")).json["chats"] == []
    await api.ask("POST", RUN, asked())
    many = [message | {"id": f"n{number}"} for number in range(NEW_MESSAGES_MAX + 1)]
    for body, words in (
        (asked("/say other"), "another"),
        (asked(resume=[answer_to]), "no interrupt"),
        (asked(resume=[answer_to, answer_to]), "twice"),
        (asked(messages=many), "new messages"),
    ):
        answer = await api.ask("POST", RUN, body)
        assert is_fine(answer)
        assert words in answer.body.decode(), (words, answer.body)
    for method, path, status in (
        ("PATCH", RUN, 405),
        ("GET", "//agui/a/b/c", 404),
        ("GET", f"{RUN}/x?runId=", 400),
    ):
        assert (await api.ask(method, path)).status == status


async def test_requests_at_the_same_time_are_applied_one_after_the_other(api: ApiClient) -> None:
    sent = [asked(messages=[{"id": f"m{n}", "role": "user", "content": f"/say {n}"}]) for n in "ab"]
    answers = await asyncio.gather(*(api.ask("POST", RUN, body) for body in sent))
    assert [answer.status for answer in answers] == [200, 200]
    chat_id = answers[0].headers["antiphon-chat-id"]
    assert sorted((await api.texts(chat_id))[::2]) == ["user: /say a", "user: /say b"]
    waits = asked("/call pay {}\n/say done", threadId="open")
    chat_id = (await api.ask("POST", RUN, waits)).headers["antiphon-chat-id"]
    (call,) = (await api.chat(chat_id))["open_calls"]
    resumed = [
        asked(threadId="open", messages=[], runId=f"r{n}", resume=[
            {"interruptId": call["tool_call_id"], "status": "resolved", "payload": {"approved": n == 0}}
        ]) for n in range(3)
    ]  # fmt: skip
    answers = await asyncio.gather(*(api.ask("POST", RUN, body) for body in resumed))
    assert [answer.status for answer in answers] == [200] * 3
    assert any(b"antiphon.ignored" in answer.body for answer in answers)
