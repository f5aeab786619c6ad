"""The scenes of replicas, as small as they go, on real PostgreSQL: no figure is judged, only that nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from antiphon.bench.fleet import BenchDatabase, commit_rate, open_replicas
from antiphon.bench.growth import grow
from antiphon.bench.relay import relay_times
from antiphon.bench.sends import http_rate
from antiphon.bench.shared_sends import heard_rate
from antiphon.bench.shared_takeover import measure_once as take_over
from antiphon.bench.storm import measure_once as storm
from antiphon.bench.streams import deliver
from antiphon.testing.nats import NatsServer, find_nats_server

TOKENS = 40


def test_sends_to_a_replica_are_counted_beside_the_databases_commits(postgres_url: str) -> None:
    assert asyncio.run(commit_rate(postgres_url, seconds=0.2)) > 0
    with open_replicas(postgres_url, 1) as (server,):
        assert asyncio.run(http_rate(server, 128, 2)) > 0


@pytest.mark.parametrize("is_mute", [False, True])
def test_notifications_are_heard_elsewhere_and_those_of_a_mute_replica_are_not(
    postgres_url: str, is_mute: bool
) -> None:
    assert heard_rate(BenchDatabase(postgres_url), 128, 2, is_mute=is_mute) > 0


def test_a_relayed_token_is_timed_at_both_replicas_over_zeromq(postgres_url: str) -> None:
    times = asyncio.run(relay_times(postgres_url, "", rate=100, tokens=TOKENS))
    assert len(times.held) == len(times.relayed) == TOKENS
    assert min(times.held + times.relayed) > 0


@pytest.mark.skipif(not find_nats_server(), reason="nats-server is not installed")
def test_a_relayed_token_is_timed_at_both_replicas_over_nats(postgres_url: str, tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.start()
    try:
        times = asyncio.run(relay_times(postgres_url, server.url, rate=100, tokens=TOKENS))
    finally:
        server.stop()
    assert len(times.held) == len(times.relayed) == TOKENS


def test_watchers_over_replicas_get_every_text_whole(postgres_url: str) -> None:
    with open_replicas(postgres_url, 2) as servers:
        assert asyncio.run(deliver(servers, 4, 100, TOKENS)) >= 0


def test_a_storms_watchers_are_exact_again(postgres_url: str) -> None:
    found = storm(postgres_url, watchers=12, chats=3)
    assert found.seconds > 0
    assert found.reads_per_chat > 0


def test_a_takeover_by_another_replica_is_timed(postgres_url: str) -> None:
    with open_replicas(postgres_url, 1) as staying:
        assert take_over(postgres_url, staying, signal.SIGTERM) > 0


def test_turns_are_counted_over_two_replicas(postgres_url: str) -> None:
    grown = grow(BenchDatabase(postgres_url), 2, callers=4, seconds=0.5)
    assert grown.rate > 0
    assert grown.database_cpu_s == 0  # it is not the bench's own
