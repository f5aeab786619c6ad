"""The maximum size of all bodies, and of one owner's; small requests are always read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from antiphon.api.http.limits import HttpLimits
from support.waiting import wait_until

from .api_client import ApiClient, open_api
from .wire import Wire, make_request

pytestmark = pytest.mark.anyio

OWNER, ALL, SMALL = 300_000, 700_000, 20_000


@pytest.fixture
async def own_api() -> AsyncIterator[ApiClient]:
    limits = HttpLimits(owner_bytes_max=OWNER, bodies_bytes_max=ALL, small_bytes_max=SMALL)
    async with open_api(http_limits=limits) as api:
        yield api


def held(api: ApiClient) -> int:
    return api.instance.asgi._bodies._bytes


@asynccontextmanager
async def sending(api: ApiClient, size: int, *, wires: int = 1) -> AsyncIterator[None]:
    """An owner with `size` bytes in unfinished bodies, over `wires` connections."""
    chat_id = await api.make_chat()
    before, opened = held(api), []
    for _ in range(wires):
        wire = await Wire.open(api.port)
        path = f"/api/v1/chats/{chat_id}/messages"
        head = make_request("POST", path, token=api.token, headers={"content-length": str(size // wires + 1)})
        wire.send(head + b" " * (size // wires))
        opened.append(wire)
    await wait_until(lambda: held(api) - before == size // wires * wires, what="the bodies are read")
    try:
        yield
    finally:
        for wire in opened:
            await wire.close()
        await wait_until(lambda: held(api) == before, what="the bodies are released")


@pytest.mark.parametrize("wires", [1, 4, 10])
async def test_an_owner_over_its_share_is_refused_and_others_are_not(own_api: ApiClient, wires: int) -> None:
    greedy, other = await own_api.as_owner("greedy"), await own_api.as_owner("other")
    greedy_chat, other_chat = await greedy.make_chat(), await other.make_chat()
    async with sending(greedy, 280_000, wires=wires):
        answer = await greedy.send(greedy_chat, "x" * 50_000)
        assert (answer.status, answer.code) == (429, "too_many")
        assert answer.json["error"]["limit"] == OWNER
        assert answer.json["error"]["retry_after_ms"]
        assert "retry-after" in answer.headers
        assert (await other.send(other_chat, "x" * 200_000)).status == 201
    assert (await greedy.send(greedy_chat, "x" * 50_000)).status == 201, "its share is released"


async def test_small_requests_are_read_when_the_memory_for_bodies_is_full(own_api: ApiClient) -> None:
    first, second, third = [await own_api.as_owner(name) for name in ("first", "second", "third")]
    chat_id = await third.make_chat("/stall 60")
    turn_id = (await third.chat(chat_id))["turn_id"]
    async with sending(first, 290_000), sending(second, 290_000):
        answer = await third.send(chat_id, "x" * 150_000)
        assert (answer.status, answer.code) == (503, "unavailable")
        for api in (first, second, third):
            assert (await api.make_chat("hello")) != ""
        answer = await third.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})
        assert answer.json["interrupted"]


async def test_an_owner_over_its_share_can_interrupt(own_api: ApiClient) -> None:
    owner = await own_api.as_owner("greedy")
    chat_id = await owner.make_chat("/stall 60")
    turn_id = (await owner.chat(chat_id))["turn_id"]
    async with sending(owner, OWNER - 1):
        assert (await owner.send(chat_id, "x" * 50_000)).status == 429
        assert (await owner.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})).json["interrupted"]


async def test_all_bodies_are_released_after_concurrent_requests(own_api: ApiClient) -> None:
    chat_ids = [await own_api.make_chat() for _ in range(12)]
    answers = await asyncio.gather(*(own_api.send(chat_id, "x" * 90_000) for chat_id in chat_ids))
    assert {answer.status for answer in answers} <= {201, 429}
    assert any(answer.status == 201 for answer in answers)
    await wait_until(lambda: not held(own_api), what="nothing is counted")
    assert not own_api.instance.asgi._bodies._owners
