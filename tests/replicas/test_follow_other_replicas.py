"""A subscriber of one replica's sockets receives every chat, whichever replica writes it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.bus.memory import MemoryBus
from antiphon.client.zmq import RemoteInstance
from antiphon.core import commands as c
from antiphon.core.facts import MessageAppended
from antiphon.core.model import Status
from antiphon.options import Timing
from antiphon.ports import Bus
from antiphon.store.postgres.store import PostgresStore
from antiphon.testing.bus import FaultyBus
from antiphon.watch.owner_follower import FollowLimits
from antiphon.wire import instance as i
from api.zmq.peers import Peer, log_of, shown
from support.waiting import DEADLINE_S, wait_until
from worker.running import metric, running

from .watched_replica import (
    TURN,
    beside,
    events_of,
    has_reached,
    is_idle,
    is_unsubscribed,
    nothing_is_followed,
    polling,
    replica,
    seqs_of,
    subscribed,
    text_of,
    wait_for_position,
    watched_replica,
)

pytestmark = pytest.mark.anyio


async def test_a_turn_of_another_replica_is_published_token_by_token_and_released(
    tmp_path: Path, postgres_url: str
) -> None:
    async with beside(postgres_url, tmp_path / "data") as (here, endpoint, there, peer):
        chat_id = (await there.chats.create(content="/rate 60\n/tokens 40")).chat_id
        await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
        words = "".join(f"w{n} " for n in range(1, 41))
        assert text_of(peer, chat_id) == words
        assert len(peer.payloads(i.TOPIC_LLM_TOKEN)) > 5, "not in a single frame"
        turn = [event for event in events_of(peer, chat_id) if event["topic"] in TURN]
        topics = [event["topic"] for event in turn if event["topic"] != i.TOPIC_LLM_TOKEN]
        assert topics == [i.TOPIC_MESSAGE_APPEND, i.TOPIC_LLM_START, i.TOPIC_LLM_END, i.TOPIC_MESSAGE_APPEND]
        assert (turn[-1]["payload"]["content"], turn[-2]["payload"]["tokens_out"]) == (words, 40)
        places = [(p["draft"], p["from"], p["to"]) for p in peer.payloads(i.TOPIC_LLM_TOKEN)]
        assert all(a[2] == b[1] for a, b in pairwise(places)), "without a gap"
        await peer.until(i.TOPIC_SESSION_UPDATE, id=chat_id, message_count=2)
        await peer.until(i.TOPIC_SESSION_LIST)
        await wait_until(lambda: nothing_is_followed(here, endpoint))


async def test_a_turn_that_ends_before_it_is_read_is_published_with_its_tokens(
    tmp_path: Path, postgres_url: str
) -> None:
    async with beside(postgres_url, tmp_path / "data", hints=False, timing=polling(0.5)) as (
        _,
        _endpoint,
        there,
        peer,
    ):
        chat_id = (await there.chats.create(content="/say hello")).chat_id
        await wait_until(lambda: is_idle(there, chat_id))
        await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
        topics = [event["topic"] for event in events_of(peer, chat_id) if event["topic"] in TURN]
        assert topics == [TURN[3], *TURN]
        (token,) = peer.payloads(i.TOPIC_LLM_TOKEN)
        assert (token["token"], token["from"], token["to"]) == ("hello", 1, 6)


async def test_a_follower_shows_a_turn_of_another_replica_as_the_log_has_it(
    tmp_path: Path, postgres_url: str
) -> None:
    """Without a silence that would make it read the log."""
    async with (
        watched_replica(postgres_url, tmp_path / "data") as (_, endpoint),
        replica(postgres_url) as there,
        RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint, silence_s=3600.0) as remote,
    ):
        chat_id = (await there.chats.create(title="followed")).chat_id
        previews = set()
        async with asyncio.timeout(DEADLINE_S), aclosing(remote.follow(chat_id)) as views:
            await anext(views)
            await there.chats.send(chat_id, "/rate 60\n/tokens 30")
            async for view in views:
                previews.add(view.draft.text())
                if view.status == Status.WAITING and len(view.messages) == 2:
                    break
        assert len(previews) > 5
        assert shown(view) == shown(await log_of(remote, chat_id))


async def test_a_turn_handed_over_between_other_replicas_stays_published(tmp_path: Path, postgres_url: str) -> None:
    async with watched_replica(postgres_url, tmp_path / "data") as (_, endpoint), subscribed(endpoint) as peer:
        async with replica(postgres_url) as first:
            chat_id = (await first.chats.create(content="/rate 30\n/tokens 20")).chat_id
            await peer.until(i.TOPIC_LLM_TOKEN)
            await first.stop()
        async with replica(postgres_url):
            await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
            assert len(peer.payloads(i.TOPIC_LLM_START)) == len(peer.payloads(i.TOPIC_LLM_END)) == 2
            seqs = seqs_of(peer, chat_id)
            assert seqs == sorted(set(seqs))
            last = peer.payloads(i.TOPIC_MESSAGE_APPEND)[-1]
            assert text_of(peer, chat_id, last["draft"]) == last["content"]


async def test_a_turn_that_moves_to_this_replica_stays_published(tmp_path: Path, postgres_url: str) -> None:
    async with (
        running(store=postgres_url) as here,
        open_zmq_endpoint(here, here.asgi, tmp_path / "data") as endpoint,
        replica(postgres_url) as there,
        subscribed(endpoint) as peer,
    ):
        places, here.slots.concurrency = here.slots.concurrency, 0
        chat_id = (await there.chats.create(content="/rate 30\n/tokens 20")).chat_id
        await peer.until(i.TOPIC_LLM_TOKEN)
        here.slots.concurrency = places
        await there.stop()
        await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
        assert len(peer.payloads(i.TOPIC_LLM_START)) == len(peer.payloads(i.TOPIC_LLM_END)) == 2
        seqs = seqs_of(peer, chat_id)
        assert seqs == sorted(set(seqs))
        last = peer.payloads(i.TOPIC_MESSAGE_APPEND)[-1]
        assert text_of(peer, chat_id, last["draft"]) == last["content"]
        await wait_until(lambda: nothing_is_followed(here, endpoint))


async def test_a_turn_older_than_the_subscription_is_published_from_the_start_of_its_draft(
    tmp_path: Path, postgres_url: str
) -> None:
    async with watched_replica(postgres_url, tmp_path / "data") as (here, endpoint), replica(postgres_url) as there:
        chat_id = (await there.chats.create(content="/rate 40\n/tokens 40")).chat_id
        await wait_for_position(there, chat_id, 10)
        assert nothing_is_followed(here, endpoint), "there is no subscriber"
        async with subscribed(endpoint) as peer:
            await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
            assert text_of(peer, chat_id) == "".join(f"w{n} " for n in range(1, 41))
            assert len(peer.payloads(i.TOPIC_MESSAGE_APPEND)) == 1


async def test_a_chat_that_continues_here_is_published_with_its_whole_draft(
    tmp_path: Path, postgres_url: str
) -> None:
    """Its earlier facts are read first, and its turn is faster than that."""
    async with (
        running(store=postgres_url) as here,
        open_zmq_endpoint(here, here.asgi, tmp_path / "data") as endpoint,
    ):
        chat_id = (await here.chats.create(title="before")).chat_id
        async with subscribed(endpoint) as peer:
            real = here.store.read_entries

            async def read_slowly(*args: Any, **how: Any) -> Any:
                await wait_until(lambda: has_reached(here, chat_id, 5))
                return await real(*args, **how)

            here.store.read_entries = read_slowly  # type: ignore[method-assign]
            await here.chats.send(chat_id, "/rate 50\n/tokens 10")
            await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
            assert text_of(peer, chat_id) == peer.payloads(i.TOPIC_MESSAGE_APPEND)[-1]["content"]
            assert len(peer.payloads(i.TOPIC_MESSAGE_APPEND)) == 2


async def test_everything_is_released_when_the_last_subscriber_leaves(tmp_path: Path, postgres_url: str) -> None:
    async with watched_replica(postgres_url, tmp_path / "data") as (here, endpoint), replica(postgres_url) as there:
        async with subscribed(endpoint) as peer:
            await there.chats.create(content="/rate 20\n/tokens 4000")
            await peer.until(i.TOPIC_LLM_TOKEN)
            assert not nothing_is_followed(here, endpoint)
        await wait_until(lambda: nothing_is_followed(here, endpoint))
        assert is_unsubscribed(here)


async def test_everything_is_released_when_the_sockets_are_closed(tmp_path: Path, postgres_url: str) -> None:
    async with replica(postgres_url, claims=False) as here, replica(postgres_url) as there:
        async with open_zmq_endpoint(here, here.asgi, tmp_path / "data") as endpoint, subscribed(endpoint) as peer:
            await there.chats.create(content="/rate 20\n/tokens 4000")
            await peer.until(i.TOPIC_LLM_TOKEN)
        assert nothing_is_followed(here, endpoint)
        assert is_unsubscribed(here)


async def test_changes_of_a_chat_by_another_replica_are_published(tmp_path: Path, postgres_url: str) -> None:
    async with beside(postgres_url, tmp_path / "data", claims=False) as (here, endpoint, there, peer):
        other = await there.store.create_owner("another owner")
        await there.chats_of(other).create(title="not yours")
        chat_id = (await there.chats.create(title="one")).chat_id
        await peer.until(i.TOPIC_SESSION_UPDATE, id=chat_id, title="one", message_count=0)
        await here.chats.change(chat_id, c.Rename(title="two"))
        await peer.until(i.TOPIC_SESSION_UPDATE, id=chat_id, title="two")
        await there.chats.change(chat_id, c.Archive())
        await peer.until(i.TOPIC_SESSION_UPDATE, id=chat_id)
        await there.chats.delete(chat_id)
        await peer.until(i.TOPIC_SESSION_DELETED, id=chat_id)
        await peer.until(i.TOPIC_SESSION_LIST)
        assert seqs_of(peer, chat_id) == [1, 2, 3, 4]
        assert {event.get("sessionId", chat_id) for event in peer.seen} == {chat_id}
        await wait_until(lambda: nothing_is_followed(here, endpoint))


async def test_the_session_list_is_built_only_for_a_subscriber(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a shared store, a list queries a count for each of its sessions."""
    async with watched_replica(postgres_url, tmp_path / "data", timing=Timing(session_list_s=0.001)) as (
        here,
        endpoint,
    ):
        counted: list[str] = []
        count_messages = here.store.count_messages

        async def count(chat_id: str) -> int:
            counted.append(chat_id)
            return await count_messages(chat_id)

        monkeypatch.setattr(here.store, "count_messages", count)
        chat_id = (await here.chats.create(title="one")).chat_id
        await here.chats.change(chat_id, c.Rename(title="two"))
        for _ in range(30):
            assert await endpoint.publisher.session_count() == 1
        assert counted == [], "no client has subscribed to the list"
        async with subscribed(endpoint, i.TOPIC_SESSION_LIST) as peer:
            event = await peer.until(i.TOPIC_SESSION_LIST)
            assert [session["title"] for session in event["payload"]["sessions"]] == ["two"]


async def test_updates_keep_their_order_while_messages_are_counted(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched_replica(postgres_url, tmp_path / "data") as (here, endpoint), subscribed(endpoint) as peer:
        count, may_count = here.store.count_messages, [asyncio.Event() for _ in range(5)]
        turns = iter(may_count)

        async def count_slowly(chat_id: str) -> int:
            if (turn := next(turns, None)) is not None:
                await turn.wait()
            return await count(chat_id)

        chat_id = (await here.chats.create(title="0")).chat_id
        await peer.until(i.TOPIC_SESSION_UPDATE, title="0")
        monkeypatch.setattr(here.store, "count_messages", count_slowly)
        for n in range(1, 4):
            await here.chats.change(chat_id, c.Rename(title=f"{n}"))
        for event in reversed(may_count):
            event.set()
            await here.store.load(chat_id)
        await peer.until(i.TOPIC_SESSION_UPDATE, title="3")
        updates = peer.payloads(i.TOPIC_SESSION_UPDATE)
        assert [update["title"] for update in updates] == ["0", "1", "2", "3"]
        await here.chats.delete(chat_id)
        await peer.until(i.TOPIC_SESSION_DELETED)
        await wait_until(lambda: not endpoint.publisher._uncounted)


async def test_without_hints_appends_are_published_by_polling(tmp_path: Path, postgres_url: str) -> None:
    async with beside(postgres_url, tmp_path / "data", hints=False, timing=polling(0.2)) as (
        _,
        _endpoint,
        there,
        peer,
    ):
        chat_id = (await there.chats.create(content="/say hello")).chat_id
        await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant", session_id=chat_id)


async def test_an_earlier_append_of_another_replica_is_published_before_a_local_one(
    tmp_path: Path, postgres_url: str
) -> None:
    """Its hint was lost."""
    async with beside(postgres_url, tmp_path / "data", hints=False, claims=False, timing=polling(0.2)) as (
        here,
        _endpoint,
        there,
        peer,
    ):
        chat_id = (await here.chats.create(title="0")).chat_id
        for n in range(1, 5):
            await there.chats.change(chat_id, c.Rename(title=f"{n}"))
        await here.chats.change(chat_id, c.Rename(title="5"))
        await there.chats.change(chat_id, c.Rename(title="6"))
        await peer.until(i.TOPIC_APPEND, seq=7)
        assert seqs_of(peer, chat_id) == [1, 2, 3, 4, 5, 6, 7]


async def test_each_append_is_published_once_and_in_order_whichever_replica_writes_and_hints_are_lost(
    tmp_path: Path, postgres_url: str
) -> None:
    rnd = Random(5)

    def faulty(bus: Bus) -> Bus:
        return FaultyBus(bus, rnd, drop=0.3, double=0.2, reorder=0.2, delay_s_max=0.02, hold_s=0.1)

    async with (
        running(store=postgres_url, wrap_bus=faulty, timing=polling(0.2)) as here,
        open_zmq_endpoint(here, here.asgi, tmp_path / "data") as endpoint,
        replica(postgres_url, wrap_bus=faulty) as one,
        replica(postgres_url, wrap_bus=faulty) as other,
        subscribed(endpoint) as peer,
    ):
        replicas = (here, one, other)

        async def talk(n: int) -> str:
            chat_id = (await replicas[n % 3].chats.create(content="/tokens 30")).chat_id
            for _ in range(6):
                await asyncio.sleep(rnd.uniform(0, 0.1))
                await rnd.choice(replicas).chats.send(chat_id, "/rate 300\n/tokens 10")
                await rnd.choice(replicas).chats.change(chat_id, c.Rename(title=f"{rnd.random()}"))
            await wait_until(lambda: is_idle(here, chat_id))
            return chat_id

        chats = await asyncio.gather(*(talk(n) for n in range(6)))
        for chat_id in chats:
            seq = (await here.chats.get(chat_id)).seq
            while max(seqs_of(peer, chat_id), default=0) < seq:
                await peer.next_event()
            stored = await here.store.read_entries(chat_id, 0, limit=10_000, bytes_max=10**9)
            assert seqs_of(peer, chat_id) == [entry.seq for entry in stored if not entry.more]
            messages = [entry.seq for entry in stored if isinstance(entry.fact, MessageAppended)]
            published = [p for p in peer.payloads(i.TOPIC_MESSAGE_APPEND) if p["session_id"] == chat_id]
            assert [message["seq"] for message in published] == messages
            for answer in (message for message in published if message["role"] == "assistant"):
                assert text_of(peer, chat_id, answer["draft"]) == answer["content"]
            calls = [sum(p["session_id"] == chat_id for p in peer.payloads(t)) for t in (TURN[0], TURN[2])]
            assert calls[0] == calls[1], "each started call has ended"
        await wait_until(lambda: nothing_is_followed(here, endpoint))


async def test_a_message_removed_by_an_edit_before_it_was_published_is_not_published(
    tmp_path: Path, postgres_url: str
) -> None:
    async with beside(postgres_url, tmp_path / "data", hints=False, timing=polling(3600.0)) as (
        here,
        endpoint,
        there,
        peer,
    ):
        await wait_until(lambda: len(endpoint.publisher.follower._background) == 0)  # the running chats are listed
        chat_id = (await there.chats.create(content="/say removed")).chat_id
        await wait_until(lambda: is_idle(there, chat_id))
        await there.chats.edit(chat_id, 2, "/say kept")
        await wait_until(lambda: is_idle(there, chat_id))
        here.watch.poll_soon()
        await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant", content="kept")
        assert "removed" not in text_of(peer, chat_id)
        assert [p["content"] for p in peer.payloads(i.TOPIC_MESSAGE_APPEND)] == ["/say kept", "kept"]
        assert seqs_of(peer, chat_id)[0] == 3, "the appends are published"


async def test_an_append_that_cannot_be_published_delays_no_later_one(tmp_path: Path, postgres_url: str) -> None:
    timing = polling(3600.0, follow_retry_s=0.01)
    async with beside(postgres_url, tmp_path / "data", hints=False, claims=False, timing=timing) as (
        here,
        endpoint,
        there,
        peer,
    ):
        chat_id = (await there.chats.create(content="damaged")).chat_id
        assert isinstance(there.store, PostgresStore)
        await there.store._pool.write("UPDATE contents SET body = 'no JSON' WHERE chat_id = $1", chat_id)
        await there.chats.change(chat_id, c.Rename(title="sound"))
        here.watch.poll_soon()
        async with asyncio.timeout(DEADLINE_S):
            await peer.until(i.TOPIC_SESSION_UPDATE, title="sound")
        await wait_until(lambda: not endpoint.publisher.follower._opening)


async def test_a_session_with_too_many_unpublished_appends_skips_some(tmp_path: Path, postgres_url: str) -> None:
    limits = FollowLimits(behind_max=5)
    async with beside(
        postgres_url, tmp_path / "data", hints=False, claims=False, follow_limits=limits, timing=polling(60.0)
    ) as (
        here,
        _endpoint,
        there,
        peer,
    ):  # no poll comes in between
        skipped = metric("unexpected_events", event="skipped_chat")
        chat_id = (await here.chats.create(title="0")).chat_id
        for n in range(1, 10):
            await there.chats.change(chat_id, c.Rename(title=f"{n}"))
        await here.chats.change(chat_id, c.Rename(title="here"))
        await peer.until(i.TOPIC_APPEND, seq=11)
        assert len(seqs_of(peer, chat_id)) < 11
        assert metric("unexpected_events", event="skipped_chat") > skipped
        await there.chats.change(chat_id, c.Rename(title="there"))
        here.watch.poll_soon()
        await peer.until(i.TOPIC_SESSION_UPDATE, title="there")


async def test_chats_beyond_the_limit_of_followed_drafts_are_published_from_their_facts(
    tmp_path: Path, postgres_url: str
) -> None:
    async with beside(postgres_url, tmp_path / "data", follow_limits=FollowLimits(chats_max=1)) as (
        here,
        endpoint,
        there,
        peer,
    ):
        chats = [(await there.chats.create(content="/rate 30\n/tokens 20")).chat_id for _ in range(3)]
        for _ in chats:
            await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
            assert len(endpoint.publisher.follower) <= 1
        assert all(text_of(peer, chat_id) for chat_id in chats)
        assert metric("unexpected_events", event="unfollowed_chat")
        await wait_until(lambda: nothing_is_followed(here, endpoint))


async def test_a_subscribed_program_does_not_count_as_a_watcher(tmp_path: Path, postgres_url: str) -> None:
    """The inbox has a notification, as it has with a subscriber of the replica that runs the turn."""
    async with beside(postgres_url, tmp_path / "data") as (here, _endpoint, there, peer):
        await there.chats.create(content="/rate 60\n/tokens 20")
        await peer.until(i.TOPIC_MESSAGE_APPEND, role="assistant")
        assert await here.store.count_unread(here.owner_id) == 1


@pytest.mark.parametrize("are_hints_lost", [False, True])
async def test_the_active_session_is_the_same_on_every_replica(
    tmp_path: Path, postgres_url: str, are_hints_lost: bool
) -> None:
    bus, timing = (
        MemoryBus() if are_hints_lost else None,
        Timing(active_chat_poll_s=0.2 if are_hints_lost else 3600.0),
    )
    async with (
        watched_replica(postgres_url, tmp_path / "data", bus=bus, timing=timing) as (here, endpoint),
        watched_replica(postgres_url, tmp_path / "other", timing=timing) as (there, other),
        subscribed(endpoint, i.TOPIC_SESSION_ACTIVATED) as peer,
        Peer(other, "nothing") as one,
    ):
        chat_id = (await there.chats.create(title="active")).chat_id
        await one.ask("session.activate", {"session_id": chat_id})
        event = await peer.until(i.TOPIC_SESSION_ACTIVATED, id=chat_id)
        assert event["payload"]["title"] == "active"
        assert (await peer.ask("state.sync"))["active_session_id"] == chat_id
        await there.chats.delete(chat_id)
        await wait_until(lambda: not here.active_chat.chat_id)
