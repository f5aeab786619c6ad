"""The PostgreSQL store: lost connections, several replicas, the database's clock, versions, query plans."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from antiphon.bus.memory import MemoryBus
from antiphon.chats.doctor import examine
from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.facts import Entry
from antiphon.core.model import FOLD_VERSION
from antiphon.errors import Invalid, Unavailable
from antiphon.ports import Append, Appended, Due, FlushedDelta, Mark, OutcomeUnknown, Share
from antiphon.store.postgres.append_document import append_json, document_of
from antiphon.store.postgres.schema import SCHEMA_VERSION
from antiphon.store.postgres.store import PostgresStore, open_postgres_store, prepare_database
from antiphon.store.postgres.timing import AppendLimits, StoreTiming
from antiphon.store.statements import load_statements
from antiphon.testing.ids import SeededIds
from antiphon.testing.stored_chat import ALL, StoredChat, content, receipt
from support.postgres import PostgresServer
from support.proxy import CuttingProxy
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

HOUR_US = 3_600_000_000
SQL = load_statements("postgres")


@asynccontextmanager
async def opened(url: str, pool_max: int = 4, **options: Any) -> AsyncIterator[PostgresStore]:
    store = await open_postgres_store(url, pool_max=pool_max, **options)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def change(url: str, sql: str) -> None:
    """Change the database without the store."""
    async with connected(url) as connection:
        await connection.execute(sql)


async def append_until_done(store: PostgresStore, append: Append) -> Appended:
    """Repeat an append whose outcome is unknown or that was not written, as the service does."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await store.append(append)
            except (OutcomeUnknown, Unavailable):
                await asyncio.sleep(0.02)


# --- lost connections


@pytest.mark.parametrize("lost", ["loses_question", "loses_answer"])
async def test_an_append_whose_answer_was_lost_is_repeated_and_written_once(lost: str, postgres_url: str) -> None:
    port = int(re.findall(r":(\d+)/", postgres_url)[0])
    async with CuttingProxy(port) as proxy, opened(postgres_url.replace(str(port), str(proxy.port)), 1) as store:
        chat = await StoredChat(store, "c").create(said="hi")
        append = chat.make(c.Rename(title="new"), receipts=(receipt("r"),))
        setattr(proxy, lost, True)
        with pytest.raises(OutcomeUnknown):
            await store.append(append)
        assert proxy.cuts == 1
        assert store.last_error is not None
        assert store.last_error.startswith("a write's answer was lost: ")
        assert await store.append(append) is Appended.DONE
        assert await store.append(append) is Appended.DONE
        assert store.last_error is None
        chat.state = append.chat
        await chat.check_sound()
        setattr(proxy, lost, True)
        assert await store.load("c") == chat.chat, "the store itself repeats a query"
        setattr(proxy, lost, True)
        await store.flush([FlushedDelta(chat_id="c", draft=chat.chat.draft, from_=0, to=1, body=b"x")])
        assert len(await store.read_flushed("c", chat.chat.draft)) == 1
        assert proxy.cuts == 3


async def test_a_link_whose_answer_was_lost_is_stored_once(postgres_url: str) -> None:
    port = int(re.findall(r":(\d+)/", postgres_url)[0])
    async with CuttingProxy(port) as proxy, opened(postgres_url.replace(str(port), str(proxy.port)), 1) as store:
        new = Share(share_id="s", chat_id="c", owner_id="o", created_at=0)
        await store.add_share(replace(new, share_id="t", chat_id="d"), b"other")  # prepares the statement
        proxy.loses_answer = True
        share = await store.add_share(new, b"hash")
        assert proxy.cuts == 1
        assert await store.list_shares("c") == (share,)


@pytest.mark.parametrize("held", ["keeps_question", "keeps_answer"])
async def test_a_half_open_connection_delays_a_caller_no_longer_than_the_statement_timeout(
    held: str, postgres_url: str
) -> None:
    """Nothing arrives on it, not even its end. The outcome of a write is then looked up, and it is written once."""
    timing = StoreTiming(statement_s=0.2)
    port = int(re.findall(r":(\d+)/", postgres_url)[0])
    async with (
        CuttingProxy(port) as proxy,
        opened(postgres_url.replace(str(port), str(proxy.port)), 1, timing=timing) as store,
    ):
        chat = await StoredChat(store, "c").create(said="hi")
        append = chat.make(c.Rename(title="new"), receipts=(receipt("r"),))
        async with asyncio.timeout(DEADLINE_S):
            setattr(proxy, held, True)
            with pytest.raises(OutcomeUnknown):
                await store.append(append)
            assert (await store.load("c") == append.chat) is (held == "keeps_answer")
            assert await store.append(append) is Appended.DONE
            setattr(proxy, held, True)
            assert await store.load("c") == append.chat, "the store itself repeats a query"
            service = Service(store=store, bus=MemoryBus(), ids=SeededIds(0))
            setattr(proxy, held, True)
            done = await service.execute("c", c.SendMessage(content=content("once"), client_message_id="m"))
        chat.state = done.chat
        await chat.check_sound()
        assert [entry.content for entry in await chat.entries()].count(content("once")) == 1


async def test_an_append_whose_session_is_terminated_before_the_commit_is_not_written(postgres_url: str) -> None:
    async with opened(postgres_url) as store, connected(postgres_url) as other:
        chat = await StoredChat(store, "c").create(said="hi")
        append = chat.make(c.Rename(title="new"))
        async with other.transaction():
            await other.execute("SELECT 1 FROM chats FOR UPDATE")
            waiting = asyncio.ensure_future(store.append(append))
            blocked = (
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%append_facts%'"
            )
            await wait_until(
                lambda: other.fetchval("SELECT pg_stat_clear_snapshot()::text || pid FROM (" + blocked + ") b")
            )
            await other.execute(f"SELECT pg_terminate_backend(pid) FROM ({blocked}) AS b")
            with pytest.raises(OutcomeUnknown):
                await waiting
        assert await store.load("c") == chat.chat, "the session was terminated before the commit"
        assert await append_until_done(store, append) is Appended.DONE


async def test_an_append_that_was_committed_when_its_session_was_terminated_is_recognized(postgres_url: str) -> None:
    """A deferred trigger delays the commits, and the sessions are terminated there."""
    slow = """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON facts DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION slow();
    """
    await change(postgres_url, slow)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%append_facts%' AND pid <> $1"
    async with opened(postgres_url) as store, connected(postgres_url) as other:
        chats = [StoredChat(store, f"c{i}") for i in range(3)]

        async def write(chat: StoredChat) -> None:
            for i in range(5):
                command = c.Rename(title=str(i)) if chat.state else c.CreateChat(owner_id="o")
                append = chat.make(command)
                assert await append_until_done(store, append) is Appended.DONE
                chat.state = append.chat

        writing = asyncio.gather(*(write(chat) for chat in chats))
        for _ in range(12):
            await other.execute("SELECT pg_sleep(0.013)")
            await other.execute(end, other.get_server_pid())
        async with asyncio.timeout(DEADLINE_S):
            await writing
        for chat in chats:
            assert chat.chat.seq == 5
            await chat.check_sound()


async def test_a_restart_of_the_database_delays_writes_and_loses_none(postgres_server: PostgresServer) -> None:
    """The server is stopped, stopped at once and killed, under writes: every append is written exactly once."""
    with PostgresServer(postgres_server.folder.parent / "restarted") as server:
        async with opened(server.url) as store:
            chats = [await StoredChat(store, f"c{i}").create() for i in range(6)]
            is_stopping = False

            async def write(chat: StoredChat) -> int:
                count = 0
                while not is_stopping:
                    append = chat.make(c.Rename(title=f"{count}"), receipts=(receipt(f"r{count}"),))
                    assert await append_until_done(store, append) is Appended.DONE
                    chat.state = append.chat
                    count += 1
                return count

            writing = [asyncio.ensure_future(write(chat)) for chat in chats]
            for end in (server.stop, lambda: server.stop("immediate"), server.kill):
                before = chats[0].chat.seq
                await wait_until(lambda before=before: _is(chats[0].chat.seq > before + 3))  # type: ignore[misc]
                await asyncio.to_thread(end)
                await asyncio.to_thread(server.start)
            is_stopping = True
            counts = await asyncio.gather(*writing)
            assert [chat.chat.seq for chat in chats] == [1 + count for count in counts]
            report = await examine(store)
            assert report.is_sound, report.findings


async def _is(value: bool) -> bool:
    return value


async def test_a_database_that_remains_down_is_unavailable_after_a_timeout(postgres_url: str) -> None:
    timing = StoreTiming(wait_s=0.3)
    port = int(re.findall(r":(\d+)/", postgres_url)[0])
    async with CuttingProxy(port) as proxy:
        store = await open_postgres_store(postgres_url.replace(str(port), str(proxy.port)), timing=timing)
    for question in (store.load("c"), store.check(), store.read_messages("c", limit=1)):
        with pytest.raises(Unavailable, match="does not answer"):
            await question
    assert store.last_error
    await store.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await store.load("c")


async def test_queued_appends_fail_together_while_the_database_is_down(postgres_url: str) -> None:
    timing, limits = StoreTiming(wait_s=0.6), AppendLimits(shared_max=1)
    port = int(re.findall(r":(\d+)/", postgres_url)[0])
    async with CuttingProxy(port) as proxy:
        store = await open_postgres_store(
            postgres_url.replace(str(port), str(proxy.port)), timing=timing, limits=limits
        )
        chats = [await StoredChat(store, f"c{i}").create() for i in range(80)]
    async with asyncio.timeout(DEADLINE_S / 6):  # two after two they would take longer
        appends = [chat.make(c.Rename(title="new")) for chat in chats]
        outcomes = await asyncio.gather(*map(store.append, appends), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable | OutcomeUnknown) for outcome in outcomes)
    await store.aclose()


async def test_a_store_works_with_one_connection(postgres_url: str) -> None:
    async with opened(postgres_url, 1) as store:
        chats = [StoredChat(store, f"c{i}") for i in range(5)]

        async def use(chat: StoredChat) -> None:
            await chat.create(said="hi")
            attempt = await chat.start("i1")
            assert await store.renew("i1", [(chat.chat_id, attempt)])
            await chat.answer("done")
            await chat.check_sound()

        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(use(chat) for chat in chats))


async def test_an_append_whose_caller_is_cancelled_is_written_whole_or_not_at_all(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        chats = [await StoredChat(store, f"c{i}").create() for i in range(10)]
        for pause_s in (0, 0.001, 0.003):
            tasks = [asyncio.ensure_future(chat.send("x")) for chat in chats]
            await asyncio.sleep(pause_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for chat in chats:
                await chat.load()
        for chat in chats:
            assert await append_until_done(store, chat.make(c.Rename(title="y"))) in (
                Appended.DONE,
                Appended.CONFLICT,
            )
        assert (await examine(store)).is_sound


async def test_a_database_without_a_table_is_unavailable(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        chat = await StoredChat(store, "c").create()
        await change(postgres_url, "ALTER TABLE facts RENAME TO renamed")
        with pytest.raises(Unavailable, match=r'relation "facts" does not exist \(42P01\)'):
            await chat.send("x")
        assert store.last_error is not None
        assert "does not exist" in store.last_error
        with pytest.raises(Unavailable):
            await chat.entries()
        await change(postgres_url, "ALTER TABLE renamed RENAME TO facts")
        await chat.send("x")
        assert store.last_error is None


async def test_a_read_only_database_is_unavailable(postgres_server: PostgresServer, postgres_url: str) -> None:
    async with opened(postgres_url, 1) as store:
        await store._pool.rows("SET default_transaction_read_only = on")  # as on a server that became a standby
        assert await store.iter_chat_ids() == ()
        await store.check()  # over another connection
        name = postgres_url.rpartition("/")[2]
        postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await store._pool.rows("SET default_transaction_read_only = on")
        with pytest.raises(Unavailable, match="the server is read-only"):
            await store.check()
        assert store.last_error is not None
        assert "read-only" in store.last_error
    with pytest.raises(Unavailable, match="the server is read-only"):
        await open_postgres_store(postgres_url, timing=StoreTiming(open_s=3.0))


# --- several replicas


async def test_of_concurrent_writes_by_replicas_each_is_done_once(postgres_url: str) -> None:
    """Two stores write the same chats: every fact has its own seq, every claim one winner."""
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        seed = [await StoredChat(one, f"c{i}").create(said="hi") for i in range(4)]

        async def claim(store: PostgresStore, instance_id: str) -> list[str]:
            won = []
            for chat_id in await store.claimable(limit=ALL):
                chat = StoredChat(store, chat_id)
                await chat.load()
                if not chat.chat.attempt:
                    result = await chat.offer(chat.make(c.StartAttempt(instance_id=instance_id)))
                    won += [chat_id] if result is Appended.DONE else []
            return won

        won = await asyncio.gather(*(claim(store, f"i{i}") for i, store in enumerate((one, two, one, two))))
        assert sorted(chat_id for each in won for chat_id in each) == [chat.chat_id for chat in seed]

        async def write(store: PostgresStore, chat_id: str, client_id: str) -> Appended:
            chat = StoredChat(store, chat_id)
            while True:
                await chat.load()
                result = await chat.offer(
                    chat.make(c.Rename(title=f"{client_id} {id(store)}"), receipts=(receipt(client_id),))
                )
                if result is not Appended.CONFLICT:
                    return result

        results = await asyncio.gather(*(write(store, "c0", f"r{i}") for i in range(8) for store in (one, two)))
        assert sorted(results) == sorted([Appended.DONE, Appended.ANSWERED] * 8)
        created = await asyncio.gather(
            *(store.append(StoredChat(store, "new").make(c.CreateChat(owner_id="o"))) for store in (one, two, one))
        )
        assert sorted(created) == [Appended.CONFLICT, Appended.CONFLICT, Appended.DONE]
        names = await asyncio.gather(*(store.create_owner("same") for store in (one, two) for _ in range(5)))
        assert len(set(names)) == 1
        report = await examine(two)
        assert report.is_sound, report.findings


@pytest.mark.parametrize("skew_us", [HOUR_US, -HOUR_US])
async def test_leases_expire_by_the_clock_of_the_database_alone(skew_us: int, postgres_url: str) -> None:
    async with opened(postgres_url) as right, opened(postgres_url) as wrong:
        await change(postgres_url, uptime(5_000_000))
        chat = await StoredChat(right, "c").create(said="hi")
        attempt = await chat.start("i1")
        wrong.clock._offset_us += skew_us  # type: ignore[attr-defined]
        expiry = chat.make(c.ExpireAttempt(attempt=attempt, reason="lease"))
        assert await wrong.due(limit=ALL) == ()
        assert await wrong.append(expiry) is Appended.LEASE_LIVE
        assert await wrong.renew("i1", [("c", attempt)])
        async with connected(postgres_url) as connection:
            left_us = await connection.fetchval("SELECT ends_at - store_now_us() FROM leases")
            assert 0 < left_us <= 10_000_000, "renewed by the database's clock"
            await connection.execute("UPDATE leases SET ends_at = store_now_us()")
        assert await wrong.due(limit=ALL) == (Due(chat_id="c", attempt=attempt, why="lease"),)
        assert await wrong.append(expiry) is Appended.DONE


def uptime(us: int) -> str:
    return f"CREATE OR REPLACE FUNCTION store_uptime_us() RETURNS BIGINT LANGUAGE sql AS $$ SELECT {us}::BIGINT $$"


async def test_a_restart_of_the_database_expires_no_lease(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        chat = await StoredChat(store, "c").create(said="hi")
        attempt = await chat.start("i1")
        await change(postgres_url, "UPDATE leases SET ends_at = 1;" + uptime(4_999_999))
        expiry = chat.make(c.ExpireAttempt(attempt=attempt, reason="lease"))
        assert await store.due(limit=ALL) == ()
        assert await store.append(expiry) is Appended.LEASE_LIVE
        await change(postgres_url, uptime(5_000_000))
        assert [due.why for due in await store.due(limit=ALL)] == ["lease"]
        assert await store.append(expiry) is Appended.DONE


async def test_a_store_uses_the_clock_of_the_database(postgres_url: str) -> None:
    later = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT + 3600000000"
    await change(
        postgres_url, f"CREATE OR REPLACE FUNCTION store_now_us() RETURNS BIGINT LANGUAGE sql AS $${later}$$"
    )
    async with opened(postgres_url) as store:
        assert abs(store.clock.now_us() - await store.read_time()) < 1_000_000
        chat = await StoredChat(store, "c").create(said="hi")
        await wait_until(lambda: store.claimable(limit=1))
        assert abs(chat.chat.updated_at - await store.read_time()) < 5_000_000


async def test_queued_appends_share_a_statement_and_a_commit(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        chats = [StoredChat(store, f"c{number}") for number in range(60)]
        await asyncio.gather(*(chat.create(said="hi") for chat in chats))
        async with connected(postgres_url) as other:
            commits = await other.fetchval("SELECT count(DISTINCT changed) FROM chats")
        assert commits < len(chats) / 2
        assert [await store.load(chat.chat_id) for chat in chats] == [chat.chat for chat in chats]


async def test_an_append_queued_as_a_statement_ends_is_written(postgres_url: str) -> None:
    """The next append follows an outcome at once, before the writer task has ended."""
    async with opened(postgres_url, limits=AppendLimits(statements_max=1)) as store, asyncio.timeout(DEADLINE_S):
        chat = await StoredChat(store, "c").create()
        for number in range(3):
            await chat.do(c.Rename(title=f"title {number}"))


async def test_appends_that_share_a_statement_have_their_own_outcomes(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        good, stale, broken, alone = [await StoredChat(store, name).create() for name in "dcba"]
        rename = c.Rename(title="new")
        old = stale.make(c.Rename(title="other"))
        await stale.do(rename)
        twice = broken.make(rename)
        twice = replace(twice, entries=(*twice.entries, *twice.entries))
        waiting = [good.make(rename), old, twice, alone.make(rename)]
        outcomes = await asyncio.gather(*map(store.append, waiting * 2), return_exceptions=True)
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] != []
        assert all(isinstance(outcomes[n], asyncpg.UniqueViolationError) for n in (2, 6))
        assert [outcomes[n] for n in (0, 1, 3, 4, 5, 7)] == [Appended.DONE, Appended.CONFLICT, Appended.DONE] * 2
        assert [(await store.load(name)).seq for name in "dcba"] == [2, 2, 1, 2]


async def test_chats_with_locked_rows_do_not_delay_others(postgres_url: str) -> None:
    limits = AppendLimits(lock_timeouts=("50ms", "20ms", "10s"))
    async with opened(postgres_url, pool_max=8, limits=limits) as store, connected(postgres_url) as other:
        chats = [await StoredChat(store, f"c{number}").create() for number in range(12)]
        locked, free = chats[:6], chats[6:]
        rename = c.Rename(title="new")
        async with other.transaction():
            await other.fetch("SELECT FROM chats WHERE chat_id = ANY ($1) FOR UPDATE", [x.chat_id for x in locked])
            waiting = [asyncio.create_task(chat.do(rename)) for chat in locked]
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(chat.do(rename) for chat in free))
            assert not any(task.done() for task in waiting)
            assert store.last_error is None
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*waiting)
        assert [(await store.load(chat.chat_id)).seq for chat in chats] == [2] * len(chats)


async def test_an_append_to_a_row_that_remains_locked_fails_and_writes_nothing(postgres_url: str) -> None:
    limits = AppendLimits(lock_timeouts=("10ms", "10ms", "20ms"))
    async with opened(postgres_url, limits=limits) as store, connected(postgres_url) as other:
        chat = await StoredChat(store, "c").create()
        async with other.transaction():
            await other.fetch("SELECT FROM chats FOR UPDATE")
            with pytest.raises(Unavailable, match="another session locks a row"):
                await store.append(chat.make(c.Rename(title="new")))
        await chat.do(c.Rename(title="newer"))
        assert await store.load("c") == chat.chat


async def test_an_append_that_cannot_be_encoded_fails_alone(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        good, broken = [await StoredChat(store, name).create() for name in "ab"]
        invalid = broken.make(c.SetDiffStatus(diff_status=1))
        invalid = replace(invalid, entries=tuple(_with_object(entry) for entry in invalid.entries))
        outcomes = await asyncio.gather(
            store.append(invalid), store.append(good.make(c.Rename(title="new"))), return_exceptions=True
        )
        assert isinstance(outcomes[0], TypeError)
        assert outcomes[1] is Appended.DONE


def _with_object(entry: Entry) -> Entry:
    return replace(entry, recorded=replace(entry.recorded, fact=replace(entry.fact, diff_status=object())))


async def test_a_transaction_that_commits_late_is_still_listed(postgres_url: str) -> None:
    async with opened(postgres_url) as store, connected(postgres_url) as other:
        early, late = StoredChat(store, "early"), await StoredChat(store, "late").create()
        _, mark = await store.changed(None, limit=ALL)
        slow = other.transaction()
        await slow.start()
        await other.fetchval(
            SQL["append"], document_of([append_json(late.make(c.Rename(title="begun first")))]), "1s"
        )
        await early.create()
        changed, mark = await store.changed(mark, limit=ALL)
        assert dict(changed)["early"] == 1
        await slow.commit()
        changed, mark = await store.changed(mark, limit=ALL)
        assert dict(changed)["late"] == 2
        await wait_until(lambda: _is_quiet(store))


async def _is_quiet(store: PostgresStore) -> bool:
    """Whether no listed change is listed again: other databases of the server write, too."""
    return (await store.changed((await store.changed(None, limit=ALL))[1], limit=ALL))[0] == ()


async def poll_by_page(store: PostgresStore, mark: Mark, limit: int) -> tuple[list[str], Mark]:
    """One poll from mark to mark: the chats of all its pages."""
    listed: list[str] = []
    for _ in range(10):
        page, mark = await store.changed(mark, limit=limit)
        listed += [chat_id for chat_id, _ in page]
        if len(page) < limit:
            return listed, mark
    raise AssertionError(f"the pages do not end: {listed}")


async def test_chats_changed_by_one_transaction_are_listed_page_by_page(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        expected = [(await StoredChat(store, f"c{i}").create()).chat_id for i in range(7)]
        await wait_until(lambda: _is_quiet(store))
        _, mark = await store.changed(None, limit=ALL)
        await change(postgres_url, "UPDATE chats SET changed = pg_current_xact_id()::text::bigint")
        listed, mark = await poll_by_page(store, mark, 3)
        assert sorted(listed) == expected
        await StoredChat(store, "later").create()
        assert "later" in (await poll_by_page(store, mark, 3))[0]


async def test_an_open_transaction_delays_no_page(postgres_url: str) -> None:
    """It is also listed if it commits between two pages, behind the current page."""
    async with opened(postgres_url) as store, connected(postgres_url) as other:
        late = await StoredChat(store, "late").create()
        await wait_until(lambda: _is_quiet(store))
        _, mark = await store.changed(None, limit=ALL)
        slow = other.transaction()
        await slow.start()
        await other.fetchval(
            SQL["append"], document_of([append_json(late.make(c.Rename(title="begun first")))]), "1s"
        )
        expected = [(await StoredChat(store, f"c{i}").create()).chat_id for i in range(7)]
        for _ in range(2):
            listed, mark = await poll_by_page(store, mark, 3)
            assert sorted(listed) == expected
        page, mark = await store.changed(mark, limit=3)
        assert len(page) == 3
        await slow.commit()
        listed, mark = await poll_by_page(store, mark, 3)
        again, _ = await poll_by_page(store, mark, 3)
        assert sorted({*(chat_id for chat_id, _ in page), *listed, *again}) == [*expected, "late"]


async def test_changes_are_listed_after_a_dump_was_restored_to_a_newer_server(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        old = await StoredChat(store, "old").create()
        _, mark = await store.changed(None, limit=ALL)
    await change(postgres_url, f"UPDATE chats SET changed = {1 << 40}")
    async with opened(postgres_url) as store:
        old.store = store
        assert (await store.changed(mark, limit=ALL))[0] == ()
        await StoredChat(store, "new").create()
        assert dict((await store.changed(mark, limit=ALL))[0]) == {"new": 1}
        await old.do(c.Rename(title="goes on"))
        assert dict((await store.changed(mark, limit=ALL))[0]) == {"new": 1, "old": 2}
        changed, mark = await store.changed(Mark(since=1 << 41), limit=ALL)  # a mark of the older server
        assert dict(changed) == {"new": 1, "old": 2}
        assert mark.since < 1 << 40


# --- versions, unusual values, passwords


async def test_of_concurrent_migrations_one_runs(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    applied = await asyncio.gather(*(prepare_database(url) for _ in range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, SCHEMA_VERSION]
    await change(url, f"INSERT INTO schema_migrations VALUES ({SCHEMA_VERSION + 7}, 'later')")
    with pytest.raises(Unavailable, match=rf"schema version {SCHEMA_VERSION + 7}.*knows {SCHEMA_VERSION}.*newer"):
        await open_postgres_store(url)
    postgres_server.drop_database(url)


async def test_the_url_may_choose_a_schema(postgres_url: str) -> None:
    url = f"{postgres_url}?options=-csearch_path%3Dsinging"
    with pytest.raises(Unavailable, match="search path"):
        await open_postgres_store(url)
    await change(postgres_url, "CREATE SCHEMA singing")
    async with opened(url) as store, opened(postgres_url) as other:
        await StoredChat(store, "c").create()
        assert await other.iter_chat_ids() == ()


async def test_a_chat_of_a_newer_version_is_read_only(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        chat = await StoredChat(store, "c").create(said="hi")
        await change(postgres_url, f"UPDATE chats SET fold_version = {FOLD_VERSION + 1}")
        with pytest.raises(Unavailable, match="newer version"):
            await chat.send("more")
        assert store.last_error is None, "nothing is wrong with the database"
        assert await store.load("c") == chat.chat


async def test_characters_that_postgresql_cannot_store_are_replaced(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        chat = await StoredChat(store, "a\0b").create(
            title="t\0", labels={"k\0": "v\0"}, said="\0 stays in a message"
        )
        listed = await store.list_chats(
            "o", archived=None, label=("k\0", "v\0"), title="T\0", limit=9, after=(1 << 60, "\ud800")
        )
        assert [item.chat_id for item in listed] == ["a\ufffdb"]
        assert b"\\u0000 stays" in (await chat.entries())[1].content  # type: ignore[operator]
        assert await store.load("a\0b") == chat.chat
        assert await store.load("\ud800") is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@127.0.0.1:1/db",
        "mysql://me:sesame@127.0.0.1/db",
        "postgresql://me:sesame@127.0.0.1:port/db",
        "postgresql://me:sesame@127.0.0.1:1/db?sslmode=sesame",
    ],
)
async def test_no_error_contains_a_password(url: str) -> None:
    with pytest.raises((Unavailable, Invalid)) as raised:
        await open_postgres_store(url, timing=StoreTiming(open_s=0.2))
    error: BaseException | None = raised.value
    while error is not None:
        assert "sesame" not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


# --- plans


async def test_every_statement_uses_an_index(postgres_url: str) -> None:
    """If the planner has the choice. Small tables are read as a whole."""
    small = {"leases", "instances", "owners", "tokens", "settings", "probe", "config", "config_version"}
    reads_all = {"forget_foreign_changes", "chat_ids"}
    async with connected(postgres_url) as connection:
        await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        for name, sql in SQL.items():
            statement = await connection.prepare(sql)
            values = ", ".join(["NULL"] * len(statement.get_parameters()))
            await connection.execute(f"PREPARE checked AS {sql}")
            call = f"checked ({values})" if values else "checked"
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE {call}"))
            await connection.execute("DEALLOCATE checked")
            scans = set(re.findall(r"Seq Scan on (\w+)", plan)) - small - {"pg_database"}
            assert not scans or name in reads_all, f"{name}: {plan}"
            assert "Sort" not in plan or name not in ("claimable", "list_chats"), plan


async def test_a_query_of_a_long_chat_reads_only_the_requested_range(postgres_url: str) -> None:
    """Counts the rows that the database read, of tables that were not analysed."""
    long = 3_000
    async with opened(postgres_url, pool_max=1) as store:
        chat = await StoredChat(store, "c").create(said="hi")
        await chat.start()
        for first in range(0, long, 100):
            names = range(first, first + 100)
            sends = [c.SendMessage(content=content("said")) for _ in names]
            await chat.do(*sends, receipts=tuple(receipt(f"r{name}") for name in names))
            await chat.do(c.Interrupt(turn_id=chat.chat.turn_id, clear_queue=True))
            await chat.do(c.FinishInterrupt(attempt=chat.chat.attempt, draft=chat.chat.draft))
            await chat.send("next")
            await chat.start()
        seq, draft = chat.chat.seq, chat.chat.draft
        queries: dict[str, Callable[[], Awaitable[Any]]] = {
            "append": lambda: chat.do(c.SendMessage(content=content("new")), receipts=(receipt("new"),)),
            "a repeat": lambda: store.append(chat.make(c.Rename(title="x"), receipts=(receipt("r7"),))),
            "a conflict": lambda: store.append(replace(chat.make(c.Rename(title="x")), after_seq=7)),
            "load": lambda: store.load("c"),
            "receipts": lambda: store.read_receipts("c", ["r5", "r2000", "none"]),
            "contents": lambda: store.read_contents("c", [5, seq - 5]),
            "entries": lambda: store.read_entries("c", seq - 5, limit=5, bytes_max=1_000_000),
            "messages": lambda: store.read_messages("c", limit=5),
            "older messages": lambda: store.read_messages("c", limit=5, before_id=seq // 2),
            "newer messages": lambda: store.read_messages("c", limit=5, after_id=seq // 2),
            "role": lambda: store.message_role("c", 2),
            "fate": lambda: store.queued_fate("c", seq - 3),
            "flushed": lambda: store.read_flushed("c", draft),
            "claimable": lambda: store.claimable(limit=5),
        }
        async with connected(postgres_url) as other:
            for name, query in queries.items():
                before = await _rows_read(store, other)
                await query()
                assert await _rows_read(store, other) - before < 100, name


async def _rows_read(store: PostgresStore, other: Any) -> int:
    await store._pool.rows("SELECT pg_stat_force_next_flush()")
    await store._pool.rows("SELECT 1")
    counted = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables"
    return int(await other.fetchval(counted))


async def test_replicas_on_one_directory_may_insert_its_token_at_once(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        owner_id = await store.create_owner("admin", is_admin=True)
        await asyncio.gather(*(store.add_token(owner_id, f"t{i}", b"hash of the same secret") for i in range(3)))
        assert len(await store.list_tokens()) == 1
