"""Chats of a simulation that are deleted while people and workers are at them, wherever their turns run."""

from __future__ import annotations

import asyncio

from antiphon.core.facts import ChatDeleted
from antiphon.core.model import Chat
from antiphon.errors import NotFound, Unavailable
from antiphon.testing.ids import SeededIds
from support.simulated_clients import Clients
from support.simulated_world import World

LIVES_S = (0.1, 1.0, 4.0)
"""Maximum, in seconds."""

AFTER_S = 0.5
"""How long its client goes on, in seconds: it does not know of the deletion yet."""


class Deletions:
    """`run` it beside the clients; `check` it when all has come to rest."""

    def __init__(self, world: World, clients: Clients) -> None:
        self.world = world
        self.chat_ids: list[str] = []
        self._clients = clients
        self._ids = SeededIds(world.random("deleted chats").getrandbits(64))
        self._watching: dict[asyncio.Task[None], str] = {}

    async def run(self, seconds: float) -> None:
        """Delete one chat after the other for that many seconds."""
        until = self.world.loop.time() + seconds
        while self.world.loop.time() < until:
            await self._live_and_die(self._ids.uuid())

    async def _live_and_die(self, chat_id: str) -> None:
        world, clients = self.world, self._clients
        random = world.random(f"deletion {chat_id}")
        await clients.ask_until_answered(lambda i: i.chats.create(chat_id=chat_id))
        self.chat_ids.append(chat_id)
        self._watching |= dict.fromkeys(clients.start_watchers_of(chat_id), chat_id)
        lives_s = random.choice(LIVES_S) * random.random()
        client = asyncio.create_task(clients.use(chat_id, world.loop.time() + lives_s + AFTER_S))
        await asyncio.sleep(lives_s)
        await clients.ask_until_answered(lambda i: i.chats.delete(chat_id))
        world.note(f"deleted {chat_id[:8]}")
        await client

    async def check(self) -> None:
        """DELETED: nothing but its tombstone is left, no process shows it, and each of its watchers received the
        deletion."""
        for watching, chat_id in self._watching.items():
            if not watching.done():
                self.world.broken("DELETED", chat_id, "a watcher did not receive the deletion")
                watching.cancel()
        if self._watching:
            await asyncio.wait(self._watching)
        for chat_id in self.chat_ids:
            await self._check_gone(chat_id)

    async def _check_gone(self, chat_id: str) -> None:
        memory = self.world.memory
        entries = await memory.read_entries(chat_id, 0, limit=10, bytes_max=1 << 20)
        if [type(entry.fact) for entry in entries] != [ChatDeleted] or memory.lease_ends_at(chat_id) is not None:
            self.world.broken("DELETED", chat_id, f"left of it are {entries}")
        for process in self.world.running:
            try:
                chat: Chat = await process.ask(lambda i: i.chats.get(chat_id))
            except (NotFound, Unavailable, OSError):
                continue
            self.world.broken("DELETED", chat_id, f"{process.host.name} shows it: {chat.status}")
