"""Every message on the bus is a hint: from older or foreign peers, duplicated, late, or lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.hints import (
    EVENTS_QUEUED_MAX,
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
from antiphon.options import Timing, WatchTiming
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.testing.stored_chat import StoredChat
from antiphon.wire.notify import ChatEvent, handle_chat_event
from support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.anyio

CHAT = "0b0b0b0b-1111-4222-8333-444444444444"
NO_POLLS = Timing(watch=WatchTiming(poll_s=3600))
GARBAGE = (b"", b"{", b"[]", b"\xff", b"null", b'{"seq":"x"}', b'{"chat":5,"seq":[]}', b"[" * 100_000)


def test_only_the_needed_fields_of_a_hint_are_decoded() -> None:
    assert stream_hint(b'{"after_message_id":4,"status":"paused","seq":7,"retry":5}').seq == 7
    assert stream_hint(b'{"after_message_id":4,"status":"pending"}').seq is None
    hint = chat_hint(b'{"kind":"moved","chat":{"id":"%s","status":"completed"}}' % CHAT.upper().encode())
    assert (hint.kind, hint.chat_id, hint.seq) == ("moved", CHAT, None)
    assert text_hint(CHAT.encode()) == CHAT


@pytest.mark.parametrize("message", GARBAGE, ids=lambda message: repr(message[:10]))
def test_a_malformed_hint_is_counted_and_handled_as_dropped(message: bytes) -> None:
    counter = METRICS.unexpected.labels("malformed_hint")
    before = counter._value.get()
    assert (stream_hint(message).seq, chat_hint(message).chat_id) == (None, "")
    assert counter._value.get() > before


def test_a_malformed_id_in_a_hint_is_ignored() -> None:
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


async def test_a_handler_receives_messages_in_order_and_dropped_ones_as_an_error() -> None:
    bus, callback = MemoryBus(), Callback()
    unsubscribe = subscribe_events(bus, "a", handle_chat_event(callback))
    bus.publish_nowait("a", b'{"kind":"created"}')
    bus.notify_dropped_nowait()
    bus.publish_nowait("a", b'{"kind":"deleted"}')
    assert await callback.wait(3) == [
        ("created", ""),
        ("", "chat event pubsub: messages were dropped"),
        ("deleted", ""),
    ]
    unsubscribe()
    assert not bus.has_subscribers("a")


async def test_a_slow_handler_is_notified_of_dropped_messages() -> None:
    bus, callback = MemoryBus(), Callback()
    unsubscribe = subscribe_events(bus, "a", handle_chat_event(callback))
    for _ in range(EVENTS_QUEUED_MAX + 10):
        bus.publish_nowait("a", b'{"kind":"created"}')
    for _ in range(3):
        await asyncio.sleep(0)
    calls = await callback.wait(5)
    assert ("", "chat event pubsub: messages were dropped") in calls
    assert len(calls) < 20
    unsubscribe()


# --- feeds and readers


async def next_frames(feed: Any) -> list[tuple[str, Any]]:
    async with asyncio.timeout(DEADLINE_S):
        return [(frame.type, json.loads(frame.data)) for frame in await feed.next_batch()]


async def test_a_feed_reads_the_chat_in_a_foreign_hint_or_all_chats_without_one() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0) as instance:
        owner = instance.chats.owner_id
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_feed(owner) as feed:
            assert await next_frames(feed) == [("resync", {"type": "resync"})]
            for kind in ("status_change", "moved"):
                peer = {"kind": kind, "chat": {"id": chat_id.upper(), "title": "from the peer"}}
                bus.publish_nowait(owner_channel(owner), json.dumps(peer).encode())
                [(type_, shown)] = await next_frames(feed)
                assert (type_, shown["kind"], shown["chat"]["title"]) == ("chat", "status_change", "t")
            bus.publish_nowait(owner_channel(owner), b"garbage")
            assert await next_frames(feed) == [("resync", {"type": "resync"})]
            unknown = {"kind": "created", "chat": {"id": CHAT}}
            bus.publish_nowait(owner_channel(owner), json.dumps(unknown).encode())
            await instance.chats.change(chat_id, c.Rename(title="u"))
            [(_, shown)] = await next_frames(feed)
            assert (shown["kind"], shown["chat"]["title"]) == ("title_change", "u")


async def seq_shown_after(bus: MemoryBus, instance: Instance, message: bytes | None) -> int:
    """The seq of the fact that a watcher receives after another process wrote it and published only this message."""
    chat_id = (await instance.chats.create(title="t")).chat_id
    async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
        await watcher.next_batch()
        written = StoredChat(instance.store, chat_id)
        await written.load()
        await written.do(c.Rename(title="u"))
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
async def test_a_watcher_reads_the_store_after_any_hint(message: bytes | None) -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
        assert await seq_shown_after(bus, instance, message) == 2


async def test_a_hint_of_an_old_seq_costs_no_read() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0, timing=NO_POLLS) as instance:
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
            assert METRICS.log_reads._value.get() <= before + 2, "one read for all queued hints"
