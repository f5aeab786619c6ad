"""The bus over NATS keeps the promises of its port on a real server, through its restarts, freezes and limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import trustme

from antiphon.bus.nats import NatsBus, connect_options, open_nats_bus, subject_of
from antiphon.bus.networked import BusTiming
from antiphon.bus.send_queue import QueueLimits
from antiphon.errors import Invalid
from antiphon.observe.metrics import METRICS
from antiphon.testing.bus import FaultyBus
from antiphon.testing.bus_suite import BUS_CHECKS, BusCase, BusCheck, Recorder
from antiphon.testing.store_suite import check_name
from programs import needs_program
from support.nats import NatsServer
from support.proxy import CuttingProxy
from support.waiting import DEADLINE_S, wait_until

from .ends import QUICK as QUICK_FIELDS
from .ends import UUID, check_many_channels, check_messages_arrive, two_ends_of

pytestmark = [
    pytest.mark.anyio,
    needs_program("nats-server"),
]


QUICK = BusTiming(**QUICK_FIELDS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    running = NatsServer(tmp_path_factory.mktemp("nats"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    running = NatsServer(tmp_path / "nats", config="max_payload: 1000")
    running.start()
    yield running
    running.stop()


two_ends = two_ends_of(open_nats_bus)


@pytest.mark.parametrize("check", BUS_CHECKS, ids=check_name)
async def test_bus(check: BusCheck, server: NatsServer) -> None:
    async with two_ends(server.url) as case:
        await check(case)


@pytest.mark.parametrize("check", BUS_CHECKS, ids=check_name)
async def test_a_bus_with_faults_keeps_the_promises(check: BusCheck, server: NatsServer) -> None:
    async with two_ends(server.url) as case:
        await check(BusCase(FaultyBus(case.first, Random(0)), FaultyBus(case.second, Random(1))))


# --- names and options


def test_channels_of_the_contract_are_subjects_unchanged() -> None:
    for channel in (
        "chat:config_change",
        f"chat:owner:{UUID}",
        f"chat:stream:{UUID}",
        f"inbox_notification:owner:{UUID}",
    ):
        assert subject_of(channel) == channel


def test_other_names_are_escaped() -> None:
    assert subject_of("a b") == "=a=20b"
    assert subject_of("a.b") == "a.b"
    assert subject_of("a..b") == "=a=2E=2Eb"
    assert subject_of("$SYS.x") == "==24SYS=2Ex"
    assert subject_of("PUB x\r\n") == "=PUB=20x=0D=0A"
    assert len(subject_of("ü" * 10_000)) < 100


def test_options_are_read_from_the_url(tmp_path: Path) -> None:
    creds = tmp_path / "a.creds"
    creds.write_text("")
    options = connect_options(f"nats://me:s%40crET@one:4222,two:4223?creds={creds}")
    assert options == {
        "servers": ["nats://one:4222", "nats://two:4223"],
        "user": "me",
        "password": "s@crET",
        "user_credentials": str(creds),
    }
    assert connect_options("nats://t0ken@one")["token"] == "t0ken"
    assert connect_options("tls://one?tls_first=1")["tls_handshake_first"] is True


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "nats://",
        "nats://me:it@",
        "nats://x?creds=/nowhere",
        "nats://x?tls_ca=/nowhere",
        "nats://x?wat=1",
        "nats://x:y",
        "nats://x:4222,y:99999",
        "nats://me:1/2@x",
    ],
)
def test_a_url_that_is_not_one_of_nats_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        connect_options(url)


# --- authentication


async def test_user_and_password_are_sent_and_required(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, config='authorization { user: "me", password: "s@cret" }')
    server.start()
    try:
        async with two_ends(f"nats://me:s%40cret@127.0.0.1:{server.port}") as case:
            await case.settle()
        async with open_nats_bus(f"nats://me:wrong@127.0.0.1:{server.port}") as bus:
            assert bus.error is not None
            assert "Authorization Violation" in bus.error
            assert "wrong" not in bus.error
    finally:
        server.stop()


async def test_a_missing_permission_is_counted_and_affects_no_other_channel(tmp_path: Path) -> None:
    allowed = 'permissions: { publish: ["b", "c"], subscribe: ["b", "c", "antiphon:dropped"] }'
    server = NatsServer(tmp_path, config=f"authorization {{ users: [ {{ user: me, password: it, {allowed} }} ] }}")
    server.start()
    refused = METRICS.unexpected.labels("bus_permission")
    before = refused._value.get()
    try:
        async with two_ends(f"nats://me:it@127.0.0.1:{server.port}") as case:
            heard = Recorder()
            case.second.subscribe("b", heard)
            case.first.publish_nowait("a", b"forbidden")
            await wait_until(lambda: refused._value.get() > before)
            case.second.subscribe("a", Recorder())
            await wait_until(lambda: refused._value.get() > before + 1)
            case.first.publish_nowait("b", b"allowed")
            await heard.wait(1)
            assert case.first.error is None
    finally:
        server.stop()


async def test_client_and_server_verify_their_certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca, pem, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(key)
    pem.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    server = NatsServer(
        tmp_path, config=f'tls {{ cert_file: "{pem}", key_file: "{key}", ca_file: "{ca}", verify: true }}'
    )
    server.start()
    try:
        async with two_ends(f"tls://127.0.0.1:{server.port}?tls_ca={ca}&tls_cert={pem}&tls_key={key}") as case:
            await case.settle()
        async with open_nats_bus(f"tls://127.0.0.1:{server.port}?tls_cert={pem}&tls_key={key}") as bus:
            assert bus.error is not None
            assert "certificate" in bus.error
    finally:
        server.stop()


# --- failures


async def test_the_bus_works_before_its_server_starts_and_reports_the_error(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    async with open_nats_bus(server.url) as bus:
        assert bus.error is not None
        heard = Recorder()
        bus.subscribe("a", heard)
        bus.publish_nowait("a", b"one")
        assert await heard.wait(1) == [b"one"], "a process's own hints do not need the server"
        server.start()
        try:
            await heard.wait_for_drops(1)
            assert bus.error is None
        finally:
            server.stop()


async def test_after_a_restart_every_subscriber_is_notified_and_messages_arrive(own_server: NatsServer) -> None:
    async with two_ends(own_server.url, timing=QUICK) as case:
        subscribers = [Recorder() for _ in range(20)]
        for i, heard in enumerate(subscribers):
            case.second.subscribe(f"channel {i}", heard)
        await case.settle()
        before = [heard.drops for heard in subscribers]
        own_server.kill()
        await wait_until(lambda: case.first.error is not None and case.second.error is not None)
        dropped = METRICS.bus_dropped.labels("nats", "not connected")._value.get()
        case.first.publish_nowait("channel 0", b"lost")
        assert METRICS.bus_dropped.labels("nats", "not connected")._value.get() == dropped + 1
        own_server.start()
        for heard, drops in zip(subscribers, before, strict=True):
            await heard.wait_for_drops(drops + 1)
        await case.settle()
        case.first.publish_nowait("channel 7", b"again")
        assert await subscribers[7].wait(1) == [b"again"]
        assert [heard.messages for heard in subscribers[:7]] == [[]] * 7
        assert isinstance(case.first, NatsBus)
        assert case.first.connection_count == 2


async def test_a_frozen_server_is_detected_and_the_connection_replaced(own_server: NatsServer) -> None:
    async with two_ends(own_server.url, timing=QUICK) as case:
        heard = Recorder()
        case.second.subscribe("a", heard)
        await case.settle()
        drops = heard.drops
        own_server.freeze()
        try:
            await wait_until(lambda: case.second.error is not None and case.first.error is not None)
            assert "no answer within 1 s" in str(case.second.error)
        finally:
            own_server.thaw()
        await heard.wait_for_drops(drops + 1)
        await check_messages_arrive(case, heard)


async def test_messages_sent_on_a_lost_connection_count_as_dropped(server: NatsServer) -> None:
    async with (
        CuttingProxy(server.port) as proxy,
        open_nats_bus(f"nats://127.0.0.1:{proxy.port}", timing=QUICK) as first,
        open_nats_bus(server.url, timing=QUICK) as second,
    ):
        case, heard, other = BusCase(first, second), Recorder(), Recorder()
        second.subscribe("a", heard)
        second.subscribe("b", other)
        await case.settle()
        drops, other_drops = heard.drops, other.drops
        proxy.is_silent = True
        first.publish_nowait("a", b"lost")
        await wait_until(lambda: first.error is not None)
        proxy.is_silent = False
        await heard.wait_for_drops(drops + 1)
        assert (heard.messages, other.drops, second.connection_count) == ([], other_drops, 1)


async def test_a_message_that_the_server_refuses_counts_as_dropped(own_server: NatsServer) -> None:
    async with two_ends(own_server.url, timing=QUICK) as case:
        heard, own = Recorder(), Recorder()
        case.second.subscribe("a", heard)
        case.first.subscribe("a", own)
        await case.settle()
        drops = heard.drops
        case.first.publish_nowait("a", b"x" * 1_001)
        case.first.publish_nowait("a", b"x" * 1_000)
        await heard.wait_for_drops(drops + 1)
        assert await heard.wait(1) == [b"x" * 1_000]
        assert [len(message or b"") for message in await own.wait(2)] == [1_001, 1_000], "sent without the server"


async def test_messages_beyond_the_queues_bound_are_dropped_and_subscribers_notified(own_server: NatsServer) -> None:
    limits = QueueLimits(messages_max=100, dropped_max=5)
    async with two_ends(own_server.url, timing=QUICK, limits=limits) as case:
        subscribers = [Recorder() for _ in range(10)]
        for i, heard in enumerate(subscribers):
            case.second.subscribe(f"c{i}", heard)
        await case.settle()
        before = [heard.drops for heard in subscribers]
        for i in range(300):
            case.first.publish_nowait(f"c{i % 10}", b"%d" % i)
        for heard, drops in zip(subscribers, before, strict=True):
            await heard.wait_for_drops(drops + 1)
            assert await heard.wait(10)
        await case.settle()
        case.first.publish_nowait("c0", b"end")
        assert (await subscribers[0].wait(11))[-1] == b"end"


async def test_a_message_that_grew_too_large_counts_as_dropped(server: NatsServer) -> None:
    async with two_ends(server.url) as case:
        bus, heard = FaultyBus(case.first, Random(3), oversize=0.3), Recorder()
        case.second.subscribe("a", heard)
        await case.settle()
        drops = heard.drops
        for i in range(20):
            bus.publish_nowait("a", b'{"seq":%d}' % i)
        assert 0 < bus.oversized < 20
        await heard.wait_for_drops(drops + 1)
        assert len(await heard.wait(20 - bus.oversized)) == 20 - bus.oversized


async def test_ten_thousand_channels_are_subscribed_and_unsubscribed(server: NatsServer) -> None:
    async with two_ends(server.url, timing=BusTiming(answer_s=DEADLINE_S)) as case:
        await check_many_channels(case)
