"""Followers under fire: joins at any instant, publishers that go and come, queues of one frame. What they show in the
end is what the log says, and what they showed on the way was never taken back."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from antiphon import Agent, tool
from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.api.zmq.limits import SocketLimits
from antiphon.api.zmq.sockets import InstanceSockets, open_ipc_sockets
from antiphon.client.zmq import RemoteInstance
from antiphon.core.model import Status, WhenBusy
from antiphon.core.view import View
from antiphon.local.lock import read_instance_file
from antiphon.observe.metrics import METRICS
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.wire.instance import Envelope, encode_frame, frame_head, topic_prefix
from client.servers import ServerProcess
from support.waiting import wait_until

from .peers import log_of, open_endpoint, shown

pytestmark = pytest.mark.anyio

REST_S = 120.0
TURNS = (
    "/tokens 300\n/rate 0",
    "/tokens 60\n/rate 200",
    "/think hm hm\n/tokens 40\n/rate 200\n/think and so\n/tokens 5",
    '/say first \n/call add {"a": 1, "b": 2}\n/tokens 30\n/rate 200',
    "/say short",
)


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


class Following:
    """`follow` in tasks; each view is kept, and that it never goes back is checked at every step."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self.views: list[tuple[str, View | None]] = []

    def start(self, remote: RemoteInstance, session_id: str, *, after_s: float = 0.0) -> None:
        self.views.append((session_id, None))
        self._tasks.append(asyncio.create_task(self._follow(remote, session_id, after_s, len(self.views) - 1)))

    async def _follow(self, remote: RemoteInstance, session_id: str, after_s: float, place: int) -> None:
        await asyncio.sleep(after_s)
        before = (0, 0)
        async with aclosing(remote.follow(session_id)) as views:
            async for view in views:
                self.views[place] = session_id, view
                assert (view.seq, view.draft.position) >= before, "what was shown is never taken back"
                before = (view.seq, view.draft.position)

    @property
    def have_begun(self) -> bool:
        self._check()
        return all(view is not None for _, view in self.views)

    async def until_all_show(self, expected: View, session_id: str) -> None:
        """Until every view of the session has come to where `expected` is; then it is equal."""

        def are_there() -> bool:
            self._check()
            return all(view is not None and view.cursor == expected.cursor for view in self._of(session_id))

        await wait_until(are_there, deadline_s=REST_S)
        for view in self._of(session_id):
            assert view is not None
            assert shown(view) == shown(expected)

    def _of(self, session_id: str) -> list[View | None]:
        return [view for of, view in self.views if of == session_id]

    def _check(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@asynccontextmanager
async def open_following() -> AsyncIterator[Following]:
    following = Following()
    try:
        yield following
    finally:
        await following.aclose()


async def at_rest(instance: Instance, chat_id: str) -> None:
    await wait_until(
        lambda: instance.chats.get(chat_id),
        accept=lambda chat: chat.status in (Status.WAITING, Status.ERROR) and not chat.queue,
        deadline_s=REST_S,
    )


async def join_at_random(data: Path, *, seed: int, joins: int, remotes: int) -> None:
    """One chat in which turns, a queue and an interrupt happen, joined again and again meanwhile."""
    rnd = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        instance, endpoint = await stack.enter_async_context(open_endpoint(data, agent=Agent(tools=[add])))
        endpoints = endpoint.pub_endpoint, endpoint.rpc_endpoint
        own = [await stack.enter_async_context(RemoteInstance(*endpoints, timeout_s=60)) for _ in range(remotes)]
        following = await stack.enter_async_context(open_following())
        session_id = (await own[0].create_session(rnd.choice(TURNS))).id
        for n in range(joins):
            following.start(own[n % remotes], session_id, after_s=rnd.uniform(0, 1.5))
        for _ in range(4):
            await asyncio.sleep(rnd.uniform(0, 0.4))
            how = rnd.choice([WhenBusy.QUEUE, WhenBusy.STEER, WhenBusy.INTERRUPT])
            await instance.chats.send(session_id, rnd.choice(TURNS), when_busy=how)
        await at_rest(instance, session_id)
        await following.until_all_show(await log_of(own[0], session_id), session_id)


@pytest.mark.parametrize("seed", range(2))
async def test_joins_at_random_instants_of_running_turns_fold_to_the_log(tmp_path: Path, seed: int) -> None:
    await join_at_random(tmp_path / "data", seed=seed, joins=50, remotes=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
async def test_ten_thousand_joins_fold_to_the_log(tmp_path: Path, seed: int) -> None:
    await join_at_random(tmp_path / "data", seed=seed, joins=500, remotes=5)


# --- the publisher goes and comes


async def reopen_the_endpoint(data: Path, *, times: int, seed: int) -> None:
    """Turns run on while the endpoint to them is closed and opened again."""
    rnd = random.Random(seed)
    async with open_instance(data=data, drain_s=0, agent=Agent(tools=[add])) as instance:
        ids = [(await instance.chats.create()).chat_id for _ in range(3)]

        async def send() -> None:
            await instance.chats.send(rnd.choice(ids), rnd.choice(TURNS), when_busy=WhenBusy.STEER)

        async with open_zmq_endpoint(instance, instance.asgi, data) as endpoint:
            endpoints = endpoint.pub_endpoint, endpoint.rpc_endpoint
        async with RemoteInstance(*endpoints, timeout_s=1) as remote, open_following() as following:
            async with open_zmq_endpoint(instance, instance.asgi, data):
                for session_id in ids:
                    following.start(remote, session_id)
                await wait_until(lambda: following.have_begun)
                await send()
            for _ in range(times):
                await asyncio.sleep(rnd.uniform(0, 0.1))
                async with open_zmq_endpoint(instance, instance.asgi, data):
                    await send()
                    await asyncio.sleep(rnd.uniform(0, 0.3))
                await send()
            async with open_zmq_endpoint(instance, instance.asgi, data):
                for session_id in ids:
                    await at_rest(instance, session_id)
                    await following.until_all_show(await log_of(remote, session_id), session_id)


async def test_an_endpoint_that_is_reopened_repeatedly_is_followed_through_its_turns(tmp_path: Path) -> None:
    await reopen_the_endpoint(tmp_path / "data", times=3, seed=1)


@pytest.mark.slow
async def test_an_endpoint_that_is_reopened_a_hundred_times_is_followed_through_its_turns(tmp_path: Path) -> None:
    await reopen_the_endpoint(tmp_path / "data", times=100, seed=2)


async def kill_the_server(data: Path, *, times: int, seed: int) -> None:
    """A server with turns in it, killed and started again, the same data directory each time."""
    rnd = random.Random(seed)
    server = await asyncio.to_thread(ServerProcess, data)
    found = read_instance_file(data)
    assert found is not None
    assert found.pub_endpoint is not None
    assert found.rpc_endpoint is not None
    endpoints = found.pub_endpoint, found.rpc_endpoint
    async with RemoteInstance(*endpoints, timeout_s=1) as remote, open_following() as following:
        ids = [(await remote.create_session()).id for _ in range(2)]
        for session_id in ids:
            following.start(remote, session_id)
        await wait_until(lambda: following.have_begun)
        for _ in range(times):
            for session_id in ids:
                async with RemoteInstance(*endpoints) as own:
                    await own.command(session_id, "send_message", content=rnd.choice(TURNS), when_busy="steer")
            await asyncio.sleep(rnd.uniform(0, 0.3))
            await asyncio.to_thread(server.kill)
            server = await asyncio.to_thread(ServerProcess, data)
        try:
            for session_id in ids:
                await is_idle(remote, session_id)
                await following.until_all_show(await log_of(remote, session_id), session_id)
        finally:
            await asyncio.to_thread(server.kill)


async def is_idle(remote: RemoteInstance, session_id: str) -> None:
    await wait_until(
        lambda: log_of(remote, session_id),
        accept=lambda view: view.status in ("waiting", "error") and not view.queued_messages,
        deadline_s=REST_S,
    )


async def test_a_server_that_is_killed_is_followed_through_its_turns(tmp_path: Path) -> None:
    await kill_the_server(tmp_path / "data", times=1, seed=3)


@pytest.mark.slow
async def test_a_server_that_is_killed_a_hundred_times_is_followed_through_its_turns(tmp_path: Path) -> None:
    await kill_the_server(tmp_path / "data", times=100, seed=4)


# --- queues of one frame


class CountingRemote(RemoteInstance):
    """Counts the event frames that got through."""

    got_frames = 0

    def _read_frame(self, frame: bytes) -> Envelope | None:
        self.got_frames += 1
        return super()._read_frame(frame)


async def test_queues_of_one_frame_lose_most_of_a_burst_and_nothing_of_the_fold(
    tmp_path: Path,
) -> None:
    limits = SocketLimits(queued_frames_max=1)
    async with open_endpoint(tmp_path / "data", socket_limits=limits) as (instance, endpoint):
        endpoints = endpoint.pub_endpoint, endpoint.rpc_endpoint
        async with (
            CountingRemote(*endpoints, timeout_s=60, queued_frames_max=1) as remote,
            open_following() as following,
        ):
            session_id = (await remote.create_session()).id
            for _ in range(5):
                following.start(remote, session_id)
            await wait_until(lambda: following.have_begun and len(endpoint._sockets.subscriptions) >= 9)
            before = METRICS.frames._value.get()
            for _ in range(3):
                await instance.chats.send(session_id, "/tokens 3000\n/rate 0", when_busy=WhenBusy.STEER)
            await at_rest(instance, session_id)
            await following.until_all_show(await log_of(remote, session_id), session_id)
            published = METRICS.frames._value.get() - before
            assert remote.got_frames < 5 * published, "frames were lost"


# --- many subscriptions


async def hear_all_across_restarts(
    folder: Path, topics: list[str], hear: Callable[[InstanceSockets, set[str]], Awaitable[None]]
) -> None:
    """The publisher is closed and opened again; each time every topic is received."""
    heard: set[str] = set()
    sockets = open_ipc_sockets(folder)
    hearing = asyncio.ensure_future(hear(sockets, heard))
    try:
        for _ in range(3):
            watching = asyncio.create_task(sockets.watch_subscriptions())
            await wait_until(lambda: len(sockets.subscriptions) == len(topics), deadline_s=6)  # noqa: B023
            heard.clear()
            for topic in topics:
                sockets.publish_nowait(encode_frame(frame_head(topic, "i", "p"), 0, None))
            await wait_until(lambda: len(heard) == len(topics))
            watching.cancel()
            await asyncio.wait({watching})
            sockets.close()
            await asyncio.to_thread(sockets.deliver)
            sockets = open_ipc_sockets(folder)
    finally:
        hearing.cancel()
        await asyncio.wait({hearing})
        sockets.close()
        await asyncio.to_thread(sockets.deliver)


TOPICS = [f"topic-{n:04}" for n in range(2_500)]


async def test_more_than_a_thousand_subscriptions_of_one_socket_outlive_the_publisher(tmp_path: Path) -> None:
    async def hear(sockets: InstanceSockets, heard: set[str]) -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as sub:
            sub.setsockopt(zmq.SNDHWM, 0)  # a subscriber's own: 1,000 unless it says so
            sub.setsockopt(zmq.LINGER, 0)
            for topic in TOPICS:
                sub.setsockopt(zmq.SUBSCRIBE, topic_prefix(topic))
            sub.connect(sockets.pub_endpoint)
            while True:
                heard.add((await sub.recv()).partition(b"\0")[0].decode())

    await hear_all_across_restarts(tmp_path / "run", TOPICS, hear)


async def test_so_do_those_of_a_remote_instance(tmp_path: Path) -> None:
    async def hear(sockets: InstanceSockets, heard: set[str]) -> None:
        endpoints = sockets.pub_endpoint, sockets.rpc_endpoint
        async with RemoteInstance(*endpoints) as remote, aclosing(remote.events(TOPICS)) as events:
            async for envelope in events:
                heard.add(envelope.topic)

    await hear_all_across_restarts(tmp_path / "run", TOPICS, hear)
