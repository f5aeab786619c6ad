"""Whatever comes over the bus is a hint: from older or foreign peers, doubled, late, or no message at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.hints import (
    EVENTS_WAITING_MAX,
    chat_hint,
    owner_channel,
    stream_channel,
    stream_hint,
    subscribe_events,
    text_hint,
)
from antiphon.core import commands as c
from antiphon.errors import AntiphonError
from antiphon.observe.metrics import METRICS
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.testing.stored_chat import StoredChat
from antiphon.watch import watch
from antiphon.wire.notify import ChatEvent, handle_chat_event
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

CHAT = "0b0b0b0b-1111-4222-8333-444444444444"
GARBAGE = (b"", b"{", b"[]", b"\xff", b"null", b'{"seq":"x"}', b'{"chat":5,"seq":[]}', b"[" * 100_000)


def test_what_a_hint_says_is_read_and_the_rest_is_passed_over() -> None:
    assert stream_hint(b'{"after_message_id":4,"status":"paused","seq":7,"retry":5}').seq == 7
    assert stream_hint(b'{"after_message_id":4,"status":"pending"}').seq is None
    hint = chat_hint(b'{"kind":"moved","chat":{"id":"%s","status":"completed"}}' % CHAT.upper().encode())
    assert (hint.kind, hint.chat_id, hint.seq) == ("moved", CHAT, None)
    assert text_hint(CHAT.encode()) == CHAT


@pytest.mark.parametrize("message", GARBAGE, ids=lambda message: repr(message[:10]))
def test_garbage_is_counted_and_means_look(message: bytes) -> None:
    odd = METRICS.unexpected.labels("malformed_hint")
    before = odd._value.get()
    assert (stream_hint(message).seq, chat_hint(message).chat_id) == (None, "")
    assert odd._value.get() > before


def test_what_cannot_be_a_name_is_none() -> None:
    assert [text_hint(text) for text in (b"a\0b", b"\xff" * 200, b"x" * 1_000)] == [""] * 3
    assert chat_hint(b'{"chat":{"id":"a\\u0000b"}}').chat_id == ""


# --- the contract's handlers


class Callback:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.gate = asyncio.Event()

    async def __call__(self, event: ChatEvent, error: AntiphonError | None) -> None:
        await self.gate.wait()
        self.calls.append((event.kind, str(error or "")))

    async def wait(self, count: int) -> list[tuple[str, str]]:
        self.gate.set()
        await wait_until(lambda: len(self.calls) >= count)
        return self.calls


async def test_the_contracts_handlers_hear_messages_in_order_and_what_was_dropped() -> None:
    bus, callback = MemoryBus(), Callback()
    end = subscribe_events(bus, "a", handle_chat_event(callback))
    bus.publish_nowait("a", b'{"kind":"created"}')
    bus.notify_dropped_nowait()
    bus.publish_nowait("a", b'{"kind":"deleted"}')
    assert await callback.wait(3) == [
        ("created", ""),
        ("", "chat event pubsub: messages were dropped"),
        ("deleted", ""),
    ]
    end()
    assert not bus.has_subscribers("a")


async def test_a_callback_that_is_too_slow_is_told_that_it_missed_some() -> None:
    bus, callback = MemoryBus(), Callback()
    end = subscribe_events(bus, "a", handle_chat_event(callback))
    for _ in range(EVENTS_WAITING_MAX + 10):
        bus.publish_nowait("a", b'{"kind":"created"}')
    for _ in range(3):
        await asyncio.sleep(0)
    calls = await callback.wait(5)
    assert ("", "chat event pubsub: messages were dropped") in calls
    assert len(calls) < 20
    end()


# --- feeds and readers


async def next_frames(feed: Any) -> list[tuple[str, Any]]:
    async with asyncio.timeout(DEADLINE_S):
        return [(frame.type, json.loads(frame.data)) for frame in await feed.next_batch()]


async def test_a_feed_shows_the_chat_that_a_foreign_peer_names_and_looks_at_all_where_it_names_none() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0) as instance:
        owner = instance.chats.owner_id
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_feed(owner) as feed:
            assert await next_frames(feed) == [("resync", {"type": "resync"})]
            for kind in ("status_change", "moved"):
                peer = {"kind": kind, "chat": {"id": chat_id.upper(), "title": "as the peer knows it"}}
                bus.publish_nowait(owner_channel(owner), json.dumps(peer).encode())
                [(kind_told, shown)] = await next_frames(feed)
                assert (kind_told, shown["kind"], shown["chat"]["title"]) == ("chat", "status_change", "t")
            bus.publish_nowait(owner_channel(owner), b"garbage")
            assert await next_frames(feed) == [("resync", {"type": "resync"})]
            unknown = {"kind": "created", "chat": {"id": CHAT}}
            bus.publish_nowait(owner_channel(owner), json.dumps(unknown).encode())
            await instance.chats.change(chat_id, c.Rename(title="u"))
            [(_, shown)] = await next_frames(feed)
            assert (shown["kind"], shown["chat"]["title"]) == ("title_change", "u")


async def told_by(bus: MemoryBus, instance: Instance, message: bytes | None, monkeypatch: Any) -> int:
    """Which fact a watcher is given when another process wrote it and only this message tells of it."""
    monkeypatch.setattr(watch, "POLL_S", 3600)
    chat_id = (await instance.chats.create(title="t")).chat_id
    async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
        await watcher.next_batch()
        elsewhere = StoredChat(instance.store, chat_id)
        await elsewhere.load()
        await elsewhere.do(c.Rename(title="u"))
        if message is None:
            bus.notify_dropped_nowait()
        else:
            bus.publish_nowait(stream_channel(chat_id), message)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for frame in (await watcher.next_batch()).frames:
                    if frame.type == "title_changed":
                        assert frame.seq is not None
                        return frame.seq


@pytest.mark.parametrize("message", [None, b'{"status":"paused"}', b"\xff", b'{"seq":2}', b'{"seq":900}'])
async def test_a_watcher_looks_whoever_tells_of_it(message: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0) as instance:
        assert await told_by(bus, instance, message, monkeypatch) == 2


async def test_a_hint_of_what_is_known_costs_no_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_S", 3600)
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
            await watcher.next_batch()
            before = METRICS.log_reads._value.get()
            for _ in range(50):
                bus.publish_nowait(stream_channel(chat_id), b'{"seq":1}')
            await instance.chats.change(chat_id, c.Rename(title="u"))
            await wait_until(lambda: watcher.reader.seq >= 2)
            assert METRICS.log_reads._value.get() == before
            for _ in range(50):
                bus.publish_nowait(stream_channel(chat_id), b"garbage")
            await asyncio.sleep(0)
            await wait_until(lambda: METRICS.log_reads._value.get() != before)
            assert METRICS.log_reads._value.get() <= before + 2, "one look for all that wait"
