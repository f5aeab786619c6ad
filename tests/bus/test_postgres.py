"""The bus over LISTEN and NOTIFY keeps the promises of its port on a real server, also when its connections fail."""

from __future__ import annotations

import asyncio
from random import Random

import asyncpg
import pytest

from antiphon.bus.postgres import PAYLOAD_MAX, PostgresBusTiming, name_of, open_postgres_bus, payload_of
from antiphon.errors import Invalid
from antiphon.testing.bus import FaultyBus
from antiphon.testing.bus_suite import BUS_CHECKS, BusCase, BusCheck, Recorder
from antiphon.testing.store_suite import check_name
from support.postgres import PostgresServer
from support.proxy import CuttingProxy
from support.waiting import DEADLINE_S, wait_until

from .ends import QUICK as QUICK_FIELDS
from .ends import UUID, check_many_channels, check_messages_arrive, connection_counts, two_ends_of

pytestmark = pytest.mark.anyio

QUICK = PostgresBusTiming(**QUICK_FIELDS)
STREAM = f"chat:stream:{UUID}"
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'antiphon bus'"

two_ends = two_ends_of(open_postgres_bus)


@pytest.mark.parametrize("check", BUS_CHECKS, ids=check_name)
async def test_bus(check: BusCheck, postgres_server: PostgresServer) -> None:
    async with two_ends(postgres_server.url) as case:
        await check(case)


@pytest.mark.parametrize("check", BUS_CHECKS, ids=check_name)
async def test_a_bus_with_faults_keeps_the_promises(check: BusCheck, postgres_server: PostgresServer) -> None:
    async with two_ends(postgres_server.url) as case:
        await check(BusCase(FaultyBus(case.first, Random(0)), FaultyBus(case.second, Random(1))))


# --- names and payloads


def test_channels_of_the_contract_keep_their_own_names() -> None:
    for channel in ("chat:config_change", f"chat:owner:{UUID}", STREAM, f"inbox_notification:owner:{UUID}"):
        assert name_of(channel) == channel


def test_a_json_text_is_sent_unchanged_and_everything_else_is_wrapped() -> None:
    assert payload_of(b'{"status":"\xc3\xa9"}') == '{"status":"é"}'
    assert payload_of('"é"'.encode(), is_ascii_only=True) == "~b:IsOpIg=="
    assert payload_of(b"") == ""
    assert payload_of(b"\0") == "~b:AA=="
    assert payload_of(b"\xff") == "~b:/w=="
    assert payload_of(b"~d:") == "~b:fmQ6"
    assert payload_of(b"x" * PAYLOAD_MAX) == "x" * PAYLOAD_MAX
    assert payload_of(b"x" * (PAYLOAD_MAX + 1)) is None
    assert payload_of(b"\xff" * PAYLOAD_MAX) is None


async def test_a_url_of_another_server_is_invalid() -> None:
    with pytest.raises(Invalid):
        async with open_postgres_bus("mysql://x"):
            pass


# --- a foreign peer


async def test_a_foreign_peer_exchanges_messages_under_the_channels_own_name(postgres_url: str) -> None:
    async with two_ends(postgres_url) as case:
        foreign = await asyncpg.connect(postgres_url)
        arrived: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        await foreign.add_listener(STREAM, lambda _, pid, channel, payload: arrived.put_nowait((channel, payload)))
        heard = Recorder()
        case.first.subscribe(STREAM, heard)
        await case.settle()
        case.first.publish_nowait(STREAM, b'{"status":"running"}')
        assert await asyncio.wait_for(arrived.get(), 10) == (STREAM, '{"status":"running"}')
        assert await heard.wait(1)
        await foreign.execute("SELECT pg_notify($1, $2)", STREAM, '{"status":"pending"}')
        assert (await heard.wait(2))[1] == b'{"status":"pending"}'
        drops = heard.drops
        for odd in ("~r:nonsense", f"~r:{UUID}", "~b:!!", "~x"):
            await foreign.execute("SELECT pg_notify($1, $2)", STREAM, odd)
        await heard.wait_for_drops(drops + 4)
        assert len(heard.messages) == 2
        await foreign.close()


# --- failures


async def test_a_terminated_connection_is_replaced_and_every_subscriber_notified(postgres_url: str) -> None:
    async with two_ends(postgres_url, timing=QUICK) as case:
        heard, other = Recorder(), Recorder()
        case.second.subscribe("a", heard)
        case.second.subscribe("b", other)
        await case.settle()
        drops, other_drops = heard.drops, other.drops
        killer = await asyncpg.connect(postgres_url)
        await killer.execute(KILL + " AND datname = current_database()")
        await killer.close()
        await heard.wait_for_drops(drops + 1)
        await other.wait_for_drops(other_drops + 1)
        await wait_until(
            lambda: case.first.error is None and case.second.error is None and connection_counts(case) == (2, 2)
        )
        await check_messages_arrive(case, heard)


async def test_a_half_open_connection_is_detected_and_replaced(postgres_url: str) -> None:
    address = postgres_url.split("@")[1].split("/")[0]
    async with CuttingProxy(int(address.split(":")[1])) as proxy:
        url = postgres_url.replace(address, f"127.0.0.1:{proxy.port}")
        async with two_ends(url, timing=QUICK) as case:
            heard = Recorder()
            case.second.subscribe("a", heard)
            await case.settle()
            drops = heard.drops
            proxy.is_silent = True
            await wait_until(lambda: case.second.error is not None and case.first.error is not None)
            assert "no answer within 1 s" in str(case.second.error)
            proxy.is_silent = False
            await heard.wait_for_drops(drops + 1)
            await check_messages_arrive(case, heard)


async def test_it_works_before_its_server_starts_and_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("postgres")
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(0o755)
    with PostgresServer(folder / "server") as server:
        server.stop("immediate")
        async with open_postgres_bus(server.url, timing=QUICK) as bus:
            assert bus.error is not None
            heard = Recorder()
            bus.subscribe("a", heard)
            bus.publish_nowait("a", b"one")
            assert await heard.wait(1) == [b"one"], "a process's own hints do not need the server"
            server.start()
            await heard.wait_for_drops(1)
            await wait_until(lambda: bus.error is None)
            server.kill()
            await wait_until(lambda: bus.error is not None)
            server.start()
            await heard.wait_for_drops(2)
            await wait_until(lambda: bus.error is None)


async def test_large_messages_are_stored_in_a_table_and_deleted_when_old(postgres_url: str) -> None:
    timing = PostgresBusTiming(**QUICK_FIELDS, sweep_s=0.0)
    async with two_ends(postgres_url, timing=timing) as case:
        heard = Recorder()
        case.second.subscribe("a", heard)
        await case.settle()
        case.first.publish_nowait("a", b"{" + b"x" * 10_000)
        assert await heard.wait(1) == [b"{" + b"x" * 10_000]
        peer = await asyncpg.connect(postgres_url)
        assert await peer.fetchval("SELECT count(*) FROM bus_messages") == 1
        await peer.execute("UPDATE bus_messages SET created_at = now() - interval '2 minutes'")
        count = "SELECT count(*) FROM bus_messages"
        await wait_until(lambda: peer.fetchval(count), accept=lambda found: found == 0)
        await peer.close()


async def test_a_message_of_any_size_arrives_whole(postgres_server: PostgresServer) -> None:
    async with two_ends(postgres_server.url) as case:
        bus, heard = FaultyBus(case.first, Random(3), oversize=0.3), Recorder()
        case.second.subscribe("a", heard)
        await case.settle()
        drops = heard.drops
        for i in range(20):
            bus.publish_nowait("a", b'{"seq":%d}' % i)
        assert 0 < bus.oversized < 20
        messages = await heard.wait(20)
        assert sorted(int((message or b"")[7:].strip(b" }")) for message in messages) == list(range(20))
        assert heard.drops == drops


async def test_ten_thousand_channels_are_subscribed_and_unsubscribed(postgres_url: str) -> None:
    async with two_ends(postgres_url, timing=PostgresBusTiming(answer_s=DEADLINE_S)) as case:
        await check_many_channels(case)
