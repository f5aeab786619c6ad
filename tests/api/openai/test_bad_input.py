"""Requests that are wrong in any way are errors of the protocol, never a 500, and never run anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from antiphon.api.http.table import Operation
from antiphon.api.openai.protocol import ROUTES
from antiphon.api.protocols import PROTOCOLS, protocols_without
from antiphon.errors import Invalid

from ..http.api_client import ApiClient, open_api, random_chat_id
from ..http.invalid_requests import BROKEN_JSON, WRONG_VALUES, random_value
from ..http.wire import Answer

pytestmark = pytest.mark.anyio

FUZZED = 150
every_route = pytest.mark.parametrize("operation", ROUTES, ids=lambda o: f"{o.method} {o.full_path}")
with_body = pytest.mark.parametrize("operation", [o for o in ROUTES if o.body is not None], ids=lambda o: o.name)

REQUIRED = {
    "create_response": False,
    "create_completion": True,
    "create_conversation": False,
    "update_conversation": True,  # the conversation is missing
}
"""Whether no body without known fields succeeds. Unknown fields are ignored."""
RESPONSE_ID = "resp_" + "0" * 32 + "_2"
STRINGS = (
    *("", "x", "user", "assistant", "system", "tool", "function_call", "function_call_output", "message", "text"),
    *("input_text", "input_image", "image_url", "mcp_approval_response", "mcp_call", "reasoning", "call-2-1"),
    *("/say hi", "{}", "[1", "data:image/png;base64,aGk=", "\ud800", "\x00", RESPONSE_ID, "conv_" + "0" * 32),
)
KEYS = (
    *("type", "role", "content", "text", "call_id", "name", "arguments", "output", "summary", "approve", "id"),
    *("approval_request_id", "image_url", "file_id", "tool_calls", "function", "tool_call_id", "parameters"),
)


def path_of(operation: Operation, name: str = "") -> str:
    path = operation.full_path
    for variable in ("response_id", "conversation_id", "model"):
        path = path.replace("{" + variable + "}", name or RESPONSE_ID)
    return "/" + path


def error_of(answer: Answer) -> dict[str, Any]:
    """The error in OpenAI's shape."""
    error: dict[str, Any] = answer.json["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert {"param", "code"} <= error.keys()
    return error


def is_fine(answer: Answer) -> bool:
    """A success, or an error of the client in the shape of the protocol."""
    return answer.status < 300 or (400 <= answer.status < 500 and bool(error_of(answer)))


@every_route
async def test_a_request_without_a_good_token_is_refused_in_the_shape_of_the_protocol(
    api: ApiClient, operation: Operation
) -> None:
    for token in (None, "wrong"):
        answer = await api.ask(operation.method, path_of(operation), token=token)
        assert (answer.status, error_of(answer)["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    answer = await api.ask(operation.method, path_of(operation), headers={"origin": "https://evil.example"})
    assert (answer.status, error_of(answer)["type"]) == (403, "permission_error")


@every_route
async def test_ids_that_nothing_has_are_not_found(api: ApiClient, operation: Operation) -> None:
    if "{" not in operation.path:
        return
    for name in ("x", "resp_", "conv_x", "%00", "%ff", "%20", "x" * 5_000, RESPONSE_ID, "conv_" + "0" * 32,
                 "resp_" + random_chat_id().replace("-", "") + "_2_1"):  # fmt: skip
        body = {} if operation.body is not None else None
        answer = await api.ask(operation.method, path_of(operation, name), body)
        assert (answer.status, error_of(answer)["type"]) == (404, "not_found_error"), name


@with_body
async def test_a_body_that_is_no_such_json_is_an_error_of_the_protocol(api: ApiClient, operation: Operation) -> None:
    for what, data in BROKEN_JSON.items():
        answer = await api.ask(operation.method, path_of(operation), data=data)
        assert is_fine(answer), what
        assert answer.status >= 400 or not REQUIRED[operation.name], what
        assert len(answer.body) < 2_000, what


@with_body
async def test_wrong_values_of_every_field_are_errors_of_the_protocol(api: ApiClient, operation: Operation) -> None:
    for field in msgspec.structs.fields(operation.body):
        for value in WRONG_VALUES:
            body = {"messages": [{"role": "user", "content": "/say x"}], "input": "/say x", "background": True}
            answer = await api.ask(operation.method, path_of(operation), body | {field.encode_name: value})
            assert is_fine(answer), (field.name, value, answer.body)


def random_items(random: Random) -> list[Any]:
    """Items that are nearly right: a good beginning, with one field replaced or added."""
    good: list[dict[str, Any]] = [
        {"role": "user", "content": "/say hi"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r"}]},
        {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "output": "1", "server_label": "antiphon"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]
    items = [dict(random.choice(good)) for _ in range(random.randint(1, 4))]
    chosen = random.choice(items)
    chosen[random.choice([*chosen, random.choice(KEYS)])] = random_value(random, 3, STRINGS, KEYS)
    return items


@pytest.mark.parametrize(("path", "field"), [("/v1/responses", "input"), ("/v1/chat/completions", "messages")])
async def test_fuzzed_items_are_answered_or_refused(api: ApiClient, path: str, field: str) -> None:
    random = Random(path)
    for _ in range(FUZZED):
        body: dict[str, Any] = {field: random_items(random), "background": True, "stream": field == "messages"}
        if random.random() < 0.2:
            body["tools"] = [{"type": "function", "name": "f", "function": random_value(random, 2, STRINGS, KEYS)}]
        answer = await api.ask("POST", "/" + path, body)
        assert is_fine(answer), (body, answer.body)


async def test_addresses_and_methods_that_are_missing_have_the_shape_of_the_protocol(api: ApiClient) -> None:
    for method, path, status in (
        ("GET", "//v1/none", 404),
        ("GET", "//v1/", 404),
        ("PATCH", "//v1/models", 405),
        ("GET", "//v1/responses", 405),
        ("GET", "//v1/models?token=x", 400),
        ("GET", f"//v1/responses/{RESPONSE_ID}?starting_after=x", 400),
        ("GET", f"//v1/conversations/conv_{'0' * 32}/items?limit=0", 400),
    ):
        answer = await api.ask(method, path)
        assert answer.status == status, path
        error_of(answer)
    assert (await api.ask("HEAD", "//v1/models")).status == 200


# --- turning it off


def names_off() -> Iterator[str]:
    yield from (protocol.name for protocol in PROTOCOLS)


@pytest.fixture(scope="module")
async def without(anyio_backend: Any) -> AsyncIterator[ApiClient]:
    async with open_api(no_api=tuple(names_off())) as opened:
        yield opened


async def test_a_protocol_that_is_turned_off_has_no_address_and_is_not_described(
    without: ApiClient, api: ApiClient
) -> None:
    assert (await without.ask("GET", "//v1/models")).json["error"]["code"] == "not_found"
    described = [(await one.ask("GET", "//openapi.json")).json["paths"] for one in (without, api)]
    assert not any(path.startswith("/v1/") for path in described[0])
    accept = {"accept": "application/json"}
    listed = [(await one.ask("GET", "//", headers=accept)).json["apis"] for one in (without, api)]
    assert [[one["name"] for one in apis] for apis in listed] == [["http"], ["http", *names_off()]]
    assert (
        (await api.ask("GET", "//", headers={"accept": "text/html"})).headers["content-type"].startswith("text/html")
    )
    assert {operation.full_path for operation in ROUTES} <= described[1].keys()


def test_only_a_protocol_can_be_turned_off() -> None:
    with pytest.raises(Invalid, match="openai"):
        protocols_without(["http"])
