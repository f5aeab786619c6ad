"""Stopping at a hundred instants: the partial that is kept is what everyone saw, and the next turn is not touched."""

from __future__ import annotations

import asyncio
import random
import uuid
from pathlib import Path

import pytest

from antiphon.core.events import CaughtUp, FactEvent
from antiphon.core.view import View
from antiphon.wire.gotime import parse_time_us
from antiphon.wire.stream import decode_event
from support.waiting import DEADLINE_S

from .server_process import ServerProcess, SseStream

pytestmark = pytest.mark.anyio

STOPS = 100
AT_ONCE = 10


async def test_a_turn_is_stopped_at_a_hundred_random_points(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    rnd = random.Random(5)
    delays = [rnd.uniform(0, 0.6) for _ in range(STOPS)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(delay_s: float) -> None:
        async with gate:
            await _stop_once(server, delay_s)

    try:
        async with asyncio.TaskGroup() as tasks:
            for delay_s in delays:
                tasks.create_task(one(delay_s))
    finally:
        await server.kill()


async def _stop_once(server: ServerProcess, delay_s: float) -> None:
    chat_id = str(uuid.uuid4())
    await server.ask("POST", "/chats", {"id": chat_id})
    stream = await server.open_stream(f"/chats/{chat_id}/stream?after=0")
    view = View()
    await _read_until(stream, view, lambda event: isinstance(event, CaughtUp))
    _, sent = await server.ask("POST", f"/chats/{chat_id}/messages", {"content": "/tokens 60\n/rate 120\n/think hm"})
    await server.ask("POST", f"/chats/{chat_id}/messages", {"content": "/tokens 3"})
    await asyncio.sleep(delay_s)
    turn_id = sent["message"]["turn_id"]
    _, answer = await server.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})
    ends: list[tuple[int, str]] = []
    asked_at: list[int] = []

    def is_second_end(event: object) -> bool:
        if isinstance(event, FactEvent) and event.type == "interrupt_requested":
            asked_at.append(parse_time_us(event.at))
        if isinstance(event, FactEvent) and event.type == "turn_ended":
            ends.append((event.data["turn_id"], event.data["outcome"]))
            if event.data["outcome"] == "interrupted" and asked_at:
                assert parse_time_us(event.at) - asked_at[0] <= 1_000_000, "INTERRUPT: within a second, by the log"
        return len(ends) == 2

    partial_seen: list[bool] = []
    await _read_until(stream, view, is_second_end, partial_seen)
    await stream.close()
    first, second = ends
    if answer["interrupted"]:
        assert first == (turn_id, "interrupted")
        assert all(partial_seen), "the kept partial is exactly what this watcher saw"
        usage = [m.get("usage", {}).get("output_tokens") for m in view.messages if m.get("interrupted")]
        assert all(usage), "what was used is recorded"
    else:
        assert first == (turn_id, "answered")
    assert second[1] == "answered", "the next turn is not touched"
    assert view.messages[-1]["content"] == [{"type": "text", "text": "w1 w2 w3 "}]


async def _read_until(stream: SseStream, view: View, is_last: object, partials: list[bool] | None = None) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (raw := await stream.next()) is not None:
            event = decode_event(raw[2], cursor=raw[0])
            if partials is not None and isinstance(event, FactEvent) and event.data.get("closes"):
                seen = "".join(part.text for part in view.draft.content())
                said = "".join(part["text"] for part in event.data["message"]["content"])
                partials.append(seen == said)
            view.apply(event)
            if is_last(event):  # type: ignore[operator]
                return
    raise AssertionError("the stream ended")
