"""The fake model server, spoken to by a plain HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest

from antiphon.testing.model_server import FOREVER, Answer, FakeCall, FakeModelServer, Fault

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server


@pytest.fixture
async def client(server: FakeModelServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=10) as client:
        yield client


async def ask(client: httpx2.AsyncClient, **body: Any) -> httpx2.Response:
    return await client.post("/chat/completions", json={"model": "m", "messages": [], **body})


def chunks(response: httpx2.Response) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in response.content.split(b"\n\n") if line.startswith(b"data: ")]
    return [msgspec.json.decode(line) for line in lines if line != b"[DONE]"]


def text(response: httpx2.Response) -> str:
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks(response) for choice in chunk.get("choices", ())
    )


async def test_the_default_answer_carries_the_numbers_of_call_and_token(client: httpx2.AsyncClient) -> None:
    assert text(await ask(client, stream=True)) == "c1t1 c1t2 c1t3 c1t4 c1t5 c1t6 c1t7 c1t8 "
    response = await ask(client, stream=True)
    assert text(response).startswith("c2t1 ")
    assert response.headers["content-type"] == "text/event-stream"
    assert response.content.endswith(b"data: [DONE]\n\n")


async def test_a_request_for_no_stream_is_answered_whole(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(text="Hello there", calls=(FakeCall("add", {"a": 1}, id="x"),)))
    choice = (await ask(client)).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Hello there"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}


async def test_it_remembers_what_it_was_asked(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    await client.post("/chat/completions", json={"model": "m", "x": "é"}, headers={"Authorization": "Bearer k"})
    (seen,) = server.requests
    assert (seen.call, seen.path, seen.body) == (1, "/v1/chat/completions", {"model": "m", "x": "é"})
    assert seen.headers["authorization"] == "Bearer k"
    assert seen.is_answered
    assert not seen.is_abandoned


async def test_the_plan_is_followed_in_order_and_then_the_default(
    client: httpx2.AsyncClient, server: FakeModelServer
) -> None:
    server.plan(Answer(text="One"), Fault(status=500), Answer(text="Two"))
    responses = [await ask(client, stream=True) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 500, 200, 200]
    assert [text(responses[n]) for n in (0, 2)] == ["One", "Two"]
    assert text(responses[3]).startswith("c4t1 ")


async def test_the_default_may_depend_on_the_request() -> None:
    async with (
        FakeModelServer(default=lambda seen: Answer(text=seen.body["model"])) as server,
        httpx2.AsyncClient(base_url=server.base_url) as client,
    ):
        assert text(await ask(client, stream=True)) == "m"


async def test_usage_is_sent_if_it_was_requested(client: httpx2.AsyncClient) -> None:
    asked = await ask(client, stream=True, stream_options={"include_usage": True})
    assert chunks(asked)[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18}
    assert not any("usage" in chunk for chunk in chunks(await ask(client, stream=True)))


async def test_a_fault_has_its_status_headers_and_error_object(
    client: httpx2.AsyncClient, server: FakeModelServer
) -> None:
    server.plan(Fault(status=429, code="slow", type="limit", message="later", headers={"Retry-After": "3"}))
    response = await ask(client, stream=True)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert response.json() == {"error": {"message": "later", "type": "limit", "code": "slow"}}


async def test_another_path_is_not_found(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/embeddings", json={})).status_code == 404


async def test_a_cut_ends_the_connection_in_mid_token(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(cut_after=2))
    async with client.stream("POST", "/chat/completions", json={"stream": True}) as response:
        parts = response.aiter_raw()
        received = b""
        while b"c1t2" not in received or received.endswith(b"\n"):
            received += await anext(parts)
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(parts)
    assert not received.endswith(b"\n")
    assert server.requests[0].pieces_sent == 2


async def test_an_error_comes_within_the_stream(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(error_after=1, error={"message": "oh"}))
    response = await ask(client, stream=True)
    assert text(response) == "c1t1 "
    assert chunks(response)[-1] == {"error": {"message": "oh"}}
    assert b"[DONE]" not in response.content


async def test_one_byte_writes_arrive_whole(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(text="Größe 🎼", write_bytes=1))
    assert text(await ask(client, stream=True)) == "Größe 🎼"


async def test_the_end_can_be_left_out(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(sends_done=False), Answer(finish_reason=None, sends_done=False))
    first, second = await ask(client, stream=True), await ask(client, stream=True)
    assert chunks(first)[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks(second)[-1]["choices"][0]["finish_reason"] is None
    assert b"[DONE]" not in first.content + second.content


async def test_duplicate_ids_are_sent_as_planned(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(calls=(FakeCall("f", id="x"), FakeCall("g", id="x"))))
    calls = [
        call
        for chunk in chunks(await ask(client, stream=True))
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert [(call["index"], call["id"]) for call in calls if "id" in call] == [(0, "x"), (1, "x")]


async def test_a_stall_lasts_until_it_is_released(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=3, stall_headers_s=0.0))
    async with client.stream("POST", "/chat/completions", json={"stream": True}) as response:
        lines = response.aiter_lines()
        while "c1t3" not in await anext(lines):
            pass
        assert server.requests[0].pieces_sent == 3
        assert not server.requests[0].is_answered
        server.release()
        assert [line async for line in lines][-2] == "data: [DONE]"


async def test_a_client_that_leaves_during_a_stall_is_noticed(
    client: httpx2.AsyncClient, server: FakeModelServer
) -> None:
    server.plan(Answer(stall_headers_s=FOREVER))
    asking = asyncio.create_task(ask(client, stream=True))
    await server.wait_until(lambda: len(server.requests) == 1)
    asking.cancel()
    await server.wait_until(lambda: server.requests[0].is_abandoned)
    await asyncio.wait({asking})


async def test_tokens_can_be_paced(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(token_count=100, tokens_per_s=10_000))
    assert text(await ask(client, stream=True)).endswith("c1t100 ")


async def test_a_connection_is_kept_for_the_next_request(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    server.plan(Answer(), Fault(status=500), Answer())
    for _ in range(3):
        await ask(client, stream=True)
    assert [seen.connection for seen in server.requests] == [1, 1, 1]


async def test_garbage_ends_only_its_own_connection(client: httpx2.AsyncClient, server: FakeModelServer) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post("/chat/completions", content=b"{oops")
    assert (await ask(client, stream=True)).status_code == 200
