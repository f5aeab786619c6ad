"""Flushes are bounded: no write of drafts holds up the store for long, however much the drafts have gained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from antiphon.clock import SystemClock
from antiphon.core.facts import TurnEnded
from antiphon.core.parts import Reasoning, Text, ToolCallArgs, ToolCallOpened, ToolProgress
from antiphon.errors import Unavailable
from antiphon.ports import FlushedDelta
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.store import WrappedStore
from antiphon.worker.flusher import WRITE_BYTES_MAX, WRITE_DELTAS_MAX
from antiphon.worker.turn import Turn
from support.waiting import wait_until

from .running import answered, ask, facts_of, running

pytestmark = pytest.mark.anyio


class Flushes(WrappedStore):
    """Remembers the size of each flush; the `failing` next ones fail."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.batches: list[list[FlushedDelta]] = []
        self.failing = 0

    async def flush(self, deltas: Sequence[FlushedDelta]) -> None:
        if self.failing:
            self.failing -= 1
            raise Unavailable("the database does not answer")
        self.batches.append(list(deltas))
        await super().flush(deltas)


async def test_a_draft_of_many_parts_is_flushed_completely_in_bounded_batches() -> None:
    release = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[object]:
        for number in range(2_000):
            yield Reasoning(f"r{number}") if number % 2 else Text(f"t{number}")
        yield "x" * (3 * WRITE_BYTES_MAX)
        await release.wait()

    store = Flushes(MemoryStore(clock=SystemClock()))
    async with running(agent, store=store) as instance:
        talk = await ask(instance)
        draft = await wait_until(lambda: instance.drafts.get(talk.chat_id))
        await wait_until(lambda: store.batches and store.batches[-1][-1].to == draft.position > 3 * WRITE_BYTES_MAX)
        chat = await talk.chat()
        flushed = await store.read_flushed(talk.chat_id, chat.draft)
        assert [delta.from_ for delta in flushed] == [0, *(delta.to for delta in flushed[:-1])]
        assert flushed[-1].to == draft.position
        assert max(map(len, store.batches)) <= WRITE_DELTAS_MAX
        sizes = [sum(len(delta.body) for delta in batch) for batch in store.batches]
        assert max(sizes) < 2 * WRITE_BYTES_MAX
        release.set()
        await talk.wait_ended()


async def test_a_flush_that_fails_halfway_is_continued() -> None:
    release = asyncio.Event()

    async def agent(turn: Turn) -> AsyncIterator[object]:
        for number in range(2_000):
            yield Reasoning("r") if number % 2 else Text("t")
        await release.wait()

    store = Flushes(MemoryStore(clock=SystemClock()))
    async with running(agent, store=store) as instance:
        talk = await ask(instance)
        await wait_until(lambda: store.batches)
        store.failing = 1
        await wait_until(lambda: sum(map(len, store.batches)) >= 2_000)
        flushed = await store.read_flushed(talk.chat_id, (await talk.chat()).draft)
        assert flushed[-1].to == 2_000
        release.set()
        await talk.wait_ended()


@pytest.mark.parametrize("kind", ["calls", "parts", "progress"])
async def test_the_number_of_parts_in_an_answer_is_limited(kind: str) -> None:
    async def agent(turn: Turn) -> AsyncIterator[object]:
        for number in range(50_000):
            match kind:
                case "calls":
                    yield ToolCallOpened(f"c{number}", "ping")
                    yield ToolCallArgs("{}")
                case "parts":
                    yield Reasoning("r") if number % 2 else Text("t")
                case "progress":
                    yield ToolProgress("x", f"{number}")

    entries = await answered(agent)
    (ended,) = facts_of(entries, TurnEnded)
    message = ended.error.message if ended.error else ""
    expected = {"calls": "more than 128 tool calls", "parts": "more than 4,096 parts", "progress": ""}
    assert expected[kind] in message
    assert bool(message) == bool(expected[kind])
