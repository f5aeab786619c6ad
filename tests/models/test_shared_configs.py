"""Configuration on several replicas: events of a change, polling without events, lost answers of the store."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.errors import AntiphonError
from antiphon.models.configs import Configs
from antiphon.models.configuration import Configuration
from antiphon.options import ConfigTiming
from antiphon.ports import Store
from antiphon.testing.ids import SeededIds
from antiphon.wire.notify import CHAT_CONFIG_EVENT_CHANNEL
from support.waiting import wait_until

from .configs import OWNER, FailingStore, LossyStore, box, replica, running

pytestmark = pytest.mark.anyio


async def test_concurrent_changes_by_many_replicas_keep_names_unique_and_one_default(store: Store) -> None:
    replicas = [replica(store, seed=i) for i in range(5)]

    async def work(number: int) -> int:
        done = 0
        for name in ("a", "b", f"own{number}"):
            with suppress(AntiphonError):
                await replicas[number].create_model_config(name=name, model="rehearsal", is_default=True)
                done += 1
        return done

    counts = await asyncio.gather(*(work(i) for i in range(5)))
    found = (await replicas[0].fresh()).model_configs
    assert sorted(item.name for item in found) == ["a", "b", *(f"own{i}" for i in range(5))]
    assert sum(counts) == len(found)
    assert sum(item.is_default for item in found) == 1


async def test_a_change_is_published_as_in_the_reference(store: Store) -> None:
    bus, events = MemoryBus(), []
    bus.subscribe(CHAT_CONFIG_EVENT_CHANNEL, lambda message: events.append(msgspec.json.decode(message or b"null")))
    configs = replica(store, bus)
    made = await configs.create_provider(name="acme", kind="rehearsal")
    await configs.change_provider(made.provider_id, name="b")
    config = await configs.create_model_config(name="fast", model="b:x")
    await configs.delete_model_config(config.config_id)
    await configs.set_prompt(OWNER, "Be brief.")
    await wait_until(lambda: len(events) == 5)
    nil = "00000000-0000-0000-0000-000000000000"
    assert events == [
        {"kind": "providers", "entity_id": nil},
        {"kind": "providers", "entity_id": nil},
        {"kind": "model_config", "entity_id": config.config_id},
        {"kind": "model_config", "entity_id": config.config_id},
        {"kind": "user_prompt", "entity_id": OWNER},
    ]


async def test_a_replica_that_received_an_event_uses_a_change_at_once(store: Store) -> None:
    bus = MemoryBus()
    writer = replica(store, bus)
    async with running(replica(store, bus, seed=1)) as reader:
        await wait_until(lambda: reader.current.version == 0)
        seen: list[int] = []

        def see(configuration: Configuration) -> None:
            seen.append(len(configuration.providers))

        reader.changed.subscribe(see)
        await writer.create_provider(name="acme", kind="rehearsal")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [item.name for item in (await reader.fresh()).providers] == ["acme"]
        await wait_until(lambda: seen == [1])
        await writer.set_prompt(OWNER, "one")
        assert (await reader.prompt(OWNER)).text == "one"
        await writer.set_prompt(OWNER, "two")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (await reader.prompt(OWNER)).text == "two"


async def test_a_replica_without_events_finds_a_change_by_polling(store: Store) -> None:
    default = ConfigTiming()
    assert default.poll_s + default.fresh_s / 2 < 2.0 > default.fresh_s
    writer = replica(store)
    async with running(replica(store, seed=1, timing=ConfigTiming(poll_s=0.05))) as reader:
        assert (await reader.prompt(OWNER)).text == ""
        await writer.create_provider(name="acme", kind="rehearsal")
        await writer.set_prompt(OWNER, "Be brief.")
        await wait_until(lambda: reader.current.version == 2)
        assert [item.name for item in reader.current.providers] == ["acme"]
        assert (await reader.prompt(OWNER)).text == "Be brief."


async def test_a_configuration_that_was_not_read_recently_is_read_before_its_use(store: Store) -> None:
    """Also without the polling task."""
    writer, reader = replica(store), replica(store, seed=1)
    stale = replica(store, seed=2, timing=ConfigTiming(fresh_s=0.0))
    assert (await stale.fresh()).providers == ()
    assert (await reader.fresh()).providers == ()
    await writer.create_provider(name="acme", kind="rehearsal")
    assert (await reader.fresh()).providers == ()
    assert len((await stale.fresh()).providers) == 1


@pytest.mark.parametrize("message", [None, b"garbage", b"{}", b'{"kind":"later","entity_id":"x"}'])
async def test_dropped_and_unreadable_events_trigger_a_read(store: Store, message: bytes | None) -> None:
    writer, reader = replica(store), replica(store, seed=1)
    assert (await reader.prompt(OWNER)).text == ""
    await writer.set_prompt(OWNER, "Be brief.")
    reader._on_event(message)
    assert (await reader.prompt(OWNER)).text == "Be brief."


async def test_a_failing_store_is_reported_until_it_works(store: Store) -> None:
    failing = FailingStore(store)
    async with running(replica(failing, timing=ConfigTiming(poll_s=0.01))) as configs:
        await wait_until(lambda: configs.current.version == 0)
        failing.is_failing = True
        await wait_until(lambda: configs.error)
        failing.is_failing = False
        await wait_until(lambda: configs.error is None)


async def test_a_change_whose_answer_was_lost_is_written_once(store: Store) -> None:
    for commits in (True, False):
        lossy = LossyStore(store, commits=commits)
        configs = Configs(store=lossy, bus=MemoryBus(), ids=SeededIds(int(commits)), secrets=box())
        made = await configs.create_provider(name=f"acme{commits:d}", kind="rehearsal")
        assert made in (await replica(store).fresh()).providers
        await configs.set_prompt(OWNER, f"prompt {commits}")
        assert (await replica(store).prompt(OWNER)).text == f"prompt {commits}"
    assert len((await replica(store).fresh()).providers) == 2
