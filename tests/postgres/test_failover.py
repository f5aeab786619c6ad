"""A failover pair in one URL: the server that accepts writes is found, also after a failover."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import Unavailable
from antiphon.postgres.connection import connect
from antiphon.server.open_instance import open_instance
from antiphon.store.postgres.store import open_postgres_store
from support.postgres import PostgresServer, find_postgres
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its streaming standby."""
    with tempfile.TemporaryDirectory(prefix="antiphon-pair-") as folder:
        Path(folder).chmod(0o777)
        settings = {"wal_level": "replica", "hot_standby": "on"}
        with PostgresServer(Path(folder) / "one", **settings) as one:
            two = make_standby(one, Path(folder) / "two", settings)
            with two:
                yield one, two


def make_standby(primary: PostgresServer, folder: Path, settings: dict[str, str]) -> PostgresServer:
    """A copy of the running primary that replicates it."""
    folder.mkdir()
    program = [str(find_postgres() / "pg_basebackup"), "-D", str(folder / "data"), "-R", "-d", primary.url]
    subprocess.run(program, check=True, capture_output=True)
    standby = PostgresServer(folder, **settings)
    standby.adopt()
    return standby


def url_of_both(one: PostgresServer, two: PostgresServer, query: str = "") -> str:
    return f"postgresql://antiphon@127.0.0.1:{one.port},127.0.0.1:{two.port}/postgres{query}"


async def test_the_writable_server_is_found_after_a_promotion(pair: tuple[PostgresServer, PostgresServer]) -> None:
    one, two = pair
    async with open_instance(store=url_of_both(one, two), drain_s=0) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        await wait_caught_up(one, two)
        one.stop("immediate")
        two.execute("SELECT pg_promote()")
        done = None
        async with asyncio.timeout(DEADLINE_S):
            while done is None:
                try:
                    done = await instance.chats.send(chat_id, "/say after the switch")
                except Unavailable:
                    await asyncio.sleep(0.05)
            while (
                (await instance.chats.get(chat_id)).status != "waiting" or instance.problems() or instance.bus.error
            ):
                await asyncio.sleep(0.05)
        assert two.execute(f"SELECT count(*) FROM messages WHERE chat_id = '{chat_id}'") == "2"


LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"


async def wait_caught_up(one: PostgresServer, two: PostgresServer) -> None:
    """Wait until the standby has everything."""
    at = one.execute("SELECT pg_current_wal_flush_lsn()")
    await wait_until(lambda: two.execute(f"SELECT pg_last_wal_replay_lsn() >= '{at}'") == "t")


async def test_the_writable_server_is_used_in_any_order_of_the_url(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    one, two = pair
    chosen = "?target_session_attrs=primary&load_balance_hosts=random"
    for url in (url_of_both(one, two), url_of_both(two, one), url_of_both(two, one, chosen)):
        connection = await connect(url)
        assert await connection.fetchval("SELECT pg_is_in_recovery()") is False
        await connection.close()


async def test_a_server_that_becomes_read_only_is_replaced(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """No connection is lost: the pool, the lock's session and the bus each detect it."""
    one, two = pair
    async with open_instance(store=url_of_both(one, two), drain_s=0) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        await wait_caught_up(one, two)
        one.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        one.execute("SELECT pg_reload_conf()")
        two.execute("SELECT pg_promote()")
        await wait_until(lambda: two.execute(LOCKS) != "0")
        await wait_until(lambda: not (instance.problems() or instance.bus.error))
        await instance.chats.send(chat_id, "/say after the switch")
        assert two.execute(f"SELECT count(*) > 0 FROM messages WHERE chat_id = '{chat_id}'") == "t"


async def test_a_host_that_does_not_answer_is_skipped_and_named_when_none_does(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    database = postgres_url.rpartition("/")[2]
    url = f"postgresql://antiphon@127.0.0.1:1,127.0.0.1:{postgres_server.port}/{database}"
    store = await open_postgres_store(url)
    await store.check()
    await store.aclose()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1: .*; 127\.0\.0\.1:2: "):
        await open_postgres_store("postgresql://antiphon@127.0.0.1:1,127.0.0.1:2/db?connect_timeout=1")
