"""The event of a deletion has the last state of the chat, and the first feed on a replica begins with one resync."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from antiphon.core import commands as c
from antiphon.options import Timing, WatchTiming
from antiphon.server.open_instance import open_instance
from api.zmq.peers import Peer, open_endpoint
from support.waiting import DEADLINE_S, wait_until

from .watched_replica import beside, replica

pytestmark = pytest.mark.anyio


async def next_of(feed: Any, kind: str) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for frame in await feed.next_batch():
                if frame.type == kind:
                    return json.loads(frame.data)


async def test_sockets_and_feeds_report_the_last_state_of_a_deleted_session(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint) as peer:
        await peer.wait_subscribed(endpoint)
        chat_id = (await instance.chats.create(content="/say hi", title="Sums")).chat_id
        await peer.until("session.update", id=chat_id, message_count=2)
        async with instance.watch.open_feed(instance.owner_id) as feed:
            assert await next_of(feed, "resync")
            await instance.chats.delete(chat_id)
            event = await next_of(feed, "chat")
            assert (event["kind"], event["chat"]["title"]) == ("deleted", "Sums")
        deleted = (await peer.until("session.deleted", id=chat_id))["payload"]
        assert (deleted["title"], deleted["message_count"]) == ("Sums", 2)


async def test_another_replica_reports_the_last_state_of_a_deleted_session(postgres_url: str, tmp_path: Path) -> None:
    async with beside(postgres_url, tmp_path / "data") as (here, _, there, peer):
        chat_id = (await there.chats.create(content="/say hi", title="Sums")).chat_id
        await peer.until("session.update", id=chat_id, message_count=2)
        await there.chats.change(chat_id, c.SetLabels(labels={"a": "b"}))
        await wait_until(lambda: here.service.chat(chat_id), accept=lambda chat: chat and chat.labels == {"a": "b"})
        async with here.watch.open_feed(here.owner_id) as feed:
            assert await next_of(feed, "resync")
            await there.chats.delete(chat_id)
            event = await next_of(feed, "chat")
            assert (event["kind"], event["chat"]["title"], event["chat"]["labels"]) == ("deleted", "Sums", {"a": "b"})
        deleted = (await peer.until("session.deleted", id=chat_id))["payload"]
        assert (deleted["title"], deleted["message_count"]) == ("Sums", 2)


async def test_the_system_prompt_of_a_deleted_chat_is_not_cached(tmp_path: Path) -> None:
    async with open_instance(data=tmp_path / "data", drain_s=0) as instance:
        chat_id = (await instance.chats.create(title="t", system="secret")).chat_id
        await instance.chats.delete(chat_id)
        chat = await instance.service.chat(chat_id)
        assert chat is not None
        former = instance.service.deleted_chats.get(chat_id, chat)
        assert (former.title, former.system, former.is_deleted) == ("t", "", True)


async def test_the_first_feed_of_an_owner_begins_with_one_resync(postgres_url: str) -> None:
    async with replica(postgres_url, timing=Timing(watch=WatchTiming(poll_s=3600))) as instance:
        for _ in range(3):
            async with instance.watch.open_feed(instance.owner_id) as feed:
                seen = [frame.type for frame in await feed.next_batch()]
                await instance.chats.create(title="t")
                while "chat" not in seen:
                    async with asyncio.timeout(DEADLINE_S):
                        seen += [frame.type for frame in await feed.next_batch()]
            assert seen.count("resync") == 1


async def test_a_feed_begins_although_the_bus_does_not_subscribe(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_instance(drain_s=0, timing=Timing(watch=WatchTiming(subscribe_s=0.05))) as instance:
        monkeypatch.setattr(instance.bus, "is_subscribed", lambda channel: False)
        async with instance.watch.open_feed(instance.owner_id) as feed:
            async with asyncio.timeout(DEADLINE_S):
                assert [frame.type for frame in await feed.next_batch()] == ["resync"]


async def test_a_feed_without_a_bus_connection_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_instance(drain_s=0, timing=Timing(watch=WatchTiming(subscribe_s=3600))) as instance:
        monkeypatch.setattr(instance.bus, "is_subscribed", lambda channel: False)
        monkeypatch.setattr(instance.bus, "error", "not connected", raising=False)
        async with instance.watch.open_feed(instance.owner_id) as feed:
            async with asyncio.timeout(DEADLINE_S):
                assert [frame.type for frame in await feed.next_batch()] == ["resync"]
