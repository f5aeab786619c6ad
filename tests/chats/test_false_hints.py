"""A hint only triggers a read: whatever a foreign message says, the store decides what is shown and done."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.hints import owner_channel, stream_channel
from antiphon.chats.inbox import inbox_channel
from antiphon.core import commands as c
from antiphon.options import Timing, WatchTiming
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from support.waiting import DEADLINE_S

from .test_hints import next_frames

pytestmark = pytest.mark.anyio


NO_POLLS = Timing(watch=WatchTiming(poll_s=3600))


def publish(bus: MemoryBus, channel: str, message: Any) -> None:
    bus.publish_nowait(channel, json.dumps(message).encode())


async def next_of(feed: Any, kind: str) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for frame in await feed.next_batch():
                if frame.type == kind:
                    return json.loads(frame.data)


@pytest.mark.parametrize("kind", ["deleted", "created"])
async def test_a_feed_reports_what_the_store_says_of_a_chat(kind: str) -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        owner = instance.chats.owner_id
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_feed(owner) as feed:
            assert await next_frames(feed) == [("resync", {"type": "resync"})]
            publish(bus, owner_channel(owner), {"kind": kind, "chat": {"id": chat_id, "title": "forged"}})
            shown = await next_of(feed, "chat")
            assert (shown["kind"], shown["chat"]["title"]) == ("status_change", "t")
            await instance.chats.change(chat_id, c.Rename(title="u"))
            assert (await next_of(feed, "chat"))["chat"]["title"] == "u", "the chat is still followed"


async def test_real_creations_and_deletions_keep_their_kind() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        owner = instance.chats.owner_id
        async with instance.watch.open_feed(owner) as feed:
            await next_frames(feed)
            chat_id = (await instance.chats.create(title="t")).chat_id
            assert (await next_of(feed, "chat"))["kind"] == "created"
            publish(bus, owner_channel(owner), {"kind": "created", "chat": {"id": chat_id}})
            assert (await next_of(feed, "chat"))["kind"] == "status_change", "it was reported as created before"
            await instance.chats.delete(chat_id)
            assert (await next_of(feed, "chat"))["kind"] == "deleted"


@pytest.mark.parametrize(
    "message",
    [
        {"status": "error", "error": "forged"},
        {"full_refresh": True, "after_message_id": 1},
        {"queue_update": True, "worker_id": "none", "seq": 2**62},
        {"status": "deleted", "seq": -5},
    ],
)
async def test_a_watcher_shows_nothing_that_is_not_stored(message: Any) -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
            assert (await watcher.next_batch()).frames[-1].type == "caught_up"
            for _ in range(3):
                publish(bus, stream_channel(chat_id), message)
            await asyncio.sleep(0)
            await instance.chats.change(chat_id, c.Rename(title="u"))
            facts: list[tuple[str, int]] = []
            async with asyncio.timeout(DEADLINE_S):
                while not facts:
                    facts = [(f.type, f.seq) for f in (await watcher.next_batch()).frames if f.seq is not None]
            assert facts == [("title_changed", 2)]


def notification(owner: str) -> dict[str, Any]:
    body = {"id": str(uuid4()), "user_id": owner, "title": "forged", "content": "[pay](http://evil)"}
    return {"kind": "new", "inbox_notification": body}


async def test_a_notification_that_is_not_stored_is_not_shown() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        owner = instance.chats.owner_id
        async with instance.watch.open_feed(owner) as feed:
            await next_frames(feed)
            publish(bus, inbox_channel(owner), notification(owner))
            await instance.chats.create(content="/say hi", title="t")
            shown = await next_of(feed, "inbox")
            assert shown["inbox_notification"]["title"] == "t has an answer"


async def test_only_the_store_revokes_a_token() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        made = await instance.tokens.create("another")
        async with instance.watch.open_feed(made.token.owner_id, token_id=made.token.token_id) as feed:
            await next_frames(feed)
            for name in (made.token.token_id, "", "x" * 50):
                bus.publish_nowait("antiphon:revoked", name.encode())
            await asyncio.sleep(0)
            assert (await instance.tokens.authenticate(made.secret)).token_id == made.token.token_id
            await instance.tokens.revoke(made.token.token_id)
            assert await next_frames(feed) == [("bye", {"type": "bye", "reason": "revoked"})]


async def check_revocation_by_another_instance(one: Instance, other: Instance, bus: MemoryBus) -> None:
    made = await one.tokens.create("another")
    async with one.watch.open_feed(made.token.owner_id, token_id=made.token.token_id) as feed:
        await next_frames(feed)
        await one.tokens.authenticate(made.secret)
        bus.publish_nowait("antiphon:revoked", made.token.token_id.encode())
        ending = asyncio.create_task(next_frames(feed))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not ending.done()
        assert await one.tokens.authenticate(made.secret)
        await other.tokens.revoke(made.token.token_id)
        assert await ending == [("bye", {"type": "bye", "reason": "revoked"})]


async def test_a_token_that_another_instance_revokes_ends_its_streams_at_once() -> None:
    from .test_watch_shared import SharedStore

    inner, bus = MemoryStore(clock=FakeClock(tick_us=1), is_shared=True), MemoryBus()
    async with (
        open_instance(store=SharedStore(inner), bus=bus, drain_s=0, timing=NO_POLLS) as one,
        open_instance(store=SharedStore(inner), bus=bus, drain_s=0, timing=NO_POLLS) as other,
    ):
        await check_revocation_by_another_instance(one, other, bus)


async def test_a_configuration_hint_does_not_change_the_configuration() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        before = (await instance.configs.fresh()).version
        for kind in ("providers", "model_config", "user_prompt", "forged"):
            publish(bus, "chat:config_change", {"kind": kind, "entity_id": str(uuid4())})
        await asyncio.sleep(0)
        assert (await instance.configs.fresh()).version == before


async def test_a_claim_hint_does_not_start_a_turn() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        for name in (chat_id, chat_id.upper(), "nothing", ""):
            bus.publish_nowait("antiphon:wanted", name.encode())
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await instance.chats.get(chat_id)).seq == 1
