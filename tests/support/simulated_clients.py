"""The clients of a simulation: they send, queue, steer, interrupt, edit and delete, repeat what was not answered at
another process, and watch, coming and going by their cursors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from antiphon.api.http.outcomes import sent_entry
from antiphon.chats.owned import Page
from antiphon.core import commands as c
from antiphon.core.events import Bye
from antiphon.core.model import Chat, WhenBusy
from antiphon.core.parts import Role
from antiphon.errors import AntiphonError, NotFound, Unavailable
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.testing.evidence import Interrupted, Sent, Watched
from antiphon.testing.ids import SeededIds
from antiphon.wire.stream import decode_event, new_message_json
from support.simulated_process import Process
from support.simulated_world import World

T = TypeVar("T")

SILENT_S = 20.0
"""A stream on which nothing comes for longer than its pings are apart is left."""

BACK_S = 0.05


class Clients:
    """What they sent, were answered and saw."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random("clients")
        ids = SeededIds(world.random("chats").getrandbits(64))
        self.chat_ids = [ids.uuid() for _ in range(world.profile.chats)]
        self.sent: list[Sent] = []
        self.interrupted: list[Interrupted] = []
        self.watched: list[Watched] = []

    async def ask(self, make: Callable[[EmbeddedInstance], Awaitable[T]]) -> T:
        """At any process that runs."""
        running = self.world.running
        if not running:
            raise ConnectionRefusedError
        return await self.random.choice(running).ask(make)

    async def ask_until_answered(self, make: Callable[[EmbeddedInstance], Awaitable[T]]) -> T:
        while True:
            try:
                return await self.ask(make)
            except (OSError, Unavailable):
                await asyncio.sleep(0.1)

    async def create_chats(self) -> None:
        for chat_id in self.chat_ids:
            await self.ask_until_answered(lambda i, name=chat_id: i.chats.create(chat_id=name))  # type: ignore[misc]

    async def busy(self, seconds: float) -> None:
        """How long random commands are sent to every chat, in seconds."""
        until = self.world.loop.time() + seconds
        async with asyncio.TaskGroup() as tasks:
            for chat_id in self.chat_ids:
                tasks.create_task(self.use(chat_id, until))

    async def use(self, chat_id: str, until: float) -> None:
        """Random commands on one chat until then."""
        random = self.world.random(f"client {chat_id}")
        number = 0
        while self.world.loop.time() < until:
            number += 1
            choice = random.random()
            try:
                if choice < 0.60:
                    await self._send(chat_id, random, f"{chat_id[:4]}-{number}" if random.random() < 0.9 else "")
                elif choice < 0.76:
                    await self._interrupt(chat_id)
                elif choice < 0.84:
                    await self._change_queued(chat_id, random)
                elif choice < 0.88:
                    await self.ask(lambda i: i.chats.create(chat_id=chat_id))
                else:
                    await self._edit(chat_id, random)
            except (OSError, AntiphonError) as error:
                self.world.note(f"client of {chat_id[:8]}: {error!r}")
            await asyncio.sleep(random.choice([0.01, 0.1, 0.5, 2.0]) * random.random())

    async def _send(self, chat_id: str, random: Random, client_id: str) -> None:
        text = f"n={random.choice([3, 10, 30, 60])}"
        text += random.choice(["", "", "", " slow", " tool"])
        when_busy = WhenBusy(random.choice(["queue", "queue", "queue", "steer", "interrupt", "reject"]))
        for _ in range(random.choice([1, 1, 2, 6]) if client_id else 1):  # some repeat until answered, some beyond
            answer, status = None, 0
            try:
                done = await self.ask(
                    lambda i: i.chats.send(chat_id, text, when_busy=when_busy, client_message_id=client_id)
                )
                answer, status = new_message_json(chat_id, sent_entry(done)), 201
            except AntiphonError as error:
                status = 503 if isinstance(error, Unavailable) else 409
                self.world.note(f"send {client_id}: {error}")
            except OSError as error:
                self.world.note(f"send {client_id}: {error!r}")
            if client_id:
                sent = Sent(chat_id=chat_id, client_message_id=client_id, text=text, status=status, answer=answer)
                self.sent.append(sent)
                self.world.note(f"send {client_id}: {status} {text}")
            await asyncio.sleep(0.1 * random.random())

    async def _interrupt(self, chat_id: str) -> None:
        chat: Chat = await self.ask(lambda i: i.chats.get(chat_id))
        if not chat.turn_id:
            return
        was_interrupted, seq = await self.ask(lambda i: i.chats.interrupt(chat_id, chat.turn_id))
        at = self.world.loop.time()
        self.world.note(f"interrupt {chat_id[:8]} {chat.turn_id}: {was_interrupted} {seq}")
        self.interrupted.append(
            Interrupted(chat_id=chat_id, turn_id=chat.turn_id, was_interrupted=was_interrupted, seq=seq, at=at)
        )

    async def _change_queued(self, chat_id: str, random: Random) -> None:
        page: Page = await self.ask(lambda i: i.chats.page(chat_id, limit=1))
        if not page.queued:
            return
        item = random.choice(page.queued)[0]
        if random.random() < 0.5:
            await self.ask(lambda i: i.chats.change(chat_id, c.DeleteQueued(queued_id=item.id)))
        else:
            await self.ask(lambda i: i.chats.change(chat_id, c.PromoteQueued(queued_id=item.id)))

    async def _edit(self, chat_id: str, random: Random) -> None:
        page: Page = await self.ask(lambda i: i.chats.page(chat_id, limit=30))
        users = [entry for entry in page.messages if getattr(entry.fact, "role", None) is Role.USER]
        if users:
            entry = random.choice(users[-3:])
            await self.ask(lambda i: i.chats.edit(chat_id, entry.seq, "n=5"))

    # --- watchers

    def start_watchers(self) -> list[asyncio.Task[None]]:
        """For each chat one from the beginning, the others from now."""
        return [watching for chat_id in self.chat_ids for watching in self.start_watchers_of(chat_id)]

    def start_watchers_of(self, chat_id: str) -> list[asyncio.Task[None]]:
        """They close when they learn that it is deleted."""
        return [asyncio.create_task(self._watch(chat_id, i)) for i in range(self.world.profile.watchers)]

    async def _watch(self, chat_id: str, number: int) -> None:
        watched = Watched(chat_id=chat_id, events=[], breaks=[])
        self.watched.append(watched)
        random = self.world.random(f"watcher {chat_id} {number}")
        cursor: tuple[int, int] | None = (0, 0) if number == 0 else None
        while True:
            try:
                if self.world.running:
                    cursor = await self._watch_once(random.choice(self.world.running), cursor, watched, random)
            except NotFound:
                return
            watched.breaks.append(len(watched.events))
            await asyncio.sleep(BACK_S)

    async def _watch_once(
        self, process: Process, cursor: tuple[int, int] | None, watched: Watched, random: Random
    ) -> tuple[int, int] | None:
        """The cursor it has reached. Raises `NotFound` once it learned that the chat is deleted."""
        stream = process.open_stream(watched.chat_id, cursor)
        left = random.choice([5, 50, 400])
        try:
            while left > 0 or self.world.is_calm:
                left -= 1
                async with asyncio.timeout(SILENT_S):
                    frame = await stream.next()
                if isinstance(stream.refused, NotFound):
                    raise stream.refused
                if frame is None:
                    break
                place = "" if frame.seq is None else f"{frame.seq}.{frame.position}"
                event = decode_event(frame.data, cursor=place)
                if isinstance(event, Bye):
                    break
                self.world.note(f"watcher of {watched.chat_id[:8]} at {process.host.name}: {frame.type} {place}")
                watched.events.append((event, self.world.loop.time()))
                if frame.type == "chat_deleted":
                    raise NotFound
                cursor = cursor if frame.seq is None else (frame.seq, frame.position)
        except TimeoutError:
            pass
        finally:
            stream.close()
        return cursor

    def have_seen(self, chat_id: str, seq: int) -> bool:
        """Whether every watcher of that chat has come to `seq`."""
        for watched in self.watched:
            if watched.chat_id == chat_id:
                cursors = (event.cursor for event, _ in reversed(watched.events) if event.cursor)
                if int(next(cursors, "0").split(".")[0]) < seq:
                    return False
        return True
