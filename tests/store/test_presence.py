"""The instances on a shared store: a row says where each is, and a lock whether it runs."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from antiphon.ports import InstanceRecord, Presence
from antiphon.store.memory.store import MemoryStore
from antiphon.store.postgres.store import open_postgres_store
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import StoredChat
from support.postgres import PostgresServer
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

CHILD = Path(__file__).with_name("postgres_child.py")
RECORD = InstanceRecord(
    instance_id="i1",
    host="h",
    pid=7,
    version="v",
    http_url="u",
    relay_endpoint="e",
    relay_key="k",
    started_at=5,
    capacity=9,
)


async def present(presence: Presence) -> dict[str, bool]:
    records, _ = await presence.instances()
    return {record.instance_id: record.is_present for record in records}


async def test_an_instance_is_listed_with_its_record_and_last_heartbeat(postgres_url: str) -> None:
    one, two = (
        await open_postgres_store(postgres_url, pool_max=1),
        await open_postgres_store(postgres_url, pool_max=1),
    )
    found, up_s = await two.presence.instances()
    assert found == ()
    assert up_s > 0
    await one.presence.register(RECORD)
    await two.presence.register(InstanceRecord(instance_id="i2", started_at=6))
    (first, second), _ = await two.presence.instances()
    assert first == InstanceRecord(**{**_fields(RECORD), "seen_at": first.seen_at, "is_present": True})
    assert second.is_present
    await one.presence.heartbeat("i1", running=3, is_draining=True)
    (beaten, _), _ = await two.presence.instances()
    assert (beaten.running, beaten.is_draining, beaten.seen_at > first.seen_at) == (3, True, True)
    chat = await StoredChat(one, "c").create(said="hi")
    attempt = await chat.start("i1")
    assert await two.presence.attempts_of("i1") == (("c", attempt),)
    assert await two.presence.attempts_of("i2") == ()
    await two.presence.deregister("i1")  # declared dead
    assert await present(two.presence) == {"i2": True}
    await one.presence.heartbeat("i1", running=0)
    assert await present(two.presence) == {"i2": True, "i1": True} or await present(two.presence) == {
        "i1": True,
        "i2": True,
    }, "it runs, and registers again by itself"
    await one.presence.deregister("i1")
    assert await present(two.presence) == {"i2": True}
    await one.aclose()
    await two.presence.aclose()
    assert await present(two.presence) == {"i2": False}, "listed, but not present, until it is deregistered"
    await two.aclose()


def _fields(record: InstanceRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


async def test_the_lock_is_released_when_its_process_is_killed(postgres_url: str) -> None:
    store = await open_postgres_store(postgres_url)
    child = await asyncio.create_subprocess_exec(
        sys.executable, CHILD, postgres_url, "child", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout
        assert await child.stdout.readline() == b"present\n"
        assert await present(store.presence) == {"child": True}
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()
    await wait_until(lambda: _is_gone(store.presence))
    await store.aclose()


async def _is_gone(presence: Presence) -> bool:
    return await present(presence) == {"child": False}


async def test_the_lock_is_reacquired_when_its_session_is_lost(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    one, two = await open_postgres_store(postgres_url), await open_postgres_store(postgres_url)
    await one.presence.register(RECORD)
    for _ in range(2):
        killed = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
        lost = one.presence._lock_key
        postgres_server.execute(killed)
        await wait_until(lambda lost=lost: _is_reacquired(two.presence, one.presence, lost))  # type: ignore[misc]
    await one.aclose()
    await two.aclose()


async def _is_reacquired(presence: Presence, own: Any, lost: int) -> bool:
    return own._lock_key != lost and await present(presence) == {"i1": True}


async def test_the_lock_is_reacquired_after_a_restart_of_the_database(postgres_server: PostgresServer) -> None:
    with PostgresServer(postgres_server.folder.parent / "presence") as server:
        one, two = await open_postgres_store(server.url), await open_postgres_store(server.url)
        await one.presence.register(RECORD)
        await asyncio.to_thread(server.stop, "immediate")
        await asyncio.to_thread(server.start)
        _, up_s = await two.presence.instances()
        assert up_s < DEADLINE_S
        await wait_until(lambda: _is_reacquired(two.presence, one.presence, 0))
        await one.aclose()
        await two.aclose()


async def test_in_memory_the_simulation_kills_instances() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock, is_shared=True)
    presence: Presence = store.presence
    assert await presence.instances() == ((), float("inf"))
    await presence.register(RECORD)
    await presence.register(InstanceRecord(instance_id="i2"))
    chat = await StoredChat(store, "c").create(said="hi")
    attempt = await chat.start("i2")
    assert await presence.attempts_of("i2") == (("c", attempt),)
    store.presence.kill("i2")
    assert await present(presence) == {"i1": True, "i2": False}
    store.presence.restart()
    clock.advance(2)
    assert await present(presence) == {"i1": False, "i2": False}
    await presence.heartbeat("i1", running=4)
    (first, _), up_s = await presence.instances()
    assert (first.is_present, first.running, first.seen_at, up_s) == (True, 4, clock.now_us(), 2.0)
    await presence.deregister("i2")
    assert await present(presence) == {"i1": True}
