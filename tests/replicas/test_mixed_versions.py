"""A mixed fleet: an older peer, made from the reference document alone, over both buses, in both roles."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from antiphon.bus.nats import open_nats_bus
from antiphon.bus.postgres import open_postgres_bus
from antiphon.core import commands as c
from antiphon.options import Timing, WatchTiming
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.testing.stored_chat import StoredChat
from programs import needs_program
from support.nats import NatsServer
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.anyio

PEER = Path(__file__).parent / "minimal_peer.py"


@pytest.fixture(params=["postgres", pytest.param("nats", marks=needs_program("nats-server"))])
def bus_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_server").url
        return
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server.url
    server.stop()


class Peer:
    """The peer's process, and the messages that it has decoded so far, by channel."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.received: list[tuple[str, dict[str, Any]]] = []

    async def wait_for(self, is_it: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for the first message for which `is_it` is true."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for channel, message in self.received:
                    if is_it(channel, message):
                        return message
                await self._read()

    async def _read(self) -> None:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        assert line, "the peer runs and decodes what it receives"
        shown = json.loads(line)
        self.received.append((shown["channel"], shown["received"]))

    async def publish(self, channel: str, **message: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"channel": channel, **message}).encode() + b"\n")
        await self._process.stdin.drain()

    async def publish_until(self, arrival: Awaitable[Any], channel: str, **message: Any) -> Any:
        """Publish a message repeatedly, since hints may be lost, until `arrival` is done."""
        waiting = asyncio.ensure_future(arrival)
        async with asyncio.timeout(DEADLINE_S):
            while not waiting.done():
                await self.publish(channel, **message)
                await asyncio.wait({waiting}, timeout=0.05)
        return waiting.result()


@contextlib.asynccontextmanager
async def side_by_side(bus_url: str, *channels: str, **options: Any) -> AsyncIterator[tuple[Instance, Peer]]:
    """An instance and an older peer on one bus, which subscribes to the channels."""
    open_bus = open_nats_bus if bus_url.startswith("nats:") else open_postgres_bus
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PEER), bus_url, *channels, stdin=pipe, stdout=pipe
    )
    try:
        assert process.stdout
        assert await process.stdout.readline() == b"{}\n", "it has subscribed"
        async with open_bus(bus_url) as bus, open_instance(bus=bus, drain_s=0, **options) as instance:
            assert bus.error is None
            yield instance, Peer(process)
    finally:
        process.kill()
        await process.communicate()


async def test_an_older_peer_decodes_the_messages_of_this_version(bus_url: str) -> None:
    chat_id = str(uuid4())
    stream = f"chat:stream:{chat_id}"
    async with side_by_side(bus_url, stream) as (instance, peer):
        await instance.chats.create(chat_id=chat_id, title="t")
        sent = await instance.chats.send(chat_id, "/fail auth")
        message_id = sent.entries[0].seq
        started = await peer.wait_for(lambda _, m: m["after_message_id"] == message_id - 1)
        assert (started["status"], started["worker_id"]) == ("running", instance.instance_id)
        failed = await peer.wait_for(lambda _, m: bool(m["error"]))
        assert failed["status"] == "error"
        assert failed["error"] == failed["error_payload"]["message"], "the legacy form beside the payload"
        assert failed["error_payload"]["kind"] == "auth"
        assert failed["worker_id"] == ""
        await instance.chats.edit(chat_id, message_id, "again")
        edited = await peer.wait_for(lambda _, m: m["full_refresh"])
        assert edited["after_message_id"] > message_id


async def test_an_older_peer_receives_the_changes_of_an_owners_chats(bus_url: str) -> None:
    owner, chat_id = str(uuid4()), str(uuid4())
    async with side_by_side(bus_url, f"chat:owner:{owner}") as (instance, peer):
        await instance.service.execute(chat_id, c.CreateChat(owner_id=owner, title="t"))
        created = await peer.wait_for(lambda _, m: m["kind"] == "created")
        assert (created["chat"]["id"], created["chat"]["title"]) == (chat_id, "t")
        await instance.service.execute(chat_id, c.Rename(title="u"))
        assert (await peer.wait_for(lambda _, m: m["kind"] == "title_change"))["chat"]["title"] == "u"
        await instance.service.execute(chat_id, c.Archive())
        assert (await peer.wait_for(lambda _, m: m["kind"] == "status_change"))["chat"]["archived"] is True
        await instance.service.execute(chat_id, c.Delete())
        deleted = await peer.wait_for(lambda _, m: m["kind"] == "deleted")
        assert (deleted["chat"]["id"], deleted["chat"]["title"]) == (chat_id, "u"), "its last title"


async def test_feeds_and_watchers_react_to_an_older_peers_messages(bus_url: str) -> None:
    async with side_by_side(bus_url, timing=Timing(watch=WatchTiming(poll_s=3600))) as (instance, peer):
        owner = instance.chats.owner_id
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_feed(owner) as feed:
            event = {"kind": "status_change", "chat": {"id": chat_id, "owner_id": owner, "status": "pending"}}
            shown = await peer.publish_until(next_chat(feed), f"chat:owner:{owner}", **event)
            assert (shown["chat"]["id"], shown["chat"]["status"]) == (chat_id, "waiting"), "the store is the truth"
        async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
            for status in ("pending", "paused", "completed"):
                written = StoredChat(instance.store, chat_id)
                await written.load()
                await written.do(c.Rename(title=status))
                shown = await peer.publish_until(next_title(watcher), f"chat:stream:{chat_id}", status=status)
                assert shown["title"] == status


async def test_an_older_peers_inline_retry_and_errors_reach_watchers(bus_url: str) -> None:
    retry = {"attempt": 1, "delay_ms": 10, "error": "overloaded", "retrying_at": "2026-01-02T03:04:05Z"}
    payload = {"message": "no credit", "retryable": False}
    async with side_by_side(bus_url) as (instance, peer):
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
            for message, kind, words in (
                ({"status": "running", "retry": retry}, "retry", "overloaded"),
                ({"status": "error", "error": "no credit", "error_payload": payload}, "error", "no credit"),
                ({"error": "only the legacy words"}, "error", "only the legacy words"),
            ):
                arrival = next_notice(watcher, kind, words)
                assert await peer.publish_until(arrival, f"chat:stream:{chat_id}", **message)


async def next_notice(watcher: Any, kind: str, words: str) -> bool:
    """Wait for a notice of that kind with these words; earlier ones may arrive twice."""
    while True:
        for frame in (await watcher.next_batch()).frames:
            if frame.type == "notice" and frame.seq is None:
                shown = json.loads(frame.data)
                if shown["kind"] == kind and words in json.dumps(shown[kind]):
                    return True


async def next_chat(feed: Any) -> dict[str, Any]:
    while True:
        for frame in await feed.next_batch():
            if frame.type == "chat":
                shown: dict[str, Any] = json.loads(frame.data)
                return shown


async def next_title(watcher: Any) -> dict[str, Any]:
    while True:
        for frame in (await watcher.next_batch()).frames:
            if frame.type == "title_changed":
                shown: dict[str, Any] = json.loads(frame.data)
                return shown
