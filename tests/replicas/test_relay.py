"""Drafts that another instance writes, over real ZeroMQ connections between two instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from msgspec.structs import replace

from antiphon.bus.memory import MemoryBus
from antiphon.chats.live_drafts import LiveDrafts
from antiphon.cluster import relay, zmq_link
from antiphon.cluster.bus_link import BusLink
from antiphon.cluster.relay import RelayedDrafts
from antiphon.cluster.zmq_link import ZmqLink
from antiphon.core.draft import Draft
from antiphon.core.parts import Text, ToolCallArgs, ToolCallOpened
from antiphon.ports import InstanceRecord, Link
from support.proxy import CuttingProxy
from support.waiting import wait_until
from worker.running import metric

pytestmark = pytest.mark.anyio

CHAT = "11111111-1111-4111-8111-111111111111"


class Side:
    """One instance, as far as drafts go."""

    def __init__(self, instance_id: str, link: Link) -> None:
        self.instance_id = instance_id
        self.live = LiveDrafts()
        self.link = link
        self.relay = RelayedDrafts(self.live, link, instance_id=instance_id)
        self.changes = 0
        self.running = asyncio.create_task(self.relay.run())

    def watch(self, chat_id: str = CHAT) -> Callable[[], None]:
        return self.relay.listen(chat_id, self._count)

    def _count(self) -> None:
        self.changes += 1

    def write(self, draft: Draft, text: str, chat_id: str = CHAT) -> None:
        draft.write(Text(text))
        self.live.touch(chat_id)

    def text(self, chat_id: str = CHAT) -> str:
        draft = self.relay.get(chat_id)
        return draft.text() if draft else ""

    @property
    def record(self) -> InstanceRecord:
        return InstanceRecord(
            instance_id=self.instance_id,
            relay_endpoint=self.link.endpoint,
            relay_key=self.link.key,
            is_present=True,
        )

    async def aclose(self) -> None:
        self.running.cancel()
        self.relay.close()
        await self.link.aclose()


@asynccontextmanager
async def two_sides(kind: str) -> AsyncIterator[tuple[Side, Side]]:
    """The holder and the watching side. `kind`: who of a pair connects over ZeroMQ, or the bus."""
    ids = sorted(str(uuid4()) for _ in range(2))
    bus = MemoryBus()
    links: list[Link] = [BusLink(bus, i) if kind == "bus" else ZmqLink(i) for i in ids]
    sides = [Side(instance_id, link) for instance_id, link in zip(ids, links, strict=True)]
    for side in sides:
        side.link.know([other.record for other in sides if other is not side])
    holder, watching = sides if kind != "watcher connects" else reversed(sides)
    try:
        yield holder, watching
    finally:
        for side in sides:
            await side.aclose()


kinds = pytest.mark.parametrize("kind", ["holder connects", "watcher connects", "bus"])


@kinds
async def test_a_watcher_gets_what_was_written_before_and_what_is_written_then(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        holder.write(draft, "before ")
        watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: watching.text() == "before ")
        holder.write(draft, "and then")
        await wait_until(lambda: watching.text() == "before and then")
        assert watching.changes


@kinds
async def test_tool_calls_come_over_whole(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        for piece in (Text("I look. "), ToolCallOpened("c1", "look"), ToolCallArgs('{"a":'), ToolCallArgs("1}")):
            draft.write(piece)
            holder.live.touch(CHAT)
            await asyncio.sleep(0)
        await wait_until(lambda: (got := watching.relay.get(CHAT)) is not None and got.position == draft.position)
        got = watching.relay.get(CHAT)
        assert got is not None
        assert got.content() == draft.content()


@kinds
async def test_the_end_of_a_draft_comes_before_the_next_one(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        seen: list[tuple[int, int]] = []
        first = holder.live.open(CHAT, 5)
        holder.write(first, "a" * 40_000)

        def note() -> None:
            draft = watching.relay.get(CHAT)
            if draft is not None:
                seen.append((draft.name, draft.position))

        watching.relay.listen(CHAT, note)
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: (5, 40_000) in seen)
        holder.write(first, "b" * 40_000)
        holder.write(holder.live.open(CHAT, 8), "next")
        await wait_until(lambda: (8, 4) in seen)
        assert (5, 80_000) in seen
        assert seen == sorted(seen)


@kinds
async def test_what_a_link_loses_is_asked_for_again(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        holder.write(draft, "one ")
        await wait_until(lambda: watching.text() == "one ")
        deliver, lost = watching.link.on_message, []
        watching.link.on_message = lambda peer, message: lost.append(message)
        holder.write(draft, "two ")
        await wait_until(lambda: lost)
        watching.link.on_message = deliver
        holder.write(draft, "three")  # shows the gap
        await wait_until(lambda: watching.text() == "one two three")
        watching.link.on_message = lambda peer, message: lost.append(message)
        seen = len(lost)
        holder.write(draft, " four")
        await wait_until(lambda: len(lost) > seen)
        watching.link.on_message = deliver  # nothing more is written: the repeated wish shows what is missing
        await wait_until(lambda: watching.text() == "one two three four")


@pytest.mark.parametrize("kind", ["holder connects", "watcher connects"])
async def test_who_watches_no_more_is_sent_no_more(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        end = watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        holder.write(draft, "one")
        await wait_until(lambda: watching.text() == "one")
        end()
        await wait_until(lambda: not holder.relay._progress)
        assert not watching.relay.followed_count


async def test_a_turn_that_moves_is_followed_to_its_new_holder() -> None:
    async with two_sides("holder connects") as (first, second):
        first.write(first.live.open(CHAT, 5), "lost")
        second.watch()
        second.relay.follow(CHAT, 5, first.instance_id)
        await wait_until(lambda: second.text() == "lost")
        second.relay.follow(CHAT, 6, "")
        second.write(second.live.open(CHAT, 7), "own")  # it goes on here
        second.relay.follow(CHAT, 7, second.instance_id)
        assert second.text() == "own"
        await wait_until(lambda: not first.relay._progress)


async def test_a_listener_that_is_behind_takes_no_draft_from_its_new_holder() -> None:
    async with two_sides("holder connects") as (holder, watching):
        watching.watch()
        holder.write(holder.live.open(CHAT, 9), "new")
        watching.relay.follow(CHAT, 9, holder.instance_id)
        await wait_until(lambda: watching.text() == "new")
        watching.relay.follow(CHAT, 5, str(uuid4()))
        watching.relay.follow(CHAT, 8, "")
        holder.write(holder.live.open(CHAT, 12), "and newer")
        await wait_until(lambda: watching.text() == "and newer")
        assert list(holder.relay._progress) == [CHAT]


async def test_only_who_watches_is_told_as_watching() -> None:
    async with two_sides("holder connects") as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        holder.write(draft, "one")
        watching.relay.listen(CHAT, lambda: None)
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: watching.text() == "one")
        assert not holder.relay.is_wanted(CHAT)
        end = watching.watch()
        await wait_until(lambda: holder.relay.is_wanted(CHAT))
        end()
        await wait_until(lambda: not holder.relay.is_wanted(CHAT))
        holder.write(draft, " two")
        await wait_until(lambda: watching.text() == "one two")


async def test_only_instances_that_are_known_get_in(caplog: pytest.LogCaptureFixture) -> None:
    async with two_sides("holder connects") as (one, _):
        stranger = ZmqLink(min(str(uuid4()), "0" * 36))
        heard: list[bytes] = []
        one.link.on_message = lambda peer, message: heard.append(message)
        stranger.know([one.record])
        deadline = asyncio.get_running_loop().time() + 1.0
        sent = False
        while asyncio.get_running_loop().time() < deadline and not sent:
            sent = stranger.send_nowait(one.instance_id, b"let me in")
            await asyncio.sleep(0.02)
        assert not sent
        assert not heard
        await stranger.aclose()


async def test_a_new_instance_is_looked_for_when_it_knocks() -> None:
    ids = sorted(str(uuid4()) for _ in range(2))
    new, old = Side(ids[0], ZmqLink(ids[0])), Side(ids[1], ZmqLink(ids[1]))
    try:

        async def look() -> None:
            old.link.know([new.record])

        assert isinstance(old.link, ZmqLink)
        old.link.look = look
        new.link.know([old.record])
        assert await new.relay.ping(old.instance_id, timeout_s=5)
        assert await old.relay.ping(new.instance_id, timeout_s=5)
    finally:
        await new.aclose()
        await old.aclose()


async def test_who_was_refused_too_early_is_let_in_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_link, "ANSWER_S", 0.2)
    ids = sorted(str(uuid4()) for _ in range(2))
    new, old = Side(ids[0], ZmqLink(ids[0])), Side(ids[1], ZmqLink(ids[1]))
    try:
        refused = metric("unexpected_events", event="refused_relay_key")
        new.link.know([old.record])
        await wait_until(lambda: metric("unexpected_events", event="refused_relay_key") > refused)
        old.link.know([new.record])

        async def is_answered() -> bool:
            new.link.know([old.record])
            return await new.relay.ping(old.instance_id, timeout_s=0.1)

        await wait_until(is_answered)
    finally:
        await new.aclose()
        await old.aclose()


async def test_who_came_back_too_early_and_was_refused_is_let_in_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row was taken away while it was cut off, and it is back sooner than the row."""
    monkeypatch.setattr(zmq_link, "SILENT_S", 0.4)
    monkeypatch.setattr(zmq_link, "GREET_S", 0.05)
    async with (
        two_sides("holder connects") as (one, other),
        CuttingProxy(int(other.link.endpoint.rpartition(":")[2])) as proxy,
    ):
        one.link.know([])
        record = replace(other.record, relay_endpoint=f"tcp://127.0.0.1:{proxy.port}")
        one.link.know([record])
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        refused = metric("unexpected_events", event="refused_relay_key")
        other.link.know([])
        proxy.cut()
        await wait_until(lambda: metric("unexpected_events", event="refused_relay_key") > refused)
        other.link.know([one.record])

        async def is_answered() -> bool:
            one.link.know([record])
            return await one.relay.ping(other.instance_id, timeout_s=0.1)

        await wait_until(is_answered)


async def test_an_instance_that_cannot_be_talked_to_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_link, "SILENT_S", 0.3)
    monkeypatch.setattr(zmq_link, "GREET_S", 0.05)
    async with two_sides("holder connects") as (one, other):
        await wait_until(lambda: one.link.error is None and other.link.error is None)
        record = other.record
        await other.link.aclose()

        def is_told() -> bool:
            one.link.know([record])
            return one.link.error == f"no connection to {other.instance_id[:8]}"

        await wait_until(is_told)
        one.link.know([])
        assert one.link.error is None


async def test_a_ping_that_was_lost_is_sent_again() -> None:
    async with two_sides("holder connects") as (one, other):
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        hear, lost = other.link.on_message, []

        def lose_the_first(peer: str, message: bytes) -> None:
            if lost:
                hear(peer, message)
            else:
                lost.append(message)

        other.link.on_message = lose_the_first
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        assert lost


async def test_an_instance_that_is_gone_does_not_answer() -> None:
    async with two_sides("holder connects") as (one, other):
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        await other.link.aclose()
        assert not await one.relay.ping(other.instance_id, timeout_s=0.3)


async def test_who_wants_more_than_is_kept_for_all_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PROGRESS_MAX", 0)
    async with two_sides("bus") as (holder, watching):
        full = metric("unexpected_events", event="send_offset_overflow")
        watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: metric("unexpected_events", event="send_offset_overflow") > full)
        assert not holder.relay.is_wanted(CHAT)


@kinds
async def test_garbage_is_counted_and_passed_over(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        for garbage in (b"", b"{}", b'{"type":"later"}', b"\x80\x04.", b'{"type":"watch","wanted":[{}]}'):
            watching.link.on_message(holder.instance_id, garbage)
        assert await holder.relay.ping(watching.instance_id, timeout_s=5)


async def test_a_slow_link_gets_fewer_and_larger_messages_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FULL_S", 0.001)
    async with two_sides("holder connects") as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        holder.write(draft, "x")
        await wait_until(lambda: watching.text() == "x")
        take, sent = holder.link.send_nowait, []

        def is_taken(instance_id: str, message: bytes) -> bool:
            sent.append(message)
            return len(sent) % 7 == 0 and take(instance_id, message)

        holder.link.send_nowait = is_taken  # type: ignore[method-assign]
        for i in range(300):
            holder.write(draft, f"{i} ")
            await asyncio.sleep(0)
        await wait_until(lambda: watching.text() == draft.text())


async def test_a_message_holds_what_fits_and_the_rest_follows() -> None:
    async with two_sides("holder connects") as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        for number in range(200):
            draft.write(ToolCallOpened(f"call {number}", "n" * relay.MESSAGE_BYTES if number == 7 else "n" * 16_000))
        sizes: list[int] = []
        send = holder.link.send_nowait

        def note(instance_id: str, message: bytes) -> bool:
            sizes.append(len(message))
            return send(instance_id, message)

        holder.link.send_nowait = note  # type: ignore[method-assign]
        watching.watch()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: (got := watching.relay.get(CHAT)) is not None and got.position == draft.position)
        assert max(sizes) < 2 * relay.MESSAGE_BYTES
        assert len([size for size in sizes if size > 1_000]) > 4
