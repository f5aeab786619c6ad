"""Large bodies are decoded in steps, between which the event loop is free."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.api.http.decoding import LARGE_BYTES, BodyDecoder
from antiphon.api.http.operations import OPERATIONS
from antiphon.errors import Invalid

pytestmark = pytest.mark.anyio

SEND = next(one for one in OPERATIONS if (one.method, one.path) == ("POST", "/chats/{chat_id}/messages"))
LARGE = b'{"content":"%b"}' % (b"x" * LARGE_BYTES)
DEEP = b'{"content":[{"type":"text","text":"x","provider_metadata":{"a":%b"%b"%b}}]}' % (
    b"[" * 70,
    b'[{,:\\"' * (LARGE_BYTES // 6),
    b"]" * 70,
)


async def test_the_loop_is_free_between_the_steps_of_a_large_body() -> None:
    decoder = BodyDecoder()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        body = await decoder.decode(SEND, LARGE)
        assert len(body.content) == LARGE_BYTES
        assert turns >= 3
        turns = 0
        with pytest.raises(Invalid, match="deep"):
            await decoder.decode(SEND, DEEP)
        assert turns >= 3
        turns = 0
        await decoder.decode(SEND, b'{"content":"small"}')
        assert turns == 0, "a small one needs no pause"
    finally:
        counting.cancel()


async def test_large_bodies_are_decoded_in_the_order_in_which_they_came_and_small_ones_pass() -> None:
    decoder = BodyDecoder()
    decoded: list[str] = []

    async def decode(name: str, data: bytes) -> None:
        await decoder.decode(SEND, data)
        decoded.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name, data in (("one", LARGE), ("two", LARGE), ("small", b'{"content":"x"}')):
            tasks.create_task(decode(name, data))
    assert decoded == ["small", "one", "two"]


async def test_a_refused_body_does_not_keep_the_next_one_waiting() -> None:
    decoder = BodyDecoder()
    for _ in range(2):
        with pytest.raises(Invalid):
            await decoder.decode(SEND, DEEP)
    assert await decoder.decode(SEND, LARGE)
