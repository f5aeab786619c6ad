"""Behind a real PgBouncer: session mode works, transaction mode works with a second address or is refused at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from antiphon.bus.postgres import open_postgres_bus
from antiphon.errors import Invalid, Unavailable
from antiphon.ports import InstanceRecord
from antiphon.postgres.address import read_address
from antiphon.postgres.pooling import shares_sessions
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.store.copying import copy_store
from antiphon.store.postgres.pool import MISTAKES, Pool
from antiphon.store.postgres.store import open_postgres_store, prepare_database
from programs import needs_program
from support.pgbouncer import PgBouncer
from support.postgres import PostgresServer
from support.stopwatch import Stopwatch
from support.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.anyio, needs_program("pgbouncer")]


@pytest.fixture
def session(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(tmp_path / "session", postgres_server, mode="session") as pooler:
        yield pooler


@pytest.fixture
def transaction(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(tmp_path / "transaction", postgres_server, mode="transaction", pool_size=4) as pooler:
        yield pooler


@asynccontextmanager
async def two_replicas(url: str) -> AsyncIterator[tuple[Instance, Instance]]:
    async with open_instance(store=url, drain_s=0) as one, open_instance(store=url, drain_s=0) as other:
        yield one, other


async def next_type(watcher: Any, kind: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if kind in [frame.type for frame in (await watcher.next_batch()).frames]:
                return


async def check_two_replicas(url: str) -> None:
    """Turns, hints and presence work, and nothing is degraded."""
    async with two_replicas(url) as (one, other):
        assert other.bus.error is None
        chat_id = (await one.chats.create(title="t")).chat_id
        async with other.watch.open_watcher(chat_id, (1, 0)) as watcher:
            await next_type(watcher, "caught_up")
            await asyncio.gather(*(one.chats.send(chat_id, f"/say {n}") for n in range(5)))
            await next_type(watcher, "turn_ended")
        assert one.cluster is not None
        await wait_until(lambda: len([r for r in one.cluster.shown() if r.is_present]) == 2)
        await one.store.check()
        assert (one.store.last_error, one.bus.error, one.problems()) == (None, None, [])


async def test_session_mode_works(session: PgBouncer, postgres_url: str) -> None:
    await check_two_replicas(session.url_of(postgres_url))


async def test_transaction_mode_with_a_direct_address_works(
    transaction: PgBouncer, postgres_server: PostgresServer, postgres_url: str
) -> None:
    await check_two_replicas(f"{transaction.url_of(postgres_url)}?direct=127.0.0.1:{postgres_server.port}")


async def test_the_direct_address_may_be_a_url(transaction: PgBouncer, postgres_url: str) -> None:
    url = f"{transaction.url_of(postgres_url)}?direct={quote(postgres_url, safe='')}"
    store = await open_postgres_store(url)
    owner_id = await store.create_owner("ann")
    assert owner_id
    await store.aclose()


async def test_in_transaction_mode_no_settings_remain_in_shared_sessions(
    transaction: PgBouncer, postgres_server: PostgresServer, postgres_url: str
) -> None:
    store = await open_postgres_store(f"{transaction.url_of(postgres_url)}?direct=127.0.0.1:{postgres_server.port}")
    for _ in range(5):
        await store.check()
        (row,) = await store._pool.rows("SELECT current_setting('jit') AS jit")
        assert row["jit"] == "off", "each transaction has them"
    async with _plain(transaction.url_of(postgres_url)) as connection:
        for _ in range(5):
            async with connection.transaction():
                assert await connection.fetchval("SELECT current_setting('plan_cache_mode')") == "auto"
    await store.aclose()


@pytest.mark.parametrize("level", ["serializable", "repeatable read", "read uncommitted"])
async def test_each_transaction_is_read_committed_with_any_default_of_the_database(
    transaction: PgBouncer, postgres_server: PostgresServer, postgres_url: str, level: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    pool = Pool(read_address(transaction.url_of(postgres_url)), size=1, is_pooled=True)
    for _ in range(3):
        (row,) = await pool.rows("SELECT current_setting('transaction_isolation')")
        assert row[0] == "read committed"
    await pool.aclose()


@pytest.mark.parametrize(
    ("parameters", "sql"),
    [
        ("?work_mem=nonsense", "SELECT 1"),
        ("?unrecognized=1", "SELECT 1"),
        ("", "SELECT nonsense"),
        ("", "SELECT 1/0"),
        ("", "INSERT INTO late VALUES (1)"),
    ],
)
async def test_a_failed_transaction_leaves_no_open_transaction_in_the_pool(
    transaction: PgBouncer, postgres_server: PostgresServer, postgres_url: str, parameters: str, sql: str
) -> None:
    async with _plain(postgres_url) as connection:
        await connection.execute(
            "CREATE TABLE known (id int PRIMARY KEY);"
            "CREATE TABLE late (id int REFERENCES known DEFERRABLE INITIALLY DEFERRED)"
        )
    pool = Pool(read_address(transaction.url_of(postgres_url) + parameters), size=1, is_pooled=True)
    for _ in range(3):
        with pytest.raises((Unavailable, *MISTAKES), match=r"nonsense|unrecognized|such|zero|foreign key"):
            await pool.rows(sql)
        assert not any(each.is_in_transaction() for each in pool._idle)
    await pool.aclose()


@asynccontextmanager
async def _plain(url: str) -> AsyncIterator[Any]:
    import asyncpg

    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def load(url: str, clients: int) -> AsyncIterator[None]:
    """Run short transactions of `clients` clients through the pooler."""

    async def work() -> None:
        async with _plain(url) as connection:
            while True:
                await connection.execute("BEGIN; SELECT pg_sleep(random() * 0.002); COMMIT")

    tasks = [asyncio.create_task(work()) for _ in range(clients)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


@pytest.mark.parametrize(("pool_size", "clients"), [(2, 1), (2, 4), (4, 3), (8, 2), (8, 16)])
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_the_pool_mode_is_detected_while_other_clients_use_the_pooler(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, mode: str, pool_size: int, clients: int
) -> None:
    size = pool_size if mode == "transaction" else clients + 4
    with PgBouncer(tmp_path / "bouncer", postgres_server, mode=mode, pool_size=size) as pooler:
        url = pooler.url_of(postgres_url)
        async with load(url, clients), _plain(url) as one, _plain(url) as two:
            found = [await shares_sessions(one, two) for _ in range(15)]
        assert set(found) == {mode == "transaction"}


async def test_a_pooler_that_changes_to_transaction_mode_is_reported_until_it_changes_back(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    pooler = PgBouncer(tmp_path / "bouncer", postgres_server, mode="session")
    with pooler:
        url = f"{pooler.url_of(postgres_url)}?sslmode=disable"  # asyncpg drops the error of a TLS probe that is cut
        store = await open_postgres_store(url)
        record = InstanceRecord(instance_id="i", host="h", pid=1, version="1")
        await store.presence.register(record)
        assert store.last_error is None
        pooler.restart(mode="transaction")
        async with load(url, 3):
            await wait_until(lambda: store.last_error is not None and "?direct=HOST:PORT" in store.last_error)
        pooler.restart(mode="session")
        await wait_until(lambda: store.last_error is None)
        await store.aclose()


@pytest.mark.parametrize("pool_size", [1, 2, 20])
async def test_transaction_mode_without_a_direct_address_is_refused_at_once(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, pool_size: int
) -> None:
    with PgBouncer(tmp_path / "bouncer", postgres_server, mode="transaction", pool_size=pool_size) as pooler:
        url = pooler.url_of(postgres_url)
        for open_it in (open_postgres_store, prepare_database):
            stopwatch = Stopwatch()
            with pytest.raises(Invalid, match=r"transaction mode.*\?direct=HOST:PORT"):
                await open_it(url)
            assert stopwatch.elapsed_s() < 5


async def test_a_bus_reports_a_pooler_in_transaction_mode(transaction: PgBouncer, postgres_url: str) -> None:
    async with open_postgres_bus(transaction.url_of(postgres_url)) as bus:
        assert bus.error is not None
        assert "transaction mode" in bus.error


async def test_statement_mode_is_refused_with_the_poolers_message(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    with (
        PgBouncer(tmp_path / "bouncer", postgres_server, mode="statement") as pooler,
        pytest.raises(Unavailable, match="statement mode"),
    ):
        await open_postgres_store(pooler.url_of(postgres_url))


async def test_a_direct_address_of_another_database_is_refused(
    transaction: PgBouncer, postgres_server: PostgresServer, postgres_url: str
) -> None:
    other = postgres_server.create_database()
    with pytest.raises(Invalid, match="leads to another database"):
        await open_postgres_store(f"{transaction.url_of(postgres_url)}?direct={quote(other, safe='')}")
    postgres_server.drop_database(other)


async def test_a_database_unknown_to_the_pooler_is_refused_with_its_message(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with PgBouncer(tmp_path / "bouncer", postgres_server, mode="session", database="postgres") as pooler:
        stopwatch = Stopwatch()
        with pytest.raises(Unavailable, match=r"no such database.*nothing"):
            await open_postgres_store(f"postgresql://antiphon@127.0.0.1:{pooler.port}/nothing")
        assert stopwatch.elapsed_s() < 5


async def test_a_store_is_copied_through_a_pooler(
    session: PgBouncer, postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    async with open_instance(data=tmp_path / "data", drain_s=0) as instance:
        await instance.chats.create(title="t")
    source = f"sqlite:{tmp_path / 'data' / 'antiphon.db'}"
    copied = await copy_store(source, session.url_of(postgres_url), lambda table, rows: None)
    assert copied.rows["chats"] == 1
