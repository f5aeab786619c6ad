"""Parts shared by the tests of the service: a service over a store, sends with a client id, stores that count or
fail."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from typing import Any

from antiphon.bus.memory import MemoryBus
from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.facts import Entry, MessageAppended, MessageQueued
from antiphon.errors import AntiphonError, Unavailable
from antiphon.ports import Append, Appended, Done, Request, Store, TurnSlots
from antiphon.testing.ids import SeededIds
from antiphon.testing.store import WrappedStore
from antiphon.testing.stored_chat import ALL, StoredChat, content

CHAT = "c"


def serve(store: Store, seed: int = 0, *, slots: TurnSlots | None = None) -> Service:
    """A service as in a process of its own: its bus has no other subscribers."""
    return Service(store=store, bus=MemoryBus(), ids=SeededIds(seed), slots=slots)


def send(service: Service, text: str, client_id: str = "", body: str = "", **fields: Any) -> Awaitable[Done]:
    request = None
    if client_id:
        request = Request(client_id=client_id, body_hash=hashlib.sha256((body or text).encode()).digest())
    command = c.SendMessage(content=content(text), client_message_id=client_id, **fields)
    return service.execute(CHAT, command, request=request)


async def create(service: Service, said: str = "") -> Done:
    return await service.execute(CHAT, c.CreateChat(owner_id="o", content=content(said) if said else b""))


async def start(service: Service, instance_id: str = "i1") -> Done:
    return await service.execute(CHAT, c.StartAttempt(instance_id=instance_id))


async def answer(service: Service, text: str = "answer") -> Done:
    """Commit the last answer of the attempt that holds the chat, as stored."""
    chat = await service._store.load(CHAT)
    assert chat is not None
    fence = {"attempt": chat.attempt, "draft": chat.draft}
    return await service.execute(CHAT, c.CommitMessage(**fence, content=content(text), upto=1, is_last=True))


async def entries_of(store: Store) -> tuple[Entry, ...]:
    """All facts, checked to fold to the state."""
    chat = StoredChat(store, CHAT)
    await chat.check_sound()
    return await chat.entries()


async def said_by_people(store: Store) -> list[bytes]:
    """The content of every message of a person, as often as it was accepted."""
    return [
        entry.content or b""
        for entry in await store.read_entries(CHAT, 0, limit=ALL, bytes_max=ALL)
        if isinstance(entry.fact, MessageQueued)
        or (isinstance(entry.fact, MessageAppended) and entry.fact.role == "user" and not entry.fact.queued_id)
    ]


async def insist(service: Service, text: str, client_id: str) -> Done:
    """Repeat a send until it is answered."""
    while True:
        try:
            return await send(service, text, client_id)
        except Unavailable:
            continue


async def outcome(call: Awaitable[Done]) -> Done | AntiphonError:
    try:
        return await call
    except AntiphonError as error:
        return error


class CountingStore(WrappedStore):
    """Counts appends and their answers; the next `failures` appends are refused as unavailable."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.results: list[Appended] = []
        self.failures = 0

    async def append(self, append: Append) -> Appended:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        result = await super().append(append)
        self.results.append(result)
        return result
