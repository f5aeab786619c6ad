"""Runs an agent in a real instance, and reads one of its chats from the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from antiphon.core import commands as c
from antiphon.core.chat import fold
from antiphon.core.facts import Entry, Fact, MessageAppended, RetryScheduled, TurnEnded, kind_of
from antiphon.core.model import Chat, Outcome, Status, WhenBusy
from antiphon.core.parts import Part, Role, ToolResult, text_of
from antiphon.observe.metrics import METRICS
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.server.open_instance import open_instance
from antiphon.testing.stored_chat import ALL, StoredChat
from antiphon.wire.codec import decode_content
from antiphon.wire.stream import Frame
from support.waiting import DEADLINE_S, wait_until

F = TypeVar("F", bound=Fact)


@asynccontextmanager
async def running(agent: Any = None, **options: Any) -> AsyncIterator[Instance]:
    """An instance, in memory unless it is given `data` or a `store`."""
    options.setdefault("drain_s", 0.0)
    async with open_instance(agent=agent, **options) as instance:
        yield instance


def metric(name: str, **labels: str) -> float:
    return METRICS.registry.get_sample_value(f"antiphon_{name}_total", labels) or 0.0


async def ask(instance: Instance, text: str = "hello", **fields: Any) -> Talk:
    """A new chat whose first turn has started."""
    done = await instance.chats.create(chat_id=instance.ids.uuid(), content=text, **fields)
    return Talk(instance, done.chat_id)


async def foreign_chat(instance: Instance, name: str = "c", said: str = "hello") -> Talk:
    """A chat that another process has written, without a hint."""
    await StoredChat(instance.store, name).create(owner_id=instance.owner_id, said=said)
    return Talk(instance, name)


async def answered(agent: Any, text: str = "hello", **options: Any) -> list[Entry]:
    """The facts of a chat with one turn, which this agent answers."""
    async with running(agent, **options) as instance:
        talk = await ask(instance, text)
        await talk.wait_ended()
        return await talk.entries()


class Talk:
    """One chat, by its stored facts."""

    def __init__(self, instance: Instance, chat_id: str) -> None:
        self.instance = instance
        self.chat_id = chat_id

    # --- reading

    async def chat(self) -> Chat:
        chat = await self.instance.store.load(self.chat_id)
        assert chat is not None
        return chat

    async def entries(self) -> list[Entry]:
        """All facts, after a check that they fold to the state. (Facts that are written meanwhile are ignored.)"""
        chat = await self.chat()
        entries = await self.instance.store.read_entries(self.chat_id, 0, limit=ALL, bytes_max=ALL)
        stored = [entry for entry in entries if entry.seq <= chat.seq]
        assert chat.is_deleted or fold(entry.recorded for entry in stored) == chat, (
            "the state is the fold of its facts"
        )
        return stored

    async def kinds(self) -> list[str]:
        return [kind_of(entry.fact) for entry in await self.entries()]

    async def facts(self, kind: type[F]) -> list[F]:
        return facts_of(await self.entries(), kind)

    async def said(self) -> list[str]:
        """The texts of the visible assistant messages."""
        return [text_of(content) for role, content in await self.history() if role is Role.ASSISTANT]

    async def history(self) -> list[tuple[Role, tuple[Part, ...]]]:
        """The visible messages: role and content."""
        entries, _ = await self.instance.store.read_messages(self.chat_id, limit=1000)
        return messages_of(entries)

    async def results(self) -> list[ToolResult]:
        return results_of(await self.entries())

    async def endings(self) -> list[Outcome]:
        return [fact.outcome for fact in await self.facts(TurnEnded)]

    async def retries(self) -> list[RetryScheduled]:
        return await self.facts(RetryScheduled)

    @property
    def preview(self) -> str:
        """The text of the open draft."""
        draft = self.instance.drafts.get(self.chat_id)
        return draft.text() if draft else ""

    # --- waiting

    async def wait(self, condition: Callable[[Chat], Any]) -> Chat:
        async def read() -> Chat | None:
            chat = await self.chat()
            return chat if condition(chat) else None

        found: Chat = await wait_until(read)
        return found

    async def wait_ended(self) -> Chat:
        """Wait until no turn is in progress and no attempt of the chat runs."""
        chat = await self.wait(lambda chat: chat.is_idle and chat.seq > 1)
        running = self.instance.worker._attempts
        await wait_until(lambda: all(attempt.chat_id != self.chat_id for attempt in running.values()))
        return chat

    async def wait_status(self, status: Status) -> Chat:
        return await self.wait(lambda chat: chat.status is status)

    async def wait_preview(self, text: str) -> None:
        await wait_until(lambda: text in self.preview)

    async def wait_kind(self, kind: str, count: int = 1) -> None:
        async def read() -> bool:
            return (await self.kinds()).count(kind) >= count

        await wait_until(read)

    # --- commands

    async def send(self, text: str, when_busy: WhenBusy = WhenBusy.QUEUE) -> int:
        """Send a message; returns the seq of the fact with its content."""
        done = await self.instance.chats.send(self.chat_id, text, when_busy=when_busy)
        return next(entry.seq for entry in done.entries if entry.content is not None)

    async def steer(self, text: str) -> int:
        return await self.send(text, WhenBusy.STEER)

    async def interrupt(self) -> None:
        chat = await self.chat()
        interrupted, _ = await self.instance.chats.interrupt(self.chat_id, chat.turn_id)
        assert interrupted

    async def change(self, *commands: c.Command) -> None:
        await self.instance.chats.change(self.chat_id, *commands)

    async def watch(self) -> list[Frame]:
        """Everything that a watcher gets from the beginning until the chat is idle."""
        frames: list[Frame] = []
        async with (
            asyncio.timeout(DEADLINE_S),
            self.instance.watch.open_watcher(self.chat_id, (0, 0), until_idle=True) as watcher,
        ):
            while not watcher.is_closed:
                frames.extend((await watcher.next_batch()).frames)
        return frames


def facts_of(entries: list[Entry], kind: type[F]) -> list[F]:
    return [entry.fact for entry in entries if isinstance(entry.fact, kind)]


def messages_of(entries: Any) -> list[tuple[Role, tuple[Part, ...]]]:
    return [
        (entry.fact.role, decode_content(entry.content or b"[]"))
        for entry in entries
        if isinstance(entry.fact, MessageAppended)
    ]


def results_of(entries: Any) -> list[ToolResult]:
    """The tools' results, in the order of their arrival."""
    return [part for _, content in messages_of(entries) for part in content if isinstance(part, ToolResult)]


def answers_of(entries: list[Entry]) -> list[MessageAppended]:
    """The assistant's messages."""
    return [fact for fact in facts_of(entries, MessageAppended) if fact.role is Role.ASSISTANT]
