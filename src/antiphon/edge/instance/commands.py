"""`antiphon.command`: any people's command by its name in snake case, answered as the HTTP route answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from antiphon.chats.line import Done
from antiphon.chats.owned import OwnedChats, clean_labels, clean_model, clean_system, clean_title
from antiphon.core import commands as c
from antiphon.core.facts import MessageQueued
from antiphon.core.model import WhenBusy
from antiphon.core.parts import Part
from antiphon.core.values import Value
from antiphon.errors import NotFound
from antiphon.wire.stream import chat_json, new_message_json


class Command(Value):
    """The base of what stands beside `command`."""


class SendMessage(Command):
    content: str | list[Part]
    when_busy: WhenBusy = WhenBusy.QUEUE
    client_message_id: str = ""
    model: str = ""


class EditMessage(Command):
    message_id: int
    content: str | list[Part]
    clear_queue: bool = False


class Retry(Command):
    turn_id: int = 0


class EditQueued(Command):
    queued_id: int
    content: str | list[Part]


class QueuedCommand(Command):
    queued_id: int


class MoveQueued(Command):
    queued_id: int
    before: int | None = None


class Interrupt(Command):
    turn_id: int
    clear_queue: bool = False


class Approve(Command):
    tool_call_id: str


class Deny(Command):
    tool_call_id: str
    reason: str = ""


class Rename(Command):
    title: str


class SetLabels(Command):
    labels: dict[str, str]


class SetPin(Command):
    pin_order: int


class SetModel(Command):
    model: str


class SetSystem(Command):
    system: str


Do = Callable[[OwnedChats, str, Any], Awaitable[Any]]


async def _send(chats: OwnedChats, chat_id: str, command: SendMessage) -> Any:
    done = await chats.send(
        chat_id,
        command.content,
        when_busy=command.when_busy,
        client_message_id=command.client_message_id,
        model=command.model,
    )
    return _sent(chat_id, done)


async def _edit(chats: OwnedChats, chat_id: str, command: EditMessage) -> Any:
    done = await chats.edit(chat_id, command.message_id, command.content, clear_queue=command.clear_queue)
    return _sent(chat_id, done)


def _sent(chat_id: str, done: Done) -> Any:
    entry = next(
        e for e in done.entries if isinstance(e.fact, MessageQueued) or getattr(e.fact, "role", "") == "user"
    )
    return new_message_json(chat_id, entry)


async def _retry(chats: OwnedChats, chat_id: str, command: Retry) -> Any:
    done = await chats.change(chat_id, c.Retry(turn_id=command.turn_id))
    restarted: Any = next(entry for entry in done.entries if hasattr(entry.fact, "turn_id"))
    return {"turn_id": restarted.fact.turn_id, "seq": restarted.seq}


async def _edit_queued(chats: OwnedChats, chat_id: str, command: EditQueued) -> Any:
    return _seq(await chats.edit_queued(chat_id, command.queued_id, command.content))


async def _interrupt(chats: OwnedChats, chat_id: str, command: Interrupt) -> Any:
    interrupted, seq = await chats.interrupt(chat_id, command.turn_id, clear_queue=command.clear_queue)
    return {"interrupted": interrupted, "seq": seq}


async def _delete(chats: OwnedChats, chat_id: str, command: Command) -> Any:
    await chats.delete(chat_id)


def _plain(make: Callable[[OwnedChats, Any], c.Command]) -> Do:
    async def do(chats: OwnedChats, chat_id: str, command: Any) -> Any:
        return _seq(await chats.change(chat_id, make(chats, command)))

    return do


def _about(make: Callable[[Any], c.Command]) -> Do:
    async def do(chats: OwnedChats, chat_id: str, command: Any) -> Any:
        return chat_json(chat_id, (await chats.change(chat_id, make(command))).chat)

    return do


def _seq(done: Done) -> Any:
    return {"seq": done.entries[-1].seq if done.entries else done.chat.seq}


COMMANDS: dict[str, tuple[type[Command], Do]] = {
    "send_message": (SendMessage, _send),
    "edit_message": (EditMessage, _edit),
    "retry": (Retry, _retry),
    "edit_queued": (EditQueued, _edit_queued),
    "delete_queued": (QueuedCommand, _plain(lambda chats, q: c.DeleteQueued(queued_id=q.queued_id))),
    "move_queued": (MoveQueued, _plain(lambda chats, q: c.MoveQueued(queued_id=q.queued_id, before=q.before))),
    "promote_queued": (
        QueuedCommand,
        _plain(lambda chats, q: c.PromoteQueued(queued_id=q.queued_id, by=chats.owner_id)),
    ),
    "interrupt": (Interrupt, _interrupt),
    "approve": (Approve, _plain(lambda chats, a: c.Approve(tool_call_id=a.tool_call_id, by=chats.owner_id))),
    "deny": (
        Deny,
        _plain(lambda chats, d: c.Deny(tool_call_id=d.tool_call_id, reason=clean_title(d.reason), by=chats.owner_id)),
    ),
    "rename": (Rename, _about(lambda r: c.Rename(title=clean_title(r.title)))),
    "set_labels": (SetLabels, _about(lambda r: c.SetLabels(labels=clean_labels(r.labels)))),
    "set_pin": (SetPin, _about(lambda r: c.SetPin(pin_order=r.pin_order))),
    "set_model": (SetModel, _about(lambda r: c.SetModel(model=clean_model(r.model)))),
    "set_system": (SetSystem, _about(lambda r: c.SetSystem(system=clean_system(r.system)))),
    "archive": (Command, _about(lambda _: c.Archive())),
    "unarchive": (Command, _about(lambda _: c.Unarchive())),
    "delete": (Command, _delete),
}


def command_of(name: str) -> tuple[type[Command], Do]:
    """Raises `NotFound` for a command there is not."""
    if name not in COMMANDS:
        raise NotFound("command")
    return COMMANDS[name]
