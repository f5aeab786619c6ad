"""Watching a chat over connections that break."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from random import Random

import pytest

from antiphon import errors as e
from antiphon.client import AsyncClient, Client
from antiphon.core.events import Bye, CaughtUp, Delta, Event, FactEvent, Resync
from antiphon.core.view import View
from support.waiting import DEADLINE_S, wait_until

from .servers import Proxy, ServerProcess, script

pytestmark = pytest.mark.anyio


async def followed(events: AsyncIterator[Event]) -> tuple[View, list[Event]]:
    """The fold of a stream, which raises at a gap, and the events."""
    view, seen = View(), []
    async for event in events:
        view.apply(event)
        seen.append(event)
    return view, seen


def check_equal_to_history(view: View, seen: list[Event], messages: list) -> None:
    """Nothing lost, nothing twice, and the state was fetched only once."""
    assert view.messages == messages
    assert not any(isinstance(event, Resync) for event in seen)
    seqs = [event.seq for event in seen if isinstance(event, FactEvent)]
    assert seqs == list(range(1, seqs[-1] + 1))
    held: dict[int, int] = {}
    for event in seen:
        if isinstance(event, Delta):
            assert event.from_ == held.get(event.draft, 0)
            held[event.draft] = event.to


class Cuts:
    """Breaks the first 12 connections, each somewhere in its first bytes, then none (a long message must get
    through once)."""

    def __init__(self, random: Random, *, count: int = 12, bytes_max: int = 4000) -> None:
        self._random = random
        self._left = count
        self._bytes_max = bytes_max

    def __call__(self) -> int | None:
        self._left -= 1
        return self._random.randrange(1, self._bytes_max) if self._left >= 0 else None


@pytest.mark.parametrize("seed", range(3))
async def test_a_connection_that_breaks_many_times_loses_nothing(server: ServerProcess, seed: int) -> None:
    random = Random(seed)
    with Proxy(server.port, Cuts(random)) as proxy:
        async with (
            AsyncClient(server.url, server.token) as direct,
            AsyncClient(proxy.url, server.token, random=random) as client,
        ):
            chat = await direct.create_chat(script("/rate 200", "/tokens 600", "/say 🎶 ende"))
            async with asyncio.timeout(DEADLINE_S):
                view, seen = await followed(client.watch(chat["id"], after="0", until_idle=True))
            page = await direct.messages(chat["id"])
            assert proxy.connections > 12
            assert seen[-1] == Bye(reason="idle")
            check_equal_to_history(view, seen, page["messages"])
            assert sum(isinstance(event, Delta) for event in seen) > 20


def test_the_blocking_client_reconnects_too(server: ServerProcess) -> None:
    random = Random(9)
    with (
        Proxy(server.port, Cuts(random)) as proxy,
        Client(server.url, server.token) as direct,
        Client(proxy.url, server.token, random=random) as client,
    ):
        chat = direct.create_chat(script("/rate 200", "/tokens 600"))
        view, seen = View(), []
        for event in client.watch(chat["id"], after="0", until_idle=True):
            view.apply(event)
            seen.append(event)
        check_equal_to_history(view, seen, direct.messages(chat["id"])["messages"])
        assert proxy.connections > 12


async def test_a_watch_waits_for_a_killed_server(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "data")
    async with AsyncClient(first.url, first.token) as client:
        chat = await client.create_chat(script("/rate 100", "/tokens 200"))
        following = asyncio.create_task(followed(client.watch(chat["id"], after="0", until_idle=True)))
        async with aclosing(client.watch(chat["id"], after="0")) as events:
            async for event in events:
                if isinstance(event, Delta):
                    break
        await asyncio.to_thread(first.kill)
        second = await asyncio.to_thread(ServerProcess, tmp_path / "data", port=first.port)
        try:
            async with asyncio.timeout(DEADLINE_S):
                view, seen = await following
            check_equal_to_history(view, seen, (await client.messages(chat["id"]))["messages"])
            assert "attempt_lost" in [event.type for event in seen if isinstance(event, FactEvent)]
        finally:
            await asyncio.to_thread(second.stop)


async def test_a_watch_waits_for_a_server_that_stops_and_does_not_yield_its_bye(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "data")
    async with AsyncClient(first.url, first.token) as client:
        chat = await client.create_chat("/say one")
        async with aclosing(client.watch(chat["id"], after="0")) as events:
            async for event in events:
                if isinstance(event, FactEvent) and event.type == "turn_ended":
                    break
            await asyncio.to_thread(first.stop)
            second = await asyncio.to_thread(ServerProcess, tmp_path / "data", port=first.port)
            try:
                await client.send(chat["id"], "/say two")
                async with asyncio.timeout(DEADLINE_S):
                    async for event in events:
                        assert not isinstance(event, Bye | Resync)
                        if isinstance(event, FactEvent) and event.type == "turn_ended":
                            break
            finally:
                await asyncio.to_thread(second.stop)


async def test_a_silent_connection_counts_as_dead(server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        async with AsyncClient(proxy.url, server.token, silence_s=0.3) as client:
            chat = await client.create_chat()
            async with aclosing(client.watch(chat["id"], after="0")) as events:
                async for event in events:
                    if isinstance(event, CaughtUp):
                        break
                proxy.holds_back = True
                lost = proxy.connections
                async with AsyncClient(server.url, server.token) as direct:
                    await direct.send(chat["id"], "/say two")
                reading = asyncio.create_task(anext(events))
                await wait_until(lambda: proxy.connections != lost, "the client connects again")
                proxy.holds_back = False
                async with asyncio.timeout(DEADLINE_S):
                    assert await reading


async def test_a_deleted_chat_ends_the_stream(client: AsyncClient) -> None:
    chat = await client.create_chat()
    async with asyncio.timeout(DEADLINE_S), aclosing(client.watch(chat["id"])) as events:
        assert isinstance(await anext(events), Resync)
        await client.delete_chat(chat["id"])
        rest = [event async for event in events]
    assert [event.type for event in rest if isinstance(event, FactEvent)] == ["chat_deleted"]
    assert rest[-1] == Bye(reason="deleted")


async def test_a_revoked_token_ends_the_stream(client: AsyncClient, server: ServerProcess) -> None:
    made = await client.create_token("carol")
    async with AsyncClient(server.url, made["token"]) as carol:
        chat = await carol.create_chat()
        async with asyncio.timeout(DEADLINE_S), aclosing(carol.watch(chat["id"])) as events:
            assert isinstance(await anext(events), Resync)
            await client.revoke_token(made["id"])
            rest = [event async for event in events]
    assert rest[-1] == Bye(reason="revoked")


async def test_a_chat_that_was_deleted_before_the_reconnect_is_not_found(server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        async with AsyncClient(proxy.url, server.token) as client, AsyncClient(server.url, server.token) as direct:
            chat = await client.create_chat()
            async with aclosing(client.watch(chat["id"])) as events:
                await anext(events)
                proxy.holds_back = True
                await direct.delete_chat(chat["id"])
                proxy.cut()
                proxy.holds_back = False
                async with asyncio.timeout(DEADLINE_S):
                    with pytest.raises(e.NotFound):
                        await followed(events)


async def test_watch_view_folds_the_events(client: AsyncClient) -> None:
    chat = await client.create_chat(script("/rate 300", "/tokens 100"))
    drafts = set()
    async with asyncio.timeout(DEADLINE_S):
        async for view in client.watch_view(chat["id"], until_idle=True):
            drafts.add(len(view.draft.text()))
    assert len(drafts) > 5
    assert view.messages == (await client.messages(chat["id"]))["messages"]
    assert view.bye == "idle"


async def test_by_ref_a_message_has_no_content_if_its_draft_was_watched(client: AsyncClient) -> None:
    chat = await client.create_chat(script("/rate 100", "/tokens 30"))
    async with asyncio.timeout(DEADLINE_S):
        _, seen = await followed(client.watch(chat["id"], after="0", until_idle=True, by_ref=True))
    answers = [event.data for event in seen if isinstance(event, FactEvent) and "closes" in event.data]
    assert [("content" in data["message"]) for data in answers] == [False]
    held = [event.to for event in seen if isinstance(event, Delta)]
    assert held[-1] == answers[0]["closes"]["upto"]


async def test_the_feed_has_changed_chats_and_a_resync_after_a_lost_connection(
    server: ServerProcess,
) -> None:
    with Proxy(server.port) as proxy:
        async with (
            asyncio.timeout(DEADLINE_S),
            AsyncClient(proxy.url, server.token) as client,
            AsyncClient(server.url, server.token) as direct,
            aclosing(client.feed()) as events,
        ):
            assert (await anext(events)).type == "resync"
            chat = await direct.create_chat(title="fed")
            event = await anext(events)
            assert (event.type, event.data["kind"], event.data["chat"]["id"]) == ("chat", "created", chat["id"])
            proxy.cut()
            assert (await anext(events)).type == "resync"


async def test_leaving_early_closes_the_connection(client: AsyncClient, server: ServerProcess) -> None:
    chat = await client.create_chat()
    before = threading.active_count()
    for _ in range(5):
        async with aclosing(client.watch(chat["id"])) as events:
            await anext(events)
    assert threading.active_count() == before
    assert (await client.chat(chat["id"]))["seq"] == 1
