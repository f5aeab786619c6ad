"""Followers over a lossy socket: what they show is what the log says."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from antiphon.api.zmq.endpoint import ZmqEndpoint
from antiphon.client.zmq import RemoteInstance
from antiphon.core.model import Status, WhenBusy
from antiphon.core.view import View
from antiphon.errors import NotFound, TooLarge, Unavailable
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.wire.instance import encode_frame, frame_head
from antiphon.wire.stream import message_json
from support.waiting import DEADLINE_S, wait_until

from .peers import open_endpoint

pytestmark = pytest.mark.anyio


def remote_of(endpoint: ZmqEndpoint) -> RemoteInstance:
    return RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint)


async def rested(instance: Instance, chat_id: str, answers: int) -> None:
    async with asyncio.timeout(60):
        while True:
            chat = await instance.chats.get(chat_id)
            page = await instance.chats.page(chat_id, limit=1000)
            done = sum(message_json(chat_id, entry)["role"] == "assistant" for entry in page.messages)
            if chat.status is Status.WAITING and done >= answers:
                return
            await asyncio.sleep(0.01)


async def shown_when_complete(remote: RemoteInstance, session_id: str, seq: int) -> View:
    async with asyncio.timeout(DEADLINE_S), aclosing(remote.follow(session_id)) as views:
        async for view in views:
            if view.seq >= seq:
                return view
    raise AssertionError("a follower goes on")


async def test_joins_at_random_instants_all_come_to_what_the_log_says(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), remote_of(endpoint) as remote:
        session_id = (await remote.create_session()).id
        rnd = random.Random(3)

        async def join() -> list[str]:
            await asyncio.sleep(rnd.uniform(0, 1.5))
            async with remote_of(endpoint) as own, aclosing(own.follow(session_id)) as views:
                async for view in views:
                    texts = [part["text"] for m in view.messages for part in m["content"] if m["role"] == "assistant"]
                    if len(texts) == 3 and view.status == "waiting":
                        return texts
            raise AssertionError("a follower goes on")

        joins = [asyncio.create_task(join()) for _ in range(40)]
        for n in range(3):
            await remote.send(session_id, f"/tokens {100 + n}\n/rate 300")
        async with asyncio.timeout(60):
            shown = await asyncio.gather(*joins)
        expected = ["".join(f"w{i} " for i in range(1, 101 + n)) for n in range(3)]
        assert shown == [expected] * 40


async def test_dropped_frames_are_made_good(tmp_path: Path) -> None:
    """Half of all frames are lost on the way; every view is a step of what the log says."""
    rnd = random.Random(7)
    async with open_endpoint(tmp_path / "data") as (_, endpoint), remote_of(endpoint) as remote:
        real = endpoint._sockets.publish_nowait

        def lossy(frame: bytes) -> None:
            if rnd.random() < 0.5:
                real(frame)

        endpoint._sockets.publish_nowait = lossy  # type: ignore[method-assign]
        session_id = (await remote.create_session()).id
        previews: list[str] = []

        async def follow() -> View:
            async with aclosing(remote.follow(session_id)) as views:
                async for view in views:
                    previews.append(view.draft.text())
                    if view.status == "waiting" and view.seq > 3:
                        return view
            raise AssertionError("a follower goes on")

        following = asyncio.create_task(follow())
        await remote.send(session_id, "/tokens 300\n/rate 300")
        async with asyncio.timeout(60):
            view = await following
        whole = "".join(f"w{i} " for i in range(1, 301))
        assert view.messages[-1]["content"] == [{"type": "text", "text": whole}]
        assert all(whole.startswith(preview) for preview in previews)
        assert len(set(previews)) > 5


async def test_a_follower_outlives_the_publisher(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_endpoint(data) as (_, endpoint), remote_of(endpoint) as remote:
        session_id = (await remote.create_session("/say one")).id
        endpoints = endpoint.pub_endpoint, endpoint.rpc_endpoint
    async with RemoteInstance(*endpoints, timeout_s=60) as remote:
        seen: list[int] = []

        async def follow() -> None:
            async with aclosing(remote.follow(session_id)) as views:
                async for view in views:
                    seen.append(sum(m["role"] == "assistant" for m in view.messages))

        following: asyncio.Task[None] | None = None
        for lives in range(2, 6):
            async with open_endpoint(data) as (instance, _):
                following = following or asyncio.create_task(follow())
                await instance.chats.send(session_id, f"/say {lives}")
                await rested(instance, session_id, lives)
                await wait_until(
                    lambda lives=lives, following=following: following.done() or (seen and seen[-1] >= lives),
                    f"the follower shows the answer of life {lives}",
                )
                assert not following.done(), following
        assert following is not None
        following.cancel()
        await asyncio.wait({following})
        assert seen == sorted(seen), "what was shown is never taken back"


async def test_the_next_instance_is_followed_from_its_first_heartbeat(tmp_path: Path) -> None:
    """Without a silence that would make the follower ask."""
    data = tmp_path / "data"
    async with open_endpoint(data) as (_, endpoint), remote_of(endpoint) as remote:
        session_id = (await remote.create_session("/say one")).id
        endpoints = endpoint.pub_endpoint, endpoint.rpc_endpoint
    async with (
        RemoteInstance(*endpoints, timeout_s=60, silence_s=3600.0) as remote,
        aclosing(remote.follow(session_id)) as views,
    ):
        async with open_endpoint(data) as (instance, _):
            assert not (await anext(views)).is_deleted
        async with open_endpoint(data) as (instance, _):
            await instance.chats.send(session_id, "/say two")
            async with asyncio.timeout(DEADLINE_S):
                async for view in views:
                    if view.messages and view.messages[-1]["content"][0].get("text") == "two":
                        return


async def test_typed_methods_and_errors(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), remote_of(endpoint) as remote:
        assert (await remote.ping()).instance_id == instance.instance_id
        session = await remote.create_session("/say hi", title="T")
        await rested(instance, session.id, 1)
        assert [m.content for m in await remote.messages(session.id)] == ["/say hi", "hi"]
        assert (await remote.session(session.id)).message_count == 2
        await remote.activate(session.id)
        assert (await remote.state_sync()).active_session_id == session.id
        assert [item.id for item in await remote.sessions()] == [session.id]
        sent = await remote.command(session.id, "send_message", content="/say x", client_message_id="c1")
        again = await remote.command(session.id, "send_message", content="/say x", client_message_id="c1")
        assert sent == again
        with pytest.raises(NotFound):
            await remote.session("missing")
        with pytest.raises(NotFound):
            await remote.state_sync("/somewhere/else")


async def test_an_unanswered_call_has_a_deadline() -> None:
    async with RemoteInstance("ipc:///nowhere/pub", "ipc:///nowhere/rpc", timeout_s=0.05) as remote:
        with pytest.raises(Unavailable):
            await remote.ping()


async def test_events_that_cannot_be_read_are_skipped_and_counted(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (_, endpoint), remote_of(endpoint) as remote:
        got: list[Any] = []

        async def read() -> None:
            async with aclosing(remote.events()) as events:
                async for envelope in events:
                    got.append(envelope)

        reading = asyncio.create_task(read())
        async with asyncio.timeout(DEADLINE_S):
            await wait_until(lambda: endpoint._sockets.has_subscribers)
            for garbage in (b"no zero byte", b"topic\0{", b"a\0" + b'{"topic":"b"}', b"\xff\0\xff"):
                endpoint._sockets.publish_nowait(garbage)
            await endpoint.publisher.publish_heartbeat()
            await wait_until(lambda: got and remote.skipped_frames >= 4)
        reading.cancel()
        await asyncio.wait({reading})
        assert remote.skipped_frames == 4


async def test_a_follower_waits_for_an_instance_that_is_away_longer_than_a_call_may_take(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_endpoint(data) as (_, endpoint):
        async with remote_of(endpoint) as remote:
            session_id = (await remote.create_session("/say one")).id
        own = RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint, timeout_s=1.0)
        views = own.follow(session_id)
        await anext(views)
    async with own, aclosing(views):
        following = asyncio.create_task(_follow_to(views, "two"))
        reads = itertools.count()
        start = next(own._calls._ids)
        await wait_until(  # each check takes an id too; two calls were begun, so one was given up
            lambda: next(own._calls._ids) - start - next(reads) >= 1 + 2
        )
        assert not following.done(), "an unanswered call does not end the watch"
        async with open_endpoint(data) as (instance, _):
            await instance.chats.send(session_id, "/say two")
            async with asyncio.timeout(60):
                await following


async def _follow_to(views: AsyncGenerator[View, None], text: str) -> None:
    async for view in views:
        if any(part.get("text") == text for m in view.messages for part in m["content"]):
            return


async def test_a_state_that_is_too_large_for_one_answer_is_followed_from_the_beginning(tmp_path: Path) -> None:
    limits = {"queue_bytes": 64 * 1024 * 1024}
    async with open_endpoint(tmp_path / "data", limits=limits) as (instance, endpoint), remote_of(endpoint) as remote:
        session_id = (await remote.create_session("/stall 60")).id
        for n in range(5):
            how = WhenBusy.STEER if n < 4 else WhenBusy.QUEUE
            await instance.chats.send(session_id, f"{n}" * 3_900_000, when_busy=how)
        with pytest.raises(TooLarge):
            await remote.read(session_id)
        async with asyncio.timeout(60), aclosing(remote.follow(session_id)) as views:
            view = await anext(views)
        assert [len(item["content"][0]["text"]) for item in view.queued_messages] == [3_900_000] * 5


async def test_a_payload_that_is_none_is_skipped_and_the_view_is_right(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), remote_of(endpoint) as remote:
        session_id = (await remote.create_session()).id
        async with aclosing(remote.follow(session_id)) as views:
            await anext(views)
            head = frame_head("llm.token", instance.instance_id, str(tmp_path), session_id)
            async with asyncio.timeout(DEADLINE_S):
                while not remote.skipped_frames:
                    endpoint._sockets.publish_nowait(encode_frame(head, 0, {"token": 5}))
                    await remote.send(session_id, "/say x")
                    await anext(views)
