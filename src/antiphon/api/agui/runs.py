"""Starting turns for AG-UI's runs: a first message, the next one, or answers to what the last run waited for.

The server owns the history, and a client sends the whole of its own each time. Only what is new is used: messages of
a user at the end that were not sent before, results of the client's tools that a turn waits for, and resumed
interrupts. A thread that does not exist yet begins with all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.api.agui.shapes import OwnProps, RunBody, own_props
from antiphon.api.call_answers import answer_commands
from antiphon.api.chat_settings import client_tools, setting_commands
from antiphon.api.http.outcomes import sent_entry
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.api.sent_messages import first_message, is_same_content
from antiphon.api.turn_targets import Target, target_of
from antiphon.chats.chat_fields import hash_of
from antiphon.core import commands as c
from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.model import Chat, Needs, WhenBusy
from antiphon.core.parts import Part, Role
from antiphon.core.values import Value
from antiphon.errors import Conflict, Invalid, NotAllowedNow, NotFound, TooLarge
from antiphon.ports import Request
from antiphon.wire.agui.ids import Names, client_message_id
from antiphon.wire.agui.input import (
    FIELD,
    check_messages,
    read_history,
    resume_answer,
    system_text,
    tool_results,
    user_content,
)
from antiphon.wire.agui.messages import user_message
from antiphon.wire.codec import decode_content, encode, encode_content
from antiphon.wire.tool_answers import ToolAnswer

NEW_MESSAGES_MAX = 64
"""Maximum number of messages of a user that one request sends."""
SEARCHED_MAX = 100
"""Maximum number of messages, newest first, in which one is found that was sent before."""


TRIES_MAX = 3
"""Maximum number of times that a request is applied, if other clients change the chat at the same time."""


class Run(Value):
    """What a request has started or repeats; without a target it has nothing new, and joins the turn in progress.

    `fresh` are its messages that the chat has after the beginning of the answer: the ids of messages of users, and
    of calls with a result. `ignored` are messages and interrupts without an effect, by their ids.
    """

    target: Target | None = None
    fresh: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()


class _Asked(Value):
    """The last wait of a turn for clients: its fact, and what it asked for."""

    turn_id: int
    action: int
    needs: Mapping[str, Needs]


class _Said(Value, gc=True):
    """The messages of a user at the end of a request that are new, as one; or the last one, if it was sent before:
    `entry` is then its fact, if it is in the newest part of the history."""

    name: str
    content: tuple[Part, ...]
    is_sent: bool
    entry: Entry | None


class AguiRuns:
    """The turns of one request."""

    def __init__(self, call: Call, chat_id: str) -> None:
        self._chats = chats_of(call)
        self._store = call.instance.store
        self._chat_id = chat_id
        self._names = Names(chat_id)
        self._body: RunBody = call.body
        self._own: OwnProps = own_props(call.body)
        check_messages(self._body.messages)

    async def start(self, chat: Chat | None) -> Run:
        """`chat` is None if it does not exist yet."""
        for _ in range(TRIES_MAX - 1):
            try:
                return await self._apply(chat)
            except (Conflict, NotAllowedNow):
                newer = await self._chats.get(self._chat_id)
                if chat is not None and newer.seq == chat.seq:
                    raise
                chat = newer  # another client was first
        return await self._apply(chat)

    async def _apply(self, chat: Chat | None) -> Run:
        if chat is None:
            return await self._begin()
        said = await self._said(chat)
        run = await self._answer(chat, said)
        if run.target is None and said is not None:
            return replace(await self._send(chat, said), ignored=run.ignored)
        return run

    async def _begin(self) -> Run:
        """Create the chat with what the client has. A repeat gets the same turn."""
        body, history = self._body, read_history(self._body.messages)
        if body.resume:
            raise Invalid("resume", "the thread does not exist, and has no interrupts")
        if not history.messages or history.messages[-1].role is Role.ASSISTANT:
            raise Invalid(FIELD, "a new thread ends with a user's message, or with the results of tools")
        imported = await self._chats.create_with_history(
            self._chat_id,
            history.messages,
            model=self._own.model or "",
            system=system_text(body.messages) or "",
            tools=client_tools(body.tools),
            labels=self._own.labels,
        )
        target = Target(
            chat_id=self._chat_id,
            turn_id=imported.turn_id,
            after=imported.last_id,
            is_new=not imported.done.is_repeat,
        )
        return Run(target=target, ignored=history.ignored)

    # --- messages

    async def _said(self, chat: Chat) -> _Said | None:
        """What a user says at the end of the messages."""
        trailing = self._trailing()
        if not trailing:
            return None
        receipts = await self._store.read_receipts(self._chat_id, [name for name, _ in trailing])
        name, last = trailing[0]
        content = last
        for earlier, more in trailing[1:]:
            if earlier in receipts or await self._entry_of(chat, earlier, is_sent=False) is not None:
                break
            content = (*more, *content)
        else:
            if len(trailing) > NEW_MESSAGES_MAX:
                raise TooLarge("number of new messages", NEW_MESSAGES_MAX)
        entry = await self._entry_of(chat, name, is_sent=name in receipts)
        if entry is not None and not any(is_same_content(entry, given) for given in (content, last)):
            shown = user_message(decode_content(entry.content or b"[]"), name)
            if user_content(shown, FIELD) != last:
                raise Conflict("message")
        return _Said(name=name, content=content, is_sent=entry is not None or name in receipts, entry=entry)

    def _trailing(self) -> list[tuple[str, tuple[Part, ...]]]:
        """The ids and contents of the user's messages at the end, newest first: one more than may be new."""
        messages = [m for m in enumerate(self._body.messages) if m[1]["role"] in ("user", "assistant", "tool")]
        found: list[tuple[str, tuple[Part, ...]]] = []
        for number, message in reversed(messages):
            if message["role"] != "user" or len(found) > NEW_MESSAGES_MAX:
                break
            found.append((client_message_id(message["id"]), user_content(message, f"{FIELD}[{number}]")))
        return found

    async def _entry_of(self, chat: Chat, name: str, *, is_sent: bool) -> Entry | None:
        """The fact of a message of a user that a client calls `name`; None if it is new, or not among the newest. One
        that was sent over another API has an id of this server, or one of another client."""
        began = await first_message(self._store, self._chat_id, chat, name)
        if began is not None or not (is_sent or self._names.is_user(name)):
            return began
        page = await self._chats.page(self._chat_id, limit=SEARCHED_MAX)
        for entry in reversed(page.messages):
            fact = entry.fact
            is_user = isinstance(fact, MessageAppended) and fact.role is Role.USER
            if is_user and self._names.user(entry.seq, getattr(fact, "client_message_id", "")) == name:
                return entry
        if self._names.is_user(name):
            raise NotFound("message")
        return None

    async def _send(self, chat: Chat, said: _Said) -> Run:
        if said.entry is not None and self._own.regenerate:
            return await self._regenerate(chat, getattr(said.entry.fact, "turn_id", 0))
        if said.entry is not None:
            return Run(target=target_of(self._chat_id, said.entry))
        settings: Sequence[c.Command] = ()
        if not said.is_sent:
            settings = [*await self._end_wait(chat), *self._settings(chat)]
        done = await self._chats.send(
            self._chat_id,
            said.content,
            when_busy=WhenBusy(self._own.when_busy or "queue"),
            client_message_id=said.name,
            model=self._own.model or "",
            settings=settings,
        )
        return Run(target=target_of(self._chat_id, sent_entry(done), is_new=not done.is_repeat))

    async def _regenerate(self, chat: Chat, turn_id: int) -> Run:
        """Answer the last turn again. The id of the run is its receipt: a repeat gets the same answer."""
        request = Request(client_id=f"agui-again-{hash_of(self._body.run_id).hex()}", body_hash=hash_of(turn_id))
        if not await self._chats.is_answered(self._chat_id, request):
            await self._chats.retry(self._chat_id, turn_id, settings=self._settings(chat), request=request)
        return Run(target=Target(chat_id=self._chat_id, turn_id=turn_id, after=turn_id))

    async def _end_wait(self, chat: Chat) -> list[c.Command]:
        """A message in place of the results of the client's tools ends the turn that waits for them. One in place of
        the answers to interrupts is refused, as AG-UI demands: cancelling them is an answer."""
        open_calls = await self._chats.open_calls(self._chat_id, chat)
        asked = [call.tool_call_id for call in open_calls if call.needs is not Needs.RESULT]
        if asked:
            raise Invalid("resume", f"the interrupt {asked[0]!r} waits for an answer, or to be cancelled")
        if not open_calls:
            return []
        return [c.Interrupt(turn_id=chat.turn_id, only_waiting=True, by=self._chats.owner_id)]

    # --- answers

    async def _answer(self, chat: Chat, said: _Said | None) -> Run:
        """Answer all open calls in one append, with a new message behind them. The same answers again are a repeat.
        Without a target: the request has no answers, or they are ignored because the first ones count."""
        asked = await self._asked(chat)
        open_calls = await self._chats.open_calls(self._chat_id, chat)
        wanted = {call.tool_call_id: call.needs for call in open_calls} if open_calls else asked.needs
        answers = self._given(wanted)
        late = self._late(asked, wanted)
        if not answers:
            return Run(ignored=late)
        target = Target(chat_id=self._chat_id, turn_id=asked.turn_id, after=asked.action)
        request = self._request(asked.action, answers, said)
        given = {message["toolCallId"] for message in self._body.messages if message["role"] == "tool"}
        fresh = frozenset(given & answers.keys())
        fresh |= {said.name} if said is not None else set()
        if not open_calls:
            receipt = (await self._store.read_receipts(self._chat_id, [request.client_id])).get(request.client_id)
            if receipt is not None and receipt.body_hash == request.body_hash:
                return Run(target=target, fresh=fresh, ignored=late)
            resumed = [entry.interrupt_id for entry in self._body.resume or ()]
            ignored = tuple(dict.fromkeys((*late, *resumed, *(() if said is not None else self._last_result()))))
            return Run(target=target if ignored and said is None else None, ignored=ignored)
        commands = await answer_commands(self._chats, self._chat_id, open_calls, answers, "resume")
        if said is not None and not said.is_sent:
            steering = await self._chats.steering_command(self._chat_id, said.content, request)
            commands.insert(0, replace(steering, client_message_id=said.name))
        await self._chats.change(self._chat_id, *self._settings(chat), *commands, request=request)
        return Run(target=replace(target, is_new=True), fresh=fresh, ignored=late)

    def _last_result(self) -> tuple[str, ...]:
        """The result at the end of the messages, by the id of its call."""
        last = self._body.messages[-1] if self._body.messages else {}
        return (last["toolCallId"],) if last.get("role") == "tool" else ()

    async def _asked(self, chat: Chat) -> _Asked:
        turn_id = chat.turn_id or chat.last_turn_id
        entry: Any = await self._store.newest_entry(self._chat_id, "action_required", after_seq=turn_id)
        calls = entry.fact.calls if entry is not None else ()
        needs = {call.tool_call_id: call.needs for call in calls}
        return _Asked(turn_id=turn_id, action=entry.seq if entry is not None else 0, needs=needs)

    def _given(self, wanted: Mapping[str, Needs]) -> dict[str, ToolAnswer]:
        """The answers of the request to these calls. The result of a call that needs an approval is none: the server
        has sent it."""
        results = [call_id for call_id, needs in wanted.items() if needs is not Needs.APPROVAL]
        found = tool_results(self._body.messages, results)
        for number, entry in enumerate(self._body.resume or ()):
            if entry.interrupt_id in wanted:
                place = f"resume[{number}]"
                found[entry.interrupt_id] = resume_answer(entry, wanted[entry.interrupt_id], place)
        return found

    def _late(self, asked: _Asked, wanted: Mapping[str, Needs]) -> tuple[str, ...]:
        """The interrupts of the request that are not open any more: another client was first, or it cancels them.
        Raises `Invalid` for the answer to one that is unknown."""
        resumed = self._body.resume or []
        if len({entry.interrupt_id for entry in resumed}) < len(resumed):
            raise Invalid("resume", "an interrupt is answered twice")
        late = [entry for entry in resumed if entry.interrupt_id not in wanted]
        for entry in late:
            if entry.status == "resolved" and entry.interrupt_id not in asked.needs:
                raise Invalid("resume", f"no interrupt {entry.interrupt_id[:80]!r} waits for an answer")
        return tuple(entry.interrupt_id for entry in late)

    def _request(self, action: int, answers: Mapping[str, ToolAnswer], said: _Said | None) -> Request:
        """The request that answers the calls of an action, by which its repeat is recognized."""
        shown = [[a.tool_call_id, a.value, a.is_error, a.is_approved, a.args, a.reason] for a in answers.values()]
        words = encode_content(said.content) if said is not None else b""
        return Request(client_id=f"agui-answers-{action}", body_hash=hash_of(encode(sorted(shown, key=str)), words))

    def _settings(self, chat: Chat) -> list[c.Command]:
        body = self._body
        return setting_commands(chat, system=system_text(body.messages), tools=body.tools, labels=self._own.labels)
