"""Runs the tools on the chats of the request's owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET

from antiphon.api.http.decoding import invalid
from antiphon.api.http.outcomes import sent_entry
from antiphon.api.http.paging import next_after, read_next
from antiphon.api.http.table import Call
from antiphon.api.idempotency import key_of
from antiphon.api.mcp.waiting import Target
from antiphon.api.named_chats import chats_of
from antiphon.chats.chat_fields import hash_of
from antiphon.core import commands as c
from antiphon.core.facts import Entry, MessageAppended, MessageQueued
from antiphon.core.model import FIRST_TURN_ID, Needs, WhenBusy
from antiphon.core.parts import Role
from antiphon.core.values import Value
from antiphon.errors import Invalid, NotFound, PeerError, TooMany
from antiphon.mcp_settings import DEPTH_KEY, DEPTH_LABEL, DEPTH_MAX
from antiphon.ports import Listed, Request
from antiphon.wire.codec import convert, encode
from antiphon.wire.gotime import format_time_us
from antiphon.wire.ids import canonical_id, named_chat_id
from antiphon.wire.mcp_server import tools as t
from antiphon.wire.mcp_server.content import (
    Budget,
    fitting_messages,
    message_result,
    open_call_results,
    queued_result,
)
from antiphon.wire.stream import OpenCall

NAME = "mcp"
STOP_WAIT_S = 5.0
"""How long a stop waits for the end of the answer, in seconds."""


class Tools:
    """The tools for one request. `meta` is the `_meta` of its parameters; `place` is its place in a batch."""

    def __init__(self, call: Call, meta: dict[str, Any], *, place: int | None = None) -> None:
        self._call = call
        self._meta = meta
        self._place = place
        self._chats = chats_of(call)

    async def run(self, tool: t.ToolInfo, arguments: dict[str, Any]) -> Value | Target:
        """The result, or the message whose answer is the result.

        Raises:
            Refused: Of the commands and reads. The caller's model reads why.
        """
        try:
            given: Any = convert(arguments, tool.arguments)
        except PeerError as error:
            raise invalid(error) from error
        run: Callable[[Any], Awaitable[Value | Target]] = getattr(self, tool.name)
        return await run(given)

    # --- messages

    async def start_chat(self, given: t.StartChat) -> Target:
        key = given.idempotency_key or self._header_key()
        depth = self._depth()
        labels = given.labels | ({DEPTH_LABEL: str(depth)} if depth else {})
        done = await self._chats.create(
            chat_id=named_chat_id(self._chats.owner_id, NAME, f"key:{key}") if key else None,
            content=given.text,
            title=given.title,
            model=given.model,
            system=given.system,
            labels=labels,
        )
        return Target(chat_id=done.chat_id, message_id=FIRST_TURN_ID, turn_id=FIRST_TURN_ID, wait_s=given.wait_s)

    def _header_key(self) -> str:
        """The key of the HTTP request, as a message's id can be; each request of a batch has its own. Empty if it has
        none."""
        key = key_of(self._call)
        return f"{NAME}-{hash_of(encode([key, self._place])).hex()}" if key else ""

    def _depth(self) -> int:
        """How many chats are above a new one, each of which has started the next by MCP. Raises `TooMany`."""
        depth = self._meta.get(DEPTH_KEY, 0)
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
            raise Invalid(DEPTH_KEY, "a whole number")
        if depth > DEPTH_MAX:
            raise TooMany("chats above a chat that was started by MCP", DEPTH_MAX)
        return depth

    async def send_message(self, given: t.SendMessage) -> Target:
        chat_id = canonical_id(given.chat_id)
        done = await self._chats.send(
            chat_id,
            given.text,
            when_busy=WhenBusy(given.when_busy),
            client_message_id=given.idempotency_key or self._header_key(),
        )
        return _target(chat_id, sent_entry(done), given.wait_s)

    async def wait_for_answer(self, given: t.WaitForAnswer) -> Target:
        chat_id = canonical_id(given.chat_id)
        chat = await self._chats.get(chat_id)
        message_id = given.message_id or chat.turn_id or chat.last_turn_id
        if not message_id:
            raise NotFound("message")
        return _target(chat_id, await self._message(chat_id, message_id), given.wait_s, is_started=False)

    async def _message(self, chat_id: str, message_id: int) -> Entry:
        """The fact of a user's message. Raises `NotFound`."""
        found = await self._call.instance.store.read_entries(chat_id, message_id - 1, limit=1, bytes_max=1)
        entry = found[0] if found else None
        if entry is None or entry.seq != message_id:
            raise NotFound("message")
        is_sent = isinstance(entry.fact, MessageAppended) and entry.fact.role is Role.USER
        if not is_sent and not isinstance(entry.fact, MessageQueued):
            raise NotFound("message")
        return entry

    async def stop(self, given: t.Stop) -> Target:
        chat_id = canonical_id(given.chat_id)
        chat = await self._chats.get(chat_id)
        turn_id = chat.turn_id or chat.last_turn_id
        if not turn_id:
            raise NotFound("message")
        if chat.turn_id:
            await self._chats.interrupt(chat_id, chat.turn_id, clear_queue=given.clear_queue)
        return Target(chat_id=chat_id, message_id=turn_id, turn_id=turn_id, wait_s=STOP_WAIT_S)

    # --- open calls

    async def answer_call(self, given: t.AnswerCall) -> Target:
        """The same answer again is a repeat, and returns what the chat has become."""
        chat_id, call_id = canonical_id(given.chat_id), given.tool_call_id
        body_hash = hash_of(encode([call_id, given.approved, given.reason, *_values(given), given.is_error]))
        request = Request(client_id=f"mcp-answer-{body_hash.hex()}", body_hash=body_hash)
        was_given = await self._chats.is_answered(chat_id, request)
        chat = await self._chats.get(chat_id)  # after the receipt: a call that is open now was made again since
        turn_id = chat.turn_id or chat.last_turn_id
        open_calls = await self._chats.open_calls(chat_id, chat)
        found = next((item for item in open_calls if item.tool_call_id == call_id), None)
        if found is not None:
            if was_given:  # by a turn that was restarted, with the same id
                action = await self._chats.newest_action(chat_id, turn_id)
                request = Request(client_id=f"mcp-answer-{action}-{body_hash.hex()}", body_hash=body_hash)
            await self._chats.change(chat_id, await self._command(chat_id, found, given), request=request)
        elif not was_given:
            raise NotFound("open call")
        return Target(chat_id=chat_id, message_id=turn_id, turn_id=turn_id, wait_s=given.wait_s)

    async def _command(self, chat_id: str, found: OpenCall, given: t.AnswerCall) -> c.Command:
        call_id, by = found.tool_call_id, self._chats.owner_id
        if found.needs is Needs.APPROVAL:
            if given.approved is None:
                raise Invalid("approved", "this call needs an approval: true or false")
            if given.approved:
                return c.Approve(tool_call_id=call_id, by=by)
            return c.Deny(tool_call_id=call_id, reason=given.reason, by=by)
        field = "answer" if found.needs is Needs.ANSWER else "result"
        value = getattr(given, field)
        if value is UNSET:
            raise Invalid(field, f"this call needs {'an answer' if field == 'answer' else 'a result'}")
        is_error = given.is_error and found.needs is Needs.RESULT
        return await self._chats.result_command(chat_id, call_id, value, is_error=is_error, needs=found.needs)

    # --- reading

    async def read_chat(self, given: t.ReadChat) -> t.ChatResult:
        if given.after_id is not None and given.before_id is not None:
            raise Invalid("before_id", "give after_id or before_id, not both")
        chat_id = canonical_id(given.chat_id)
        chat = await self._chats.get(chat_id)
        page = await self._chats.page(chat_id, after_id=given.after_id, before_id=given.before_id, limit=given.limit)
        is_forward = given.after_id is not None
        entries = page.messages if is_forward else tuple(reversed(page.messages))
        messages = fitting_messages(message_result(entry) for entry in entries)
        queued = fitting_messages(queued_result(*item) for item in page.queued)
        return t.ChatResult(
            chat_id=chat_id,
            title=chat.title,
            status=chat.status,
            messages=messages if is_forward else messages[::-1],
            has_more=page.has_more or len(messages) < len(entries),
            queued=queued,
            queued_count=len(page.queued),
            open_calls=open_call_results(page.open_calls, Budget()),
        )

    async def list_chats(self, given: t.ListChats) -> t.ChatsResult:
        listed = await self._chats.list(
            archived=given.archived,
            title=given.query,
            limit=given.limit + 1,
            after=read_next(given.cursor, "cursor") if given.cursor else None,
        )
        shown = listed[: given.limit]
        return t.ChatsResult(chats=[_summary(item) for item in shown], next_cursor=following(listed, given.limit))


def following(listed: tuple[Listed, ...], limit: int) -> str:
    """The cursor after a page of chats, one more of which was read; empty on the last page."""
    if len(listed) <= limit:
        return ""
    last = listed[limit - 1]
    return next_after(last.chat.updated_at, last.chat_id)


def _summary(item: Listed) -> t.ChatSummary:
    chat = item.chat
    return t.ChatSummary(
        chat_id=item.chat_id,
        title=chat.title,
        status=chat.status,
        updated_at=format_time_us(chat.updated_at),
        is_archived=chat.is_archived,
    )


def _target(chat_id: str, entry: Entry, wait_s: float, *, is_started: bool = True) -> Target:
    turn_id = 0 if isinstance(entry.fact, MessageQueued) else getattr(entry.fact, "turn_id", 0)
    return Target(chat_id=chat_id, message_id=entry.seq, turn_id=turn_id, wait_s=wait_s, is_started=is_started)


def _values(given: t.AnswerCall) -> list[Any]:
    """What was given of the answer and the result. Nothing differs from null."""
    return [[] if value is UNSET else [value] for value in (given.answer, given.result)]
