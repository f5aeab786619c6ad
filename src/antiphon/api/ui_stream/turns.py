"""Starting turns for the requests of `useChat`: a first message, the next one, an edit, a regeneration, answers.

The server owns the history. Of `messages` only the last one is new; earlier ones are used where the chat does not
exist yet, and are otherwise compared by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.api.call_answers import answer_commands
from antiphon.api.chat_settings import client_tools, setting_commands
from antiphon.api.http.outcomes import sent_entry
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.api.sent_messages import first_message, is_same_content
from antiphon.api.turn_targets import Target, restart_of, target_of
from antiphon.api.ui_stream.shapes import ChatBody
from antiphon.chats.chat_fields import hash_of
from antiphon.core import commands as c
from antiphon.core.facts import Entry, HistoryTruncated, MessageAppended
from antiphon.core.model import Chat, Status, WhenBusy
from antiphon.core.parts import Part, Role
from antiphon.errors import Busy, Conflict, Invalid, NotFound
from antiphon.ports import Request
from antiphon.wire.codec import decode_content, encode
from antiphon.wire.stream import OpenCall
from antiphon.wire.tool_answers import ToolAnswer
from antiphon.wire.ui_stream.ids import client_message_id, parse_message_id
from antiphon.wire.ui_stream.messages import id_of, read_history, tool_answers, user_content

FIELD = "messages"
SEARCHED_MAX = 1_000
"""Maximum number of messages, newest first, in which one is found that a client edits or regenerates."""
PAGE = 200


class UiTurns:
    """The turns of one request. `start` returns what the client reads then."""

    def __init__(self, call: Call, chat_id: str) -> None:
        self._call = call
        self._chats = chats_of(call)
        self._chat_id = chat_id
        self._body: ChatBody = call.body

    async def start(self, chat: Chat | None) -> Target:
        """`chat` is None if it does not exist yet."""
        body = self._body
        last, field = body.messages[-1], f"{FIELD}[{len(body.messages) - 1}]"
        if chat is None:
            if last.get("role") != "user":
                raise NotFound if last.get("role") == "assistant" else Invalid(f"{field}.role", "user or assistant")
            try:
                return await self._begin()
            except Conflict:  # another client has created it in the meantime
                return await self.start(await self._chats.get(self._chat_id))
        named = (m for m in body.messages if body.message_id is not None and m.get("id") == body.message_id)
        answered = next(named, last)
        if body.trigger == "regenerate-message":
            return await self._regenerate(chat, client_message_id(id_of(last, field)))
        if answered.get("role") == "assistant":
            return await self._answer(chat, answered)
        content, name = user_content(last, field), client_message_id(id_of(last, field))
        if body.message_id is not None:
            return await self._edit(chat, content, name)
        return await self._send(chat, content, name)

    # --- messages

    async def _begin(self) -> Target:
        """Create the chat with what the client has. A repeat gets the same turn."""
        body = self._body
        history = read_history(body.messages)
        imported = await self._chats.create_with_history(
            self._chat_id,
            history.messages,
            model=body.model or "",
            system=body.system if body.system is not None else history.system,
            tools=client_tools(body.tools or ()),
            labels=body.labels,
        )
        return Target(
            chat_id=self._chat_id,
            turn_id=imported.turn_id,
            after=imported.last_id,
            is_new=not imported.done.is_repeat,
            ignored=history.ignored,
        )

    async def _send(self, chat: Chat, content: tuple[Part, ...], name: str) -> Target:
        if (repeated := await first_message(self._call.instance.store, self._chat_id, chat, name)) is not None:
            if not is_same_content(repeated, content):
                raise Conflict("message")
            return self._target(repeated)
        settings: Sequence[c.Command] = ()
        if not await self._chats.has_receipt(self._chat_id, name):
            settings = self._settings(chat)
            if chat.status is Status.REQUIRES_ACTION:
                if await self._answer_before(chat, settings):
                    settings = ()
                elif self._body.when_busy is None:
                    end = c.Interrupt(turn_id=chat.turn_id, only_waiting=True, by=self._chats.owner_id)
                    settings = [end, *settings]
        done = await self._chats.send(
            self._chat_id,
            content,
            when_busy=WhenBusy(self._body.when_busy or "queue"),
            client_message_id=name,
            model=self._body.model or "",
            settings=settings,
        )
        return self._target(sent_entry(done), is_new=not done.is_repeat)

    async def _answer_before(self, chat: Chat, settings: Sequence[c.Command]) -> bool:
        """A message that follows the answers to all open calls does not cancel them: they are given before it, with
        the settings. Returns whether there were such answers."""
        before = self._body.messages[-2] if len(self._body.messages) > 1 else {}
        if before.get("role") == "assistant":
            answers = tool_answers(before, f"{FIELD}[{len(self._body.messages) - 2}]")
            open_calls = await self._chats.open_calls(self._chat_id, chat)
            if all(call.tool_call_id in answers for call in open_calls):
                await self._chats.change(self._chat_id, *settings, *await self._commands(open_calls, answers))
                return True
        return False

    def _target(self, entry: Entry, *, is_new: bool = False) -> Target:
        return target_of(self._chat_id, entry, is_new=is_new)

    async def _edit(self, chat: Chat, content: tuple[Part, ...], name: str) -> Target:
        """Replace a message. The same content once more is a repeat, if an edit has made the message."""
        entry = await self._find(name)
        if is_same_content(entry, content) and await self._is_edited(entry):
            return self._target(entry)
        settings = self._settings(chat)
        done = await self._chats.edit(self._chat_id, entry.seq, content, client_message_id=name, settings=settings)
        return self._target(sent_entry(done), is_new=True)

    async def _is_edited(self, entry: Entry) -> bool:
        """Whether an edit has made this message."""
        found = await self._call.instance.store.read_entries(self._chat_id, entry.seq - 2, limit=1, bytes_max=1)
        return bool(found) and isinstance(found[0].fact, HistoryTruncated)

    async def _find(self, name: str) -> Entry:
        """The visible message of a user that a client calls `name`. Raises `NotFound`."""
        ours = parse_message_id(name, self._chat_id)
        before: int | None = None
        for _ in range(SEARCHED_MAX // PAGE):
            page = await self._chats.page(self._chat_id, before_id=before, limit=PAGE)
            for entry in reversed(page.messages):
                fact = entry.fact
                if not isinstance(fact, MessageAppended) or fact.role is not Role.USER:
                    continue
                if fact.client_message_id == name or (ours is not None and entry.seq == ours.turn_id):
                    return entry
            if not page.has_more or not page.messages:
                break
            before = page.messages[0].seq
        raise NotFound("message")

    # --- regenerating

    async def _regenerate(self, chat: Chat, name: str) -> Target:
        """Answer the last message of the request again. The name of the answer says which one the client has, so a
        repeat gets the new answer."""
        entry = await self._find(name)
        turn_id = getattr(entry.fact, "turn_id", 0)
        has = parse_message_id(self._body.message_id or "", self._chat_id)
        restarted_at = await restart_of(self._call.instance.store, self._chat_id, turn_id)
        current = Target(chat_id=self._chat_id, turn_id=turn_id, after=restarted_at or turn_id)
        if has is not None and has.turn_id == turn_id and has.begin < restarted_at:
            return current
        if not chat.is_idle:
            if chat.turn_id == turn_id and restarted_at and has is None:
                return current
            raise Busy(chat.status)
        settings = self._settings(chat)
        if turn_id != chat.last_turn_id:
            content = decode_content(entry.content or b"[]")
            done = await self._chats.edit(
                self._chat_id, entry.seq, content, client_message_id=name, settings=settings
            )
            return self._target(sent_entry(done))
        done = await self._chats.retry(self._chat_id, turn_id, settings=settings)
        return Target(chat_id=self._chat_id, turn_id=turn_id, after=done.entries[-1].seq)

    # --- answers to tool calls

    async def _answer(self, chat: Chat, message: dict[str, Any]) -> Target:
        """Answer all open calls in one append. The same answers again are a repeat."""
        place = f"{FIELD}[{self._body.messages.index(message)}]"
        answers = tool_answers(message, place)
        if not answers:
            raise Invalid(place, "the message of an assistant has no answer to a tool call")
        shown = encode([[a.tool_call_id, a.value, a.is_error, a.is_approved, a.reason] for a in answers.values()])
        key = f"ui-answers-{hash_of(shown).hex()}"
        request = Request(client_id=key, body_hash=hash_of(shown))
        turn_id = chat.turn_id or chat.last_turn_id
        if await self._chats.has_receipt(self._chat_id, key):
            repeated = c.Approve(tool_call_id=next(iter(answers)))  # is not decided: the first answer is given
            done = await self._chats.change(self._chat_id, repeated, request=request)
            return Target(chat_id=self._chat_id, turn_id=turn_id, after=done.entries[0].seq - 1)
        open_calls = await self._chats.open_calls(self._chat_id, chat)
        if not open_calls:
            raise Invalid(place, "no tool call of this chat waits for an answer")
        action = await self._chats.newest_action(self._chat_id, turn_id)
        await self._chats.change(self._chat_id, *await self._commands(open_calls, answers), request=request)
        return Target(chat_id=self._chat_id, turn_id=turn_id, after=action)

    async def _commands(self, open_calls: Sequence[OpenCall], answers: dict[str, ToolAnswer]) -> list[c.Command]:
        return await answer_commands(self._chats, self._chat_id, open_calls, answers, FIELD)

    def _settings(self, chat: Chat) -> list[c.Command]:
        body = self._body
        return setting_commands(chat, system=body.system, tools=body.tools, labels=body.labels)
