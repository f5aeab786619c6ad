"""The scenes of replicas, as small as they go, on real PostgreSQL: no figure is judged, only that nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fleet import BenchDatabase, commit_rate, open_replicas, replica
from benchmarks.growth import grow
from benchmarks.relay import relay_times
from benchmarks.sends import http_rate
from benchmarks.server import BenchServer
from benchmarks.shared_sends import heard_rate
from benchmarks.shared_takeover import measure_once as take_over
from benchmarks.storm import measure_once as storm
from benchmarks.streams import deliver
from programs import needs_program
from support.nats import NatsServer
from support.postgres import PostgresServer

TOKENS = 40
SENDS = 128


@pytest.fixture(scope="module")
def store(postgres_server: PostgresServer, postgres_template: str) -> str:
    return postgres_server.create_database(postgres_template)


@pytest.fixture(scope="module")
def pair(store: str) -> Iterator[list[BenchServer]]:
    with open_replicas(store, 2) as servers:
        yield servers


def test_sends_to_a_replica_are_counted_beside_the_databases_commits(store: str, pair: list[BenchServer]) -> None:
    assert asyncio.run(commit_rate(store, seconds=0.2)) > 0
    assert asyncio.run(http_rate(pair[0], SENDS, 2)) > 0


def test_notifications_of_a_replica_reach_another_process(store: str, pair: list[BenchServer]) -> None:
    assert heard_rate(pair[0], store, SENDS, 2, is_mute=False) > 0


def test_no_notification_of_a_mute_replica_arrives(postgres_url: str, tmp_path: Path) -> None:
    with replica(tmp_path, postgres_url, is_mute=True) as mute:
        assert heard_rate(mute, postgres_url, SENDS, 2, is_mute=True) > 0


def test_watchers_over_replicas_get_every_text_whole(pair: list[BenchServer]) -> None:
    assert asyncio.run(deliver(pair, 4, 100, TOKENS)) >= 0


def test_turns_are_counted_over_replicas(store: str, pair: list[BenchServer]) -> None:
    grown = asyncio.run(grow(BenchDatabase(store), pair, callers=4, seconds=0.5))
    assert grown.rate > 0
    assert grown.database_cpu_s == 0  # the database is not the bench's own


def test_a_storms_watchers_are_exact_again(store: str, pair: list[BenchServer]) -> None:
    found = storm(store, pair, watchers=12, chats=3)
    assert found.seconds > 0
    assert found.reads_per_chat > 0


def test_a_takeover_by_another_replica_is_timed(store: str, pair: list[BenchServer]) -> None:
    assert take_over(store, pair, signal.SIGTERM) > 0


def test_a_relayed_token_is_timed_at_both_replicas(postgres_url: str) -> None:
    times = asyncio.run(relay_times(postgres_url, "", rate=100, tokens=TOKENS))
    assert len(times.held) == len(times.relayed) == TOKENS
    assert min(times.held + times.relayed) > 0


@pytest.mark.slow
@needs_program("nats-server")
def test_a_token_relayed_over_nats_is_timed_too(postgres_url: str, tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.start()
    try:
        times = asyncio.run(relay_times(postgres_url, server.url, rate=100, tokens=TOKENS))
    finally:
        server.stop()
    assert len(times.held) == len(times.relayed) == TOKENS
