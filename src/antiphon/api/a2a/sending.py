"""What a message of a client does: begin a task in a new or a known context, join a task that is worked on, or answer
what a task waits for. The message's id is a receipt: a repeat does nothing and gets the same task."""

from __future__ import annotations

from typing import Any, Literal, NoReturn

from antiphon.api.a2a.params import params_of
from antiphon.api.a2a.tasks import CONTEXT_LABEL, NAME, open_task, task_id_of
from antiphon.api.call_answers import answer_commands
from antiphon.api.chat_settings import ToolShape, client_tools, setting_commands
from antiphon.api.http.outcomes import sent_entry
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chat_id_of, chats_of, find_chat
from antiphon.chats.chat_fields import LABEL_MAX, hash_of
from antiphon.core import commands as c
from antiphon.core.model import Chat, Needs, WhenBusy
from antiphon.core.parts import Role
from antiphon.core.values import Value
from antiphon.errors import Conflict, Invalid
from antiphon.ports import Request
from antiphon.wire.a2a import states
from antiphon.wire.a2a.errors import (
    PUSH_NOT_SUPPORTED,
    UNSUPPORTED_OPERATION,
    a2a_error,
)
from antiphon.wire.a2a.ids import TaskId, parse_task_id
from antiphon.wire.a2a.parts import Said, read_parts
from antiphon.wire.a2a.requests import OWN, Configuration, Message, SendParams
from antiphon.wire.a2a.task import TaskView
from antiphon.wire.client_ids import stored_client_id
from antiphon.wire.codec import encode, encode_content
from antiphon.wire.ids import named_chat_id
from antiphon.wire.past_messages import PastMessage
from antiphon.wire.stream import OpenCall
from antiphon.wire.tool_answers import ToolAnswer

FIELD = "message.parts"
YES = frozenset({"yes", "y", "ok", "okay", "approve", "approved"})
NO = frozenset({"no", "n", "deny", "denied", "reject", "rejected"})
"""What a text says that answers the only open call, an approval."""


class OwnSettings(Value, rename="camel", gc=True):
    """`metadata.antiphon` of a request or of its message: this server's own settings."""

    model: str | None = None
    system: str | None = None
    tools: list[ToolShape] | None = None
    labels: dict[str, str] | None = None
    when_busy: Literal["queue", "interrupt", "reject"] = "queue"


class Sent(Value):
    """The task of a message. `after` is the fact of what the message has done, 0 for a repeat."""

    task_id: TaskId
    after: int = 0


class Sending:
    """One message of a client."""

    def __init__(self, call: Call, given: SendParams) -> None:
        self.configuration = params_of(given.configuration, Configuration, "configuration")
        if self.configuration.task_push_notification_config is not None:
            raise a2a_error(PUSH_NOT_SUPPORTED, "This server sends no push notifications.")
        self._call = call
        self._chats = chats_of(call)
        self._message = params_of(given.message, Message, "message")
        self._name = stored_client_id(self._message.message_id, NAME)
        self._own = self._own_settings(given.metadata)

    def _own_settings(self, metadata: dict[str, Any]) -> OwnSettings:
        given = self._message.metadata.get(OWN, metadata.get(OWN))
        return params_of(given, OwnSettings, f"metadata.{OWN}") if given is not None else OwnSettings()

    async def send(self) -> Sent:
        """Raises `Conflict` for an id that was used for another message of the context."""
        said = read_parts(self._message.parts, FIELD)
        try:
            if self._message.task_id:
                return await self._continue(parse_task_id(self._message.task_id), said)
            if said.answers:
                raise Invalid("message.taskId", "an answer to a tool call names the task that waits for it")
            return await self._begin(said)
        except Conflict:
            raise Conflict("messageId") from None

    # --- a new task

    async def _begin(self, said: Said) -> Sent:
        if context := self._message.context_id:
            chat_id = chat_id_of(self._call, NAME, context, field="message.contextId")
        else:  # the same message again finds its chat; ids that a client uses for several messages do no harm
            name = hash_of(self._message.message_id, encode_content(said.content)).hex()
            chat_id = named_chat_id(self._call.owner_id, NAME, f"message:{name}")
        chat = await find_chat(self._call, chat_id)
        creation = f"a2a-new-{hash_of(self._name).hex()}"
        if chat is None or await self._chats.has_receipt(chat_id, creation):
            try:
                return await self._create(chat_id, creation, said)
            except Conflict:
                if await self._chats.has_receipt(chat_id, creation):
                    raise
                chat = await self._chats.get(chat_id)  # another message has begun the context at the same time
        return await self._send(chat_id, chat, said)

    async def _create(self, chat_id: str, creation: str, said: Said) -> Sent:
        own, context = self._own, self._message.context_id
        if len(context) > LABEL_MAX:
            raise Invalid("message.contextId", f"at most {LABEL_MAX} characters")
        label = {CONTEXT_LABEL: context} if context not in ("", chat_id) else {}
        past = PastMessage(role=Role.USER, content=said.content, client_message_id=self._name)
        made = await self._chats.create_with_history(
            chat_id,
            [past],
            model=own.model or "",
            system=own.system or "",
            tools=client_tools(own.tools or ()),
            labels=(own.labels or {}) | label,
            client_id=creation,
        )
        return Sent(task_id=TaskId(chat_id, made.turn_id), after=0 if made.done.is_repeat else made.last_id)

    async def _send(self, chat_id: str, chat: Chat, said: Said) -> Sent:
        settings: list[c.Command] = []
        if not await self._chats.has_receipt(chat_id, self._name):
            settings = self._settings(chat)
        done = await self._chats.send(
            chat_id,
            said.content,
            when_busy=WhenBusy(self._own.when_busy),
            client_message_id=self._name,
            model=self._own.model or "",
            settings=settings,
        )
        entry = sent_entry(done)
        return Sent(task_id=task_id_of(chat_id, entry), after=0 if done.is_repeat else entry.seq)

    def _settings(self, chat: Chat) -> list[c.Command]:
        return setting_commands(chat, system=self._own.system, tools=self._own.tools, labels=self._own.labels)

    # --- a task that exists

    async def _continue(self, task_id: TaskId, said: Said) -> Sent:
        context = self._message.context_id
        opened = await open_task(self._call, task_id)
        view = await opened.read()
        chat_id = task_id.chat_id
        if context and chat_id_of(self._call, NAME, context, field="message.contextId") != chat_id:
            raise Invalid("message.contextId", "the task belongs to another context")
        request = Request(client_id=self._name, body_hash=self._hash(task_id, said))
        if await self._chats.has_receipt(chat_id, self._name):
            return await self._repeat(task_id, view, said, request)
        if view.is_terminal:
            raise a2a_error(
                UNSUPPORTED_OPERATION,
                f"The task has ended ({view.state}); send the message without taskId to begin another one.",
                taskId=str(task_id),
            )
        if view.state == states.INPUT_REQUIRED:
            return await self._answer(task_id, said, request)
        if said.answers:
            raise Invalid(FIELD, "the task waits for no answer to a tool call")
        if not view.turn_id:
            raise a2a_error(
                UNSUPPORTED_OPERATION,
                "The task waits in the queue; send the message without taskId, and it is the next one.",
                taskId=str(task_id),
            )
        return await self._join(task_id, said)

    async def _repeat(self, task_id: TaskId, view: TaskView, said: Said, request: Request) -> Sent:
        """Answers have a receipt of their own kind. A message that has joined the task gets its first answer."""
        if said.answers or not said.content or await self._is_answer(task_id.chat_id, request):
            await self._chats.is_answered(task_id.chat_id, request)
            return Sent(task_id=task_id)
        return await self._join(task_id, said)

    async def _is_answer(self, chat_id: str, request: Request) -> bool:
        try:
            return await self._chats.is_answered(chat_id, request)
        except Conflict:
            return False

    async def _join(self, task_id: TaskId, said: Said) -> Sent:
        """Say more to the turn in progress: it reads the message before its next model call."""
        done = await self._chats.send(
            task_id.chat_id, said.content, when_busy=WhenBusy.STEER, client_message_id=self._name
        )
        return Sent(task_id=task_id, after=0 if done.is_repeat else sent_entry(done).seq)

    async def _answer(self, task_id: TaskId, said: Said, request: Request) -> Sent:
        """Answer open calls, all or some of them, in one append."""
        chat_id = task_id.chat_id
        chat = await self._chats.get(chat_id)
        open_calls = await self._chats.open_calls(chat_id, chat)
        answers, content = said.answers, said.content
        if not answers:
            answers, content = _answer_of_text(open_calls, said.text), ()
        known = {call.tool_call_id for call in open_calls}
        if unknown := [call_id for call_id in answers if call_id not in known]:
            raise Invalid(FIELD, f"no tool call {unknown[0][:80]!r} waits for an answer")
        asked = [call for call in open_calls if call.tool_call_id in answers]
        commands = await answer_commands(self._chats, chat_id, asked, answers, FIELD)
        if content:
            commands.insert(0, await self._chats.steering_command(chat_id, content, request))
        done = await self._chats.change(chat_id, *self._settings(chat), *commands, request=request)
        return Sent(task_id=task_id, after=done.entries[-1].seq if done.entries else 0)

    def _hash(self, task_id: TaskId, said: Said) -> bytes:
        answers = sorted(
            ([a.tool_call_id, a.value, a.is_error, a.is_approved, a.args, a.reason] for a in said.answers.values()),
            key=lambda answer: str(answer[0]),
        )
        return hash_of(str(task_id), encode(answers), encode_content(said.content))


def _answer_of_text(open_calls: tuple[OpenCall, ...], text: str) -> dict[str, ToolAnswer]:
    """The text of a message as the answer to the only open call, where it can mean only one thing."""
    if not open_calls:
        raise Invalid(FIELD, "the task waits for no answer any more; another client was first")
    call = open_calls[0]
    if len(open_calls) > 1 or call.needs is Needs.RESULT or not text:
        _ask(open_calls)
    if call.needs is Needs.ANSWER:
        return {call.tool_call_id: ToolAnswer(tool_call_id=call.tool_call_id, value=text)}
    word = text.strip().rstrip(".!").lower()
    if word not in YES | NO:
        _ask(open_calls)
    return {call.tool_call_id: ToolAnswer(tool_call_id=call.tool_call_id, is_approved=word in YES)}


def _ask(open_calls: tuple[OpenCall, ...]) -> NoReturn:
    call = open_calls[0]
    raise Invalid(
        FIELD,
        f"the tool call {call.tool_call_id!r} waits for a data part with toolCallId and "
        f"{states.how_to_answer(call.needs)}",
    )
