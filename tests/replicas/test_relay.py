"""Drafts that another instance writes, over real ZeroMQ connections between two instances and over a bus."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from antiphon.cluster.relay_timing import RelayLimits, RelayTiming
from antiphon.cluster.zmq_link import LinkTiming, LoadMembers, ZmqLink
from antiphon.core.parts import Text, ToolCallArgs, ToolCallOpened
from antiphon.ports import InstanceRecord
from support.proxy import CuttingProxy
from support.waiting import wait_until
from worker.running import metric

from .relay_sides import CHAT, Side, two_sides

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parents[1]

kinds = pytest.mark.parametrize("kind", ["holder connects", "watcher connects", "bus"])


@kinds
async def test_a_draft_is_followed_from_its_beginning(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        holder.write(draft, "before ")
        watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: watching.text() == "before ")
        holder.write(draft, "and then")
        await wait_until(lambda: watching.text() == "before and then")
        assert watching.changes


@kinds
async def test_tool_calls_are_relayed_completely(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        for piece in (Text("I search. "), ToolCallOpened("c1", "search"), ToolCallArgs('{"a":'), ToolCallArgs("1}")):
            draft.write(piece)
            holder.live.touch(CHAT)
            await asyncio.sleep(0)
        await wait_until(lambda: (got := watching.relay.get(CHAT)) is not None and got.position == draft.position)
        got = watching.relay.get(CHAT)
        assert got is not None
        assert got.content() == draft.content()


@kinds
async def test_the_end_of_a_draft_is_relayed_before_the_next_draft(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        seen: list[tuple[int, int]] = []
        first = holder.live.open(CHAT, 5)
        holder.write(first, "a" * 40_000)

        def record() -> None:
            draft = watching.relay.get(CHAT)
            if draft is not None:
                seen.append((draft.name, draft.position))

        watching.relay.listen(CHAT, record)
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: (5, 40_000) in seen)
        holder.write(first, "b" * 40_000)
        holder.write(holder.live.open(CHAT, 8), "next")
        await wait_until(lambda: (8, 4) in seen)
        assert (5, 80_000) in seen
        assert seen == sorted(seen)


async def test_a_peer_that_floods_a_stuck_process_and_disconnects_does_not_abort_it() -> None:
    program = await asyncio.create_subprocess_exec(sys.executable, "-m", "replicas.stuck_link", cwd=TESTS)
    assert await program.wait() == 0


@kinds
async def test_lost_deltas_are_sent_again(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        holder.write(draft, "one ")
        await wait_until(lambda: watching.text() == "one ")
        lost: list[bytes] = []

        def lose(message: bytes) -> bool:
            lost.append(message)
            return False

        watching.link.delivers = lose
        holder.write(draft, "two ")
        await wait_until(lambda: lost)
        watching.link.delivers = lambda message: True
        holder.write(draft, "three")  # shows the gap
        await wait_until(lambda: watching.text() == "one two three")
        watching.link.delivers = lose
        count = len(lost)
        holder.write(draft, " four")
        await wait_until(lambda: len(lost) > count)
        watching.link.delivers = lambda message: True  # no more deltas: the renewed subscription shows the loss
        await wait_until(lambda: watching.text() == "one two three four")


@pytest.mark.parametrize("kind", ["holder connects", "watcher connects"])
async def test_a_draft_without_listeners_is_no_longer_sent(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        stop = watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        holder.write(draft, "one")
        await wait_until(lambda: watching.text() == "one")
        stop()
        await wait_until(lambda: not holder.relay.subscribed_chats)
        assert not watching.relay.followed_count


async def test_a_turn_is_followed_to_its_new_holder() -> None:
    async with two_sides("holder connects") as (first, second):
        first.write(first.live.open(CHAT, 5), "lost")
        second.listen()
        second.relay.follow(CHAT, 5, first.instance_id)
        await wait_until(lambda: second.text() == "lost")
        second.relay.follow(CHAT, 6, "")
        second.write(second.live.open(CHAT, 7), "own")  # the turn continues on this instance
        second.relay.follow(CHAT, 7, second.instance_id)
        assert second.text() == "own"
        await wait_until(lambda: not first.relay.subscribed_chats)


async def test_a_listener_that_is_behind_does_not_end_the_subscription() -> None:
    async with two_sides("holder connects") as (holder, watching):
        watching.listen()
        holder.write(holder.live.open(CHAT, 9), "new")
        watching.relay.follow(CHAT, 9, holder.instance_id)
        await wait_until(lambda: watching.text() == "new")
        watching.relay.follow(CHAT, 5, str(uuid4()))
        watching.relay.follow(CHAT, 8, "")
        holder.write(holder.live.open(CHAT, 12), "and newer")
        await wait_until(lambda: watching.text() == "and newer")
        assert holder.relay.subscribed_chats == (CHAT,)


async def test_only_a_watched_chat_counts_as_watched_at_the_holder() -> None:
    async with two_sides("holder connects") as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        holder.write(draft, "one")
        watching.relay.listen(CHAT, lambda: None)
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: watching.text() == "one")
        assert not holder.relay.has_remote_watcher(CHAT)
        watching.watched.add(CHAT)
        await wait_until(lambda: holder.relay.has_remote_watcher(CHAT))
        watching.watched.remove(CHAT)
        await wait_until(lambda: not holder.relay.has_remote_watcher(CHAT))
        holder.write(draft, " two")
        await wait_until(lambda: watching.text() == "one two")


async def test_only_members_can_connect() -> None:
    async with two_sides("holder connects") as (one, _):
        stranger = ZmqLink(min(str(uuid4()), "0" * 36))
        received: list[bytes] = []
        one.link.received.subscribe(lambda peer, message: received.append(message))
        stranger.update_members([one.record])
        deadline = asyncio.get_running_loop().time() + 1.0
        sent = False
        while asyncio.get_running_loop().time() < deadline and not sent:
            sent = stranger.send_nowait(one.instance_id, b"let me in")
            await asyncio.sleep(0.02)
        assert not sent
        assert not received
        await stranger.aclose()


@asynccontextmanager
async def new_and_old(load: LoadMembers | None = None, **timing: float) -> AsyncIterator[tuple[Side, Side]]:
    """An instance that connects, and one that does not have its row yet and reads the rows with `load`."""
    ids = sorted(str(uuid4()) for _ in range(2))
    links = ZmqLink(ids[0], timing=LinkTiming(**timing)), ZmqLink(ids[1], load_members=load)
    new, old = Side(ids[0], links[0]), Side(ids[1], links[1])
    try:
        yield new, old
    finally:
        await new.aclose()
        await old.aclose()


async def test_a_connection_from_an_unknown_instance_triggers_a_membership_refresh() -> None:
    rows: list[InstanceRecord] = []

    async def load() -> tuple[Sequence[InstanceRecord], float]:
        return rows, 60.0

    async with new_and_old(load) as (new, old):
        rows.append(new.record)
        new.link.update_members([old.record])
        assert await new.relay.ping(old.instance_id, timeout_s=5)
        assert await old.relay.ping(new.instance_id, timeout_s=5)


async def test_an_instance_that_was_refused_is_accepted_once_it_is_a_member() -> None:
    async with new_and_old(answer_s=0.2) as (new, old):
        refused = metric("unexpected_events", event="refused_relay_key")
        new.link.update_members([old.record])
        await wait_until(lambda: metric("unexpected_events", event="refused_relay_key") > refused)
        old.link.update_members([new.record])

        async def is_answered() -> bool:
            new.link.update_members([old.record])
            return await new.relay.ping(old.instance_id, timeout_s=0.1)

        await wait_until(is_answered)


async def test_an_instance_that_was_refused_when_it_reconnected_is_accepted_later() -> None:
    """Its row was removed while it was disconnected, and it reconnects before the row is written again."""
    async with (
        two_sides("holder connects", link_timing=LinkTiming(silent_s=0.4, greeting_s=0.05)) as (one, other),
        CuttingProxy(int(other.link.endpoint.rpartition(":")[2])) as proxy,
    ):
        one.link.update_members([])
        record = replace(other.record, relay_endpoint=f"tcp://127.0.0.1:{proxy.port}")
        one.link.update_members([record])
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        refused = metric("unexpected_events", event="refused_relay_key")
        other.link.update_members([])
        proxy.cut()
        await wait_until(lambda: metric("unexpected_events", event="refused_relay_key") > refused)
        other.link.update_members([one.record])

        async def is_answered() -> bool:
            one.link.update_members([record])
            return await one.relay.ping(other.instance_id, timeout_s=0.1)

        await wait_until(is_answered)


async def test_a_link_reports_an_instance_that_does_not_answer() -> None:
    timing = LinkTiming(silent_s=0.3, greeting_s=0.05)
    async with two_sides("holder connects", link_timing=timing) as (one, other):
        await wait_until(lambda: one.link.error is None and other.link.error is None)
        record = other.record
        await other.link.aclose()

        def is_reported() -> bool:
            one.link.update_members([record])
            return one.link.error == f"no connection to {other.instance_id[:8]}"

        await wait_until(is_reported)
        one.link.update_members([])
        assert one.link.error is None


async def test_a_lost_ping_is_sent_again() -> None:
    async with two_sides("holder connects") as (one, other):
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        lost: list[bytes] = []

        def lose_first(message: bytes) -> bool:
            if lost:
                return True
            lost.append(message)
            return False

        other.link.delivers = lose_first
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        assert lost


async def test_a_closed_instance_does_not_answer() -> None:
    async with two_sides("holder connects") as (one, other):
        assert await one.relay.ping(other.instance_id, timeout_s=5)
        await other.link.aclose()
        assert not await one.relay.ping(other.instance_id, timeout_s=0.3)


async def test_a_subscription_beyond_the_limit_is_refused_and_counted() -> None:
    async with two_sides("bus", limits=RelayLimits(send_offsets_max=0)) as (holder, watching):
        full = metric("unexpected_events", event="send_offset_overflow")
        watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: metric("unexpected_events", event="send_offset_overflow") > full)
        assert not holder.relay.has_remote_watcher(CHAT)
        assert not holder.relay.subscribed_chats


@kinds
async def test_a_malformed_message_is_counted_and_skipped(kind: str) -> None:
    async with two_sides(kind) as (holder, watching):
        malformed = metric("unexpected_events", event="malformed_relay_message")
        for message in (b"", b"{}", b"\x80\x04.", b'{"type":"watch","wanted":[{}]}'):
            watching.link.received.emit(holder.instance_id, message)
        watching.link.received.emit(holder.instance_id, b'{"type":"of a newer version"}')
        assert metric("unexpected_events", event="malformed_relay_message") == malformed + 4
        assert await holder.relay.ping(watching.instance_id, timeout_s=5)


async def test_a_slow_link_gets_fewer_and_larger_messages_and_loses_nothing() -> None:
    async with two_sides("holder connects", timing=RelayTiming(back_pressure_s=0.001)) as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        holder.write(draft, "x")
        await wait_until(lambda: watching.text() == "x")
        sent: list[bytes] = []

        def accept_few(message: bytes) -> bool:
            sent.append(message)
            return len(sent) % 7 == 0

        holder.link.accepts = accept_few
        for i in range(300):
            holder.write(draft, f"{i} ")
            await asyncio.sleep(0)
        await wait_until(lambda: watching.text() == draft.text())


async def test_a_large_draft_is_sent_in_several_messages() -> None:
    async with two_sides("holder connects") as (holder, watching):
        draft = holder.live.open(CHAT, 5)
        size_max = RelayLimits().message_bytes_max
        for number in range(200):
            draft.write(ToolCallOpened(f"call {number}", "n" * size_max if number == 7 else "n" * 16_000))
        sizes: list[int] = []

        def record_size(message: bytes) -> bool:
            sizes.append(len(message))
            return True

        holder.link.accepts = record_size
        watching.listen()
        watching.relay.follow(CHAT, 5, holder.instance_id)
        await wait_until(lambda: (got := watching.relay.get(CHAT)) is not None and got.position == draft.position)
        assert max(sizes) < 2 * size_max
        assert len([size for size in sizes if size > 1_000]) > 4
