"""`antiphon.command`: any people's command by its name in snake case, answered as the HTTP route answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from antiphon.api.http.outcomes import last_seq, restarted, sent_entry
from antiphon.api.http.shapes import chats as s
from antiphon.api.http.shapes.values import PinOrder
from antiphon.chats.chat_fields import clean_labels, clean_model, clean_system, clean_title
from antiphon.chats.owned import OwnedChats
from antiphon.core import commands as c
from antiphon.core.parts import Part
from antiphon.core.values import Value
from antiphon.errors import NotFound
from antiphon.wire.stream import chat_json, new_message_json


class Plain(Value):
    """Nothing stands beside `command`."""


class EditMessage(Value):
    message_id: int
    content: str | list[Part]
    clear_queue: bool = False


class EditQueued(s.EditQueuedBody):
    queued_id: int


class QueuedCommand(Value):
    queued_id: int


class MoveQueued(s.MoveQueuedBody):
    queued_id: int


class Approve(Value):
    tool_call_id: str


class Deny(Approve):
    reason: str = ""


class Rename(Value):
    title: str


class SetLabels(Value):
    labels: dict[str, str]


class SetPin(Value):
    pin_order: PinOrder


class SetModel(Value):
    model: str


class SetSystem(Value):
    system: str


Do = Callable[[OwnedChats, str, Any], Awaitable[Any]]


async def _send(chats: OwnedChats, chat_id: str, command: s.SendBody) -> Any:
    done = await chats.send(
        chat_id,
        command.content,
        when_busy=command.when_busy,
        client_message_id=command.client_message_id or "",
        model=command.model,
    )
    return new_message_json(chat_id, sent_entry(done))


async def _edit(chats: OwnedChats, chat_id: str, command: EditMessage) -> Any:
    done = await chats.edit(chat_id, command.message_id, command.content, clear_queue=command.clear_queue)
    return new_message_json(chat_id, sent_entry(done))


async def _retry(chats: OwnedChats, chat_id: str, command: s.RetryBody) -> Any:
    return restarted(await chats.retry(chat_id, command.turn_id))


async def _edit_queued(chats: OwnedChats, chat_id: str, command: EditQueued) -> Any:
    return last_seq(await chats.edit_queued(chat_id, command.queued_id, command.content))


async def _interrupt(chats: OwnedChats, chat_id: str, command: s.InterruptBody) -> Any:
    interrupted, seq = await chats.interrupt(chat_id, command.turn_id, clear_queue=command.clear_queue)
    return {"interrupted": interrupted, "seq": seq}


async def _delete(chats: OwnedChats, chat_id: str, command: Plain) -> Any:
    await chats.delete(chat_id)


def _plain(make: Callable[[OwnedChats, Any], c.Command]) -> Do:
    async def do(chats: OwnedChats, chat_id: str, command: Any) -> Any:
        return last_seq(await chats.change(chat_id, make(chats, command)))

    return do


def _about(make: Callable[[Any], c.Command]) -> Do:
    async def do(chats: OwnedChats, chat_id: str, command: Any) -> Any:
        chat = (await chats.change(chat_id, make(command))).chat
        return chat_json(chat_id, chat, open_calls=await chats.open_calls(chat_id, chat))

    return do


COMMANDS: dict[str, tuple[type[Value], Do]] = {
    "send_message": (s.SendBody, _send),
    "edit_message": (EditMessage, _edit),
    "retry": (s.RetryBody, _retry),
    "edit_queued": (EditQueued, _edit_queued),
    "delete_queued": (QueuedCommand, _plain(lambda chats, q: c.DeleteQueued(queued_id=q.queued_id))),
    "move_queued": (MoveQueued, _plain(lambda chats, q: c.MoveQueued(queued_id=q.queued_id, before=q.before))),
    "promote_queued": (
        QueuedCommand,
        _plain(lambda chats, q: c.PromoteQueued(queued_id=q.queued_id, by=chats.owner_id)),
    ),
    "interrupt": (s.InterruptBody, _interrupt),
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
    "archive": (Plain, _about(lambda _: c.Archive())),
    "unarchive": (Plain, _about(lambda _: c.Unarchive())),
    "delete": (Plain, _delete),
}


def command_of(name: str) -> tuple[type[Value], Do]:
    """Raises `NotFound` for a command there is not."""
    if name not in COMMANDS:
        raise NotFound("command")
    return COMMANDS[name]
