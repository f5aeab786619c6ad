"""The doctor compares the sums of usage with what the chats' facts say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import asyncpg
import pytest

from antiphon.chats.doctor import examine
from antiphon.core import commands as c
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import Usage
from antiphon.ports import COUNT_MAX, USAGE_DAYS_KEPT, Store
from antiphon.store.memory.store import MemoryStore
from antiphon.store.postgres.store import open_postgres_store
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import StoredChat, content

pytestmark = pytest.mark.anyio

PRICED = Usage(input_tokens=100, output_tokens=20, cost_micros=75, priced_tokens=120)
DAY_S = 24 * 3600


async def answer(chat: StoredChat, *used: ModelUsage) -> None:
    """Run a turn of the chat that has used this."""
    await chat.send("and?") if chat.chat.turn_id == 0 else None
    attempt = await chat.start()
    last = c.CommitMessage(
        attempt=attempt, draft=chat.chat.draft, content=content("yes"), upto=3, used=used, is_last=True
    )
    await chat.do(last)


async def fill(store: Store) -> None:
    """Two turns of one chat with two models, a title, and a deleted chat of the same owner."""
    chat = await StoredChat(store, "kept").create(said="hi")
    await answer(chat, ModelUsage(model="a", calls=2, usage=PRICED), ModelUsage(model="b", calls=1))
    await answer(chat, ModelUsage(model="a", calls=1, usage=PRICED))
    await chat.do(c.GenerateTitle(title="A title", used=(ModelUsage(model="b", calls=1, usage=PRICED),)))
    gone = await StoredChat(store, "gone").create(said="hi")
    await answer(gone, ModelUsage(model="a", calls=5, usage=PRICED))
    await gone.do(c.Delete())


async def run_sql(url: str, sql: str) -> None:
    if not url.startswith("postgresql:"):
        connection = apsw.Connection(url)
        connection.execute(sql)
        connection.close()
        return
    database = await asyncpg.connect(url)
    try:
        await database.execute(sql)
    finally:
        await database.close()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    if url.startswith("postgresql:"):
        store: Store = await open_postgres_store(url)
    else:
        store = await open_sqlite_store(Path(url), clock=FakeClock())
    try:
        yield store
    finally:
        await store.aclose()


async def check(url: str) -> None:
    async with opened(url) as store:
        await fill(store)
        report = await examine(store)
        assert report.is_sound, report.findings
        assert report.usage_sums == 2
    await run_sql(url, "UPDATE usage_days SET input_tokens = input_tokens - 101, turns = 1 WHERE model = 'a'")
    await run_sql(url, "DELETE FROM usage_days WHERE model = 'b'")
    async with opened(url) as store:
        of_a, of_b = (await examine(store)).findings
    assert of_a.chat_id == "*"
    assert "the usage of owner 'o' on " in str(of_a)
    assert "of the model 'a' is less than the chats' facts say: 1 turns instead of 2, 199 input tokens" in str(of_a)
    assert "0 calls instead of 2" in str(of_b)


async def test_sums_that_are_less_than_the_facts_say_are_reported(tmp_path: Path) -> None:
    await check(str(tmp_path / "antiphon.db"))


async def test_sums_in_postgresql_are_examined_as_well(postgres_url: str) -> None:
    await check(postgres_url)


async def test_a_sum_at_its_maximum_and_days_that_are_not_kept_are_no_findings() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    chat = await StoredChat(store, "c").create(said="hi")
    huge = Usage(input_tokens=COUNT_MAX, output_tokens=1)
    for _ in range(2):
        await answer(chat, ModelUsage(model="a", calls=1, usage=huge))
    assert (await examine(store)).is_sound
    clock.advance(USAGE_DAYS_KEPT * DAY_S)
    await store.delete_usage(1 << 40)
    report = await examine(store)
    assert (report.findings, report.usage_sums) == ((), 0)
