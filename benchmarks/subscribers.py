"""Subscribers in processes of their own: ones that only receive frames (the floor), and ones that fold a session."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import zmq

from antiphon.client.zmq import QUEUED_FRAMES_MAX, RemoteInstance
from antiphon.client.zmq_watch import SessionWatch
from antiphon.core.values import Value
from antiphon.core.view import View
from antiphon.errors import PeerError
from antiphon.wire import instance as i

PROBE = b"?"
TOKEN_HEAD = i.topic_prefix(i.TOPIC_LLM_TOKEN)
SILENCE_MS = 500
"""How long a subscriber waits for the next frame before it queries missing deltas, in milliseconds."""
DEADLINE_S = 120.0
POLL_S = 0.02


class Receive(Value):
    """Receive `count` frames, and do nothing with them."""

    endpoint: str
    count: int


class Fold(Value):
    """Keep views of sessions until each one's draft has this length; lose each `lost_every`th frame (0: none)."""

    pub_endpoint: str
    rpc_endpoint: str
    session_ids: tuple[str, ...]
    length: int
    lost_every: int = 0


class Report(Value):
    """What a subscriber came to: when it had everything, in how many frames, how often it had to ask, and the digest
    of its text."""

    at: float
    frames: int
    asked: int = 0
    digest: str = ""


class Subscribers:
    """Subscribers, each in its own process, which do one job after another. Use it as a context manager."""

    def __init__(self, count: int) -> None:
        self.count = count
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(count)]
        self._pipes: list[Connection] = [pair[0] for pair in pairs]
        self._processes = [context.Process(target=_work, args=(pair[1],), daemon=True) for pair in pairs]

    def __enter__(self) -> Subscribers:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            if kind is None:
                pipe.send(None)
                process.join()
            else:
                process.kill()

    async def begin(self, job: Receive | Fold, probe: Callable[[], Awaitable[None]]) -> None:
        """Give all of them a job; `probe` publishes something again and again until each has received it."""
        for pipe in self._pipes:
            pipe.send(job)
        waiting = list(self._pipes)
        while waiting:
            await probe()
            await asyncio.sleep(POLL_S)
            waiting = [pipe for pipe in waiting if not pipe.poll() or pipe.recv() != "ready"]

    async def reports(self) -> list[Report]:
        """The reports of all. The event loop keeps running, so they can send queries."""
        async with asyncio.timeout(DEADLINE_S):
            while not all(pipe.poll() for pipe in self._pipes):
                await asyncio.sleep(POLL_S)
        found = [pipe.recv() for pipe in self._pipes]
        for one in found:
            if not isinstance(one, Report):
                raise RuntimeError(f"a subscriber failed: {one}")
        return found


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- in the subscriber's process


def _work(pipe: Connection) -> None:
    while (job := pipe.recv()) is not None:
        try:
            report: Any = _receive(pipe, job) if isinstance(job, Receive) else asyncio.run(_fold(pipe, job))
        except (PeerError, OSError, zmq.ZMQError) as error:
            report = repr(error)
        pipe.send(report)


def _receive(pipe: Connection, job: Receive) -> Report:
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.RCVHWM, 0)
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        sub.connect(job.endpoint)
        sub.recv()
        pipe.send("ready")
        left = job.count
        while left:
            left -= sub.recv() != PROBE
        return Report(at=time.monotonic(), frames=job.count)


async def _fold(pipe: Connection, job: Fold) -> Report:
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.RCVHWM, QUEUED_FRAMES_MAX)
        sub.setsockopt(zmq.RCVTIMEO, SILENCE_MS)
        for prefix in (i.topic_prefix(i.TOPIC_INSTANCE_HEARTBEAT), TOKEN_HEAD):
            sub.setsockopt(zmq.SUBSCRIBE, prefix)
        sub.connect(job.pub_endpoint)
        async with RemoteInstance(job.pub_endpoint, job.rpc_endpoint) as remote:
            folding = Folding(remote, job)
            await folding.ask(folding.unfinished)
            while _next(sub) is None:
                pass
            pipe.send("ready")
            while folding.unfinished:
                await folding.apply(_next(sub))
            return folding.report()


class Follower:
    """One session's watch, folded."""

    def __init__(self, remote: RemoteInstance, session_id: str) -> None:
        self.session_id = session_id
        self.view = View()
        self._watch = SessionWatch(remote, session_id)

    async def catch_up(self) -> None:
        async for event in self._watch.catch_up():
            self.view.apply(event)

    def apply(self, envelope: i.BriefEnvelope) -> bool:
        """Whether it said all there is to know."""
        delta, is_enough = self._watch.apply(envelope)
        if delta is not None:
            self.view.apply(delta)
        return is_enough


class Folding:
    """The views of a job's sessions; `unfinished` are those that have not got all."""

    def __init__(self, remote: RemoteInstance, job: Fold) -> None:
        self._job = job
        self._followers = {session_id: Follower(remote, session_id) for session_id in job.session_ids}
        self._frames = self._asked = 0
        self.unfinished = dict(self._followers)

    async def ask(self, followers: dict[str, Follower]) -> None:
        for follower in list(followers.values()):
            await follower.catch_up()
            self._finish_if_complete(follower)

    async def apply(self, frame: bytes | None) -> None:
        """Apply a frame, or query missing deltas after a gap and after a timeout (None)."""
        if frame is None:
            self._asked += len(self.unfinished)
            await self.ask(self.unfinished)
        elif frame.startswith(TOKEN_HEAD):
            self._frames += 1
            if not self._job.lost_every or self._frames % self._job.lost_every:
                await self._apply(i.decode_frame(frame, i.BriefEnvelope))

    async def _apply(self, envelope: i.BriefEnvelope) -> None:
        follower = self._followers[envelope.session_id]
        if not follower.apply(envelope):
            self._asked += 1
            await follower.catch_up()
        self._finish_if_complete(follower)

    def _finish_if_complete(self, follower: Follower) -> None:
        if follower.view.draft.position >= self._job.length:
            self.unfinished.pop(follower.session_id, None)

    def report(self) -> Report:
        at = time.monotonic()
        text = "".join(follower.view.draft.text() for follower in self._followers.values())
        return Report(at=at, frames=self._frames, asked=self._asked, digest=digest_of(text))


def _next(sub: zmq.Socket[bytes]) -> bytes | None:
    """The next frame, waited for in the loop's thread: nothing else happens in this process. None: silence."""
    try:
        return sub.recv()
    except zmq.Again:
        return None
