"""A simulated process: one instance on a host of its own, and the requests and streams of its clients.

It is started, drained, frozen, woken and killed as a real one is: what was under way at that moment hangs, breaks
off, or has already happened and no client learned of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from antiphon.cluster.bus_link import BusLink
from antiphon.cluster.shared_store import SharedStore
from antiphon.errors import AntiphonError, Unavailable
from antiphon.observe.crash_points import AT_POINT
from antiphon.options import Options
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.testing.ids import SeededIds
from antiphon.watch.watcher import Watcher
from antiphon.wire.stream import Frame
from antiphon.worker.agent import Agent
from support.simulated_model import Rehearsed, SimulatedModel, make_tool
from support.simulated_network import HostBus, HostLink
from support.simulated_store import HostPresence, HostStore, StoreLine
from support.simulated_world import LOST_LATELY_S, World
from support.virtual_loop import Host

T = TypeVar("T")

WAY_S = 0.0005
"""From a client to its instance."""

LOCK_FREE_S = 0.2
"""How long after a death the lock of the session is freed at the latest, in seconds."""

RETRY_START_S = 0.5
DRAIN_S = 2.0


class SimulatedInstance(EmbeddedInstance):
    """An instance without the thread that watches the event loop's real time."""

    async def _watch_loop(self) -> None:
        """Virtual time does not stand still."""


class Stream:
    """A watcher's connection, as its client has it: frames come until it is cut."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._frames: deque[Frame] = deque()
        self._is_cut = False
        self._coming: asyncio.Future[None] | None = None
        self.serving: asyncio.Task[None] | None = None
        self.refused: AntiphonError | None = None

    def put(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._wake()

    def cut(self) -> None:
        self._is_cut = True
        self._wake()

    def _wake(self) -> None:
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(None)

    async def next(self) -> Frame | None:
        """The next frame; None: it is closed."""
        while not self._frames and not self._is_cut:
            self._coming = self._loop.create_future()
            await self._coming
        return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        self.cut()
        if self.serving is not None:
            self.serving.cancel()


class Process:
    """`start` it; `ask` and `open_stream` are its clients' ways in."""

    def __init__(self, world: World, rehearsed: Rehearsed, name: str) -> None:
        self.world = world
        self.host = Host(name)
        ids = self._ids = SeededIds(world.random(f"ids {name}").getrandbits(64))
        self.instance_id = ids.uuid()
        self.random: Random = world.random(f"process {name}")
        self.woken_at = 0.0
        self.trouble_at = 0.0
        self.is_ready = False
        self._rehearsed = rehearsed
        self._asked: dict[asyncio.Future[Any], None] = {}
        self._streams: dict[Stream, None] = {}
        self._draining: asyncio.Future[None] = world.loop.create_future()
        self.bus = HostBus(world, self)
        line = StoreLine(world, self)
        self.presence = HostPresence(world, line)
        self.store = HostStore(world, line, name)
        self.link: BusLink | HostLink | None = None
        self.main: asyncio.Task[None] | None = None
        self.on_death: Callable[[], None] | None = None
        world.processes[self.instance_id] = self

    @property
    def is_running(self) -> bool:
        return not self.host.is_dead

    @property
    def is_well(self) -> bool:
        """Whether it works now."""
        return self.is_ready and not self.host.is_dead and not self.host.is_frozen

    @property
    def can_answer(self) -> bool:
        """Whether it has been awake long enough to receive what was asked of it."""
        return self.is_well and self.world.loop.time() - self.woken_at > LOST_LATELY_S

    # --- its life

    def start(self) -> None:
        self.host.context.run(AT_POINT.set, self._at_point)
        self.main = self.world.loop.create_task(self._run(), context=self.host.context)

    async def _run(self) -> None:
        """As `antiphon serve`: a store that cannot be reached yet is tried again."""
        while True:
            try:
                await self._serve()
            except Unavailable as error:
                self.world.note(f"start failed: {error}")
                await asyncio.sleep(RETRY_START_S)
            else:
                break
        self.die("drained")

    async def _serve(self) -> None:
        loop = self.world.loop
        is_bus = self.world.profile.link_is_bus
        self.link = link = BusLink(self.bus, self.instance_id) if is_bus else HostLink(self.world, self)
        self.instance = instance = SimulatedInstance(
            Options(drain_s=DRAIN_S, concurrency=8),
            store=self.store,
            bus=self.bus,
            ids=self._ids,
            agent=Agent(model=SimulatedModel(self._rehearsed, self), tools=[make_tool(self._rehearsed)]),
            lock=None,
            instance_id=self.instance_id,
            shared_store=SharedStore(presence=self.presence, link=link),
        )
        try:
            await instance.start()
        except BaseException:
            await instance.aclose()
            raise
        self.world.note("ready")
        self.is_ready, self.woken_at = True, loop.time()
        self.world.note_attendance()
        background = instance.run_in_background()
        try:
            await asyncio.wait({background, self._draining}, return_when=asyncio.FIRST_COMPLETED)
            self.is_ready = False
            self.world.note_attendance()
            await instance.stop()
        finally:
            background.cancel()
            await asyncio.wait({background})
            if not background.cancelled() and background.exception() is not None:
                self.world.broken("LOUD", "", f"the background failed: {background.exception()!r}")
                self.on_death = None  # the next process would fail as well, without end
            await instance.aclose()

    @property
    def is_draining(self) -> bool:
        return self._draining.done()

    def drain(self) -> None:
        """SIGTERM."""
        self.world.note(f"{self.host.name} is asked to end")
        if not self._draining.done():
            self._draining.set_result(None)

    def freeze(self) -> None:
        self.world.note(f"{self.host.name} freezes")
        self.world.loop.freeze(self.host)
        self.world.note_attendance()

    def wake(self) -> None:
        if self.host.is_frozen:
            self.world.note(f"{self.host.name} wakes")
            self.woken_at = self.world.loop.time()
            self.world.loop.wake(self.host)
            self.world.note_attendance()

    def die(self, why: str) -> None:
        """From this moment none of its code runs; its connections break."""
        if self.host.is_dead:
            return
        self.world.note(f"{self.host.name} is dead: {why}")
        self.world.loop.kill(self.host)
        self.world.note_attendance()
        if self.on_death is not None:
            self.on_death()
        loop, world = self.world.loop, self.world
        loop.call_later(
            self.random.uniform(0, LOCK_FREE_S), world.memory.presence.kill, self.instance_id, context=world.context
        )
        for answer in tuple(self._asked):
            if not answer.done():
                answer.set_exception(ConnectionResetError())
        for stream in tuple(self._streams):
            stream.cut()

    def _at_point(self, name: str) -> None:
        world = self.world
        if not world.is_calm and self.is_ready and self.random.random() < world.profile.crash_point:
            self.die(f"at {name}")

    def hear(self, peer: str, message: bytes) -> None:
        """A message of another process has come over the link."""
        if self.link is not None:
            self.link.received.emit(peer, message)

    # --- its clients

    async def ask(self, make: Callable[[EmbeddedInstance], Awaitable[T]], *, timeout_s: float = 5.0) -> T:
        """What a handler answers (an `AntiphonError` is raised). Raises `OSError` where no answer comes."""
        if self.host.is_dead:
            raise ConnectionRefusedError
        answer: asyncio.Future[T] = self.world.loop.create_future()
        self._asked[answer] = None
        self.world.loop.call_later(WAY_S, self._handle, make, answer, context=self.host.context)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise ConnectionAbortedError from None
        finally:
            self._asked.pop(answer, None)

    def _handle(self, make: Callable[[EmbeddedInstance], Awaitable[T]], answer: asyncio.Future[T]) -> None:
        self.world.loop.create_task(self._answer(make, answer))

    async def _answer(self, make: Callable[[EmbeddedInstance], Awaitable[T]], answer: asyncio.Future[T]) -> None:
        error: Exception | None = None
        try:
            if not self.is_ready:
                raise Unavailable("starting or stopping")
            result = await make(self.instance)
        except AntiphonError as failure:
            error = failure
        if answer.done() or self.host.is_dead:
            return  # no client learns of it
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def open_stream(self, chat_id: str, cursor: tuple[int, int] | None, *, until_idle: bool = False) -> Stream:
        stream = Stream(self.world.loop)
        if self.host.is_dead:
            stream.cut()
            return stream
        self._streams[stream] = None
        work = self._watch(chat_id, cursor, until_idle, stream)
        stream.serving = self.world.loop.create_task(work, context=self.host.context)
        return stream

    async def _watch(self, chat_id: str, cursor: tuple[int, int] | None, until_idle: bool, stream: Stream) -> None:
        """As api/http/sse.py writes it."""
        try:
            if not self.is_ready:
                raise Unavailable("starting or stopping")
            watch, owner_id = self.instance.watch, self.instance.owner_id
            async with watch.open_watcher(chat_id, cursor, owner_id=owner_id, until_idle=until_idle) as watcher:
                while not watcher.is_closed and not self.host.is_dead:
                    for frame in await _next_frames(watcher):
                        stream.put(frame)
        except AntiphonError as error:
            self.world.note(f"stream of {chat_id[:8]} at {cursor}: {error}")
            stream.refused = error
        finally:
            self._streams.pop(stream, None)
            stream.cut()


async def _next_frames(watcher: Watcher) -> list[Frame]:
    while watcher.is_behind:
        batch = await watcher.next_old_batch()
        if batch is not None:
            return batch.frames
    return (await watcher.next_batch()).frames
