"""Reading tasks: as they are now, at their end, or as a stream of updates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, NoReturn

from starlette.responses import Response

from antiphon.api.a2a.bindings import Binding
from antiphon.api.http.table import Call
from antiphon.api.http.translated import TextCount, TranslatedAnswer, TranslatedStream, Translation, next_frames
from antiphon.api.named_chats import chats_of
from antiphon.api.turn_targets import Target, open_target
from antiphon.core.events import Bye, CaughtUp, Delta, Event
from antiphon.core.facts import Entry, MessageAppended, MessageQueued
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.errors import NotFound, Unavailable
from antiphon.watch.watcher import Watcher
from antiphon.wire.a2a.ids import TaskId
from antiphon.wire.a2a.states import INPUT_REQUIRED
from antiphon.wire.a2a.task import TaskView
from antiphon.wire.codec import encode
from antiphon.wire.ids import named_chat_id

NAME = "a2a"
CONTEXT_LABEL = "a2a.contextId"
"""The label of a chat that has the client's own name of its context."""
READ_S = 30.0
"""Maximum time in which a stored task is read, in seconds."""

Json = dict[str, Any]
Opened = AbstractAsyncContextManager[Watcher]


class Until(Enum):
    """When an answer is complete: the stored task was read; the task waits for the client or has ended; it has
    ended."""

    READ = "read"
    WAITS = "waits"
    ENDED = "ended"


class TaskReader:
    """Applies events to a task until it has what is wanted."""

    def __init__(self, view: TaskView, until: Until, *, after: int = 0) -> None:
        """`after`: the fact of what the request has done. A wait for the client before it does not count."""
        self.view = view
        self.is_read = False
        self._until = until
        self._after = after

    def apply(self, event: Event) -> bool:
        """Whether nothing more is needed."""
        self.view.apply(event)
        return self.note(event)

    def note(self, event: Event) -> bool:
        """The same for an event that the view has."""
        self.is_read = self.is_read or isinstance(event, CaughtUp) or self.view.is_past
        return self.is_complete

    @property
    def is_complete(self) -> bool:
        if not self.is_read:
            return False
        if self._until is Until.READ or self.view.is_terminal:
            return True
        waits = self.view.state == INPUT_REQUIRED and self.view.seq >= self._after
        return waits and self._until is Until.WAITS


class TaskTranslation(Translation):
    """The server-sent events of a task: the task as it is when all that is stored was read, then updates."""

    def __init__(self, reader: TaskReader, binding: Binding) -> None:
        self._reader = reader
        self._view = reader.view
        self._binding = binding
        self._head, self._tail = binding.head, binding.tail
        self._is_begun = False

    @property
    def is_complete(self) -> bool:
        return self._is_begun and self._reader.is_complete

    @property
    def holds_text(self) -> bool:
        return not self._is_begun

    def begin(self) -> bytes:
        return b""

    def apply(self, event: Event) -> bytes:
        if self._is_begun and type(event) is Delta:
            updates = self._view.encoded(event)
            return self._sse(updates[0]) if len(updates) == 1 else b"".join(map(self._sse, updates))
        return b"".join(self.pieces(event))

    def pieces(self, event: Event) -> Iterator[bytes]:
        if self._is_begun:
            updates = self._view.encoded(event)
            self._reader.note(event)
            for update in updates:
                yield self._sse(update)
            return
        self._reader.apply(event)
        if self._reader.is_read:
            self._is_begun = True
            yield self._sse(encode({"task": self._view.snapshot()}))
            self._view.drop_content()

    def _sse(self, data: bytes) -> bytes:
        return b"%b%b%b" % (self._head, data, self._tail)

    def cut_off(self, reason: str) -> bytes:
        return self._binding.cut_off(reason)


class OpenedTask:
    """A task that is read, with its watcher. The watcher is closed by what reads it, or by `close`."""

    def __init__(self, view: TaskView, opened: Opened, watcher: Watcher) -> None:
        self.view = view
        self._opened = opened
        self._watcher = watcher

    def stream(self, binding: Binding, until: Until, *, after: int = 0) -> Response:
        translation = TaskTranslation(TaskReader(self.view, until, after=after), binding)
        return TranslatedStream(self._opened, self._watcher, translation)

    def answer(
        self,
        binding: Binding,
        result: Callable[[TaskView], Any],
        until: Until,
        *,
        wait_s: float = READ_S,
        after: int = 0,
    ) -> Response:
        """One response with the `result` of the view, when it has what is wanted, or when the time is up."""
        reader = TaskReader(self.view, until, after=after)

        def respond() -> Response:
            return binding.answer(lambda: result(self.view) if reader.is_read else _raise_unread())

        return TranslatedAnswer(self._opened, self._watcher, apply=reader.apply, answer=respond, wait_s=wait_s)

    async def read(self) -> TaskView:
        """The task as it is now. The watcher is closed. Raises `Unavailable`."""
        reader, text = TaskReader(self.view, Until.READ), TextCount(self._watcher)
        try:
            async with asyncio.timeout(READ_S):
                while not reader.is_complete:
                    for frame in await next_frames(self._watcher):
                        text.add(frame)
                        if isinstance(frame.event, Bye):
                            _raise_unread()
                        reader.apply(frame.event)
        except TimeoutError:
            _raise_unread()
        finally:
            await self.close()
        return self.view

    async def close(self) -> None:
        await self._opened.__aexit__(None, None, None)


def _raise_unread() -> NoReturn:
    raise Unavailable("the task could not be read in time")


async def open_task(call: Call, task_id: TaskId) -> OpenedTask:
    """Open it now, so that a refusal is still an ordinary answer.

    Raises:
        NotFound: The owner has no such task.
        TooMany: The maximum number of watchers is reached.
    """
    try:
        chat = await chats_of(call).get(task_id.chat_id)
    except NotFound:
        raise NotFound("task") from None
    entry = await _entry(call, task_id)
    if entry is None or not _begins_task(entry):
        raise NotFound("task")
    view = TaskView(task_id, context_of(call, task_id.chat_id, chat), base_url=base_url_of(call))
    opened, watcher = await open_target(call, Target(chat_id=task_id.chat_id, turn_id=0, after=task_id.message_id))
    return OpenedTask(view, opened, watcher)


async def _entry(call: Call, task_id: TaskId) -> Entry | None:
    seq = task_id.message_id
    found = await call.instance.store.read_entries(task_id.chat_id, seq - 1, limit=1, bytes_max=1)
    return found[0] if found and found[0].seq == seq else None


def _begins_task(entry: Entry) -> bool:
    """Whether it is the message of a turn, or a queued one. A delivered message has the id that it had in the
    queue."""
    fact = entry.fact
    if isinstance(fact, MessageAppended):
        return fact.role is Role.USER and fact.turn_id == entry.seq and not fact.queued_id
    return isinstance(fact, MessageQueued)


def task_id_of(chat_id: str, entry: Entry) -> TaskId:
    """The task that a message of a user begins."""
    return TaskId(chat_id, getattr(entry.fact, "queued_id", 0) or entry.seq)


def context_of(call: Call, chat_id: str, chat: Chat) -> str:
    """What the client calls the context: its own name, if it made the chat by one."""
    name = chat.labels.get(CONTEXT_LABEL, "")
    is_named = bool(name) and chat_id in (name.lower(), named_chat_id(call.owner_id, NAME, name))
    return name if is_named else chat_id


def base_url_of(call: Call) -> str:
    """The address of this server as the client knows it."""
    return str(call.request.base_url).rstrip("/")
