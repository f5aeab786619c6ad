"""What is being sent has bounds: for each owner and for all together, and small requests always pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.waiting import wait_until

from .door import Door, open_door
from .wire import Wire, make_request

pytestmark = pytest.mark.anyio

OWNER, ALL, SMALL = 300_000, 700_000, 20_000


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("OWNER_BYTES_MAX", OWNER), ("BODIES_BYTES_MAX", ALL), ("SMALL_BYTES_MAX", SMALL)):
        monkeypatch.setattr(f"antiphon.api.http.bodies.{name}", value)


@pytest.fixture
async def own_door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def held(door: Door) -> int:
    return door.instance.asgi._bodies._bytes


@asynccontextmanager
async def sending(door: Door, size: int, *, wires: int = 1) -> AsyncIterator[None]:
    """This owner has sent that many bytes in bodies without an end."""
    chat_id = await door.make_chat()
    before, opened = held(door), []
    for _ in range(wires):
        wire = await Wire.open(door.port)
        path = f"/api/v1/chats/{chat_id}/messages"
        head = make_request("POST", path, token=door.token, headers={"content-length": str(size // wires + 1)})
        wire.send(head + b" " * (size // wires))
        opened.append(wire)
    await wait_until(lambda: held(door) - before == size // wires * wires, what="they are read")
    try:
        yield
    finally:
        for wire in opened:
            await wire.close()
        await wait_until(lambda: held(door) == before, what="they are counted no more")


@pytest.mark.parametrize("wires", [1, 4, 10])
async def test_an_owner_that_uses_its_share_is_refused_and_others_are_not(own_door: Door, wires: int) -> None:
    greedy, other = await own_door.as_owner("greedy"), await own_door.as_owner("other")
    greedy_chat, other_chat = await greedy.make_chat(), await other.make_chat()
    async with sending(greedy, 280_000, wires=wires):
        answer = await greedy.send(greedy_chat, "x" * 50_000)
        assert (answer.status, answer.code) == (429, "too_many")
        assert answer.json["error"]["limit"] == OWNER
        assert answer.json["error"]["retry_after_ms"]
        assert "retry-after" in answer.headers
        assert (await other.send(other_chat, "x" * 200_000)).status == 201
    assert (await greedy.send(greedy_chat, "x" * 50_000)).status == 201, "its share is free again"


async def test_when_all_of_it_is_used_up_small_requests_pass_and_an_interrupt_is_done(own_door: Door) -> None:
    first, second, third = [await own_door.as_owner(name) for name in ("first", "second", "third")]
    chat_id = await third.make_chat("/stall 60")
    turn_id = (await third.chat(chat_id))["turn_id"]
    async with sending(first, 290_000), sending(second, 290_000):
        answer = await third.send(chat_id, "x" * 150_000)
        assert (answer.status, answer.code) == (503, "unavailable")
        for door in (first, second, third):
            assert (await door.make_chat("hello")) != ""
        answer = await third.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})
        assert answer.json["interrupted"]


async def test_the_one_that_is_refused_can_interrupt_too(own_door: Door) -> None:
    owner = await own_door.as_owner("greedy")
    chat_id = await owner.make_chat("/stall 60")
    turn_id = (await owner.chat(chat_id))["turn_id"]
    async with sending(owner, OWNER - 1):
        assert (await owner.send(chat_id, "x" * 50_000)).status == 429
        assert (await owner.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})).json["interrupted"]


async def test_many_at_once_leave_nothing_counted(own_door: Door) -> None:
    chat_ids = [await own_door.make_chat() for _ in range(12)]
    answers = await asyncio.gather(*(own_door.send(chat_id, "x" * 90_000) for chat_id in chat_ids))
    assert {answer.status for answer in answers} <= {201, 429}
    assert any(answer.status == 201 for answer in answers)
    await wait_until(lambda: not held(own_door), what="nothing is counted")
    assert not own_door.instance.asgi._bodies._owners
