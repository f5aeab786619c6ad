"""The routes of chats, their messages and streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Raw
from starlette.responses import Response

from antiphon.api.embedded import embedded_chats
from antiphon.api.http.answers import ANSWER_BYTES_MAX, JsonAnswer, fitting, no_content
from antiphon.api.http.auth import is_websocket
from antiphon.api.http.outcomes import last_seq, restarted, sent_entry
from antiphon.api.http.paging import next_after, read_next
from antiphon.api.http.shapes import chats as s
from antiphon.api.http.sse import open_stream
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.api.websocket.answer import open_socket
from antiphon.chats.chat_fields import (
    clean_labels,
    clean_mcp_server_ids,
    clean_model,
    clean_system,
    clean_title,
)
from antiphon.chats.client_tools import checked_tools
from antiphon.chats.owned import OwnedChats
from antiphon.core import commands as c
from antiphon.core.facts import MessageQueued
from antiphon.core.model import Chat
from antiphon.errors import Invalid
from antiphon.observe.crash_points import crash_point
from antiphon.observe.traces import checked_traceparent
from antiphon.ports import Done, Listed
from antiphon.wire.cursor import parse_cursor
from antiphon.wire.gotime import format_time_us
from antiphon.wire.stream import chat_json, message_json, new_message_json, open_calls_json, queued_message_json

LIST_MAX = 500


def _chats(call: Call) -> OwnedChats:
    trace = checked_traceparent(call.request.headers.get("traceparent"))
    return embedded_chats(call.instance, call.owner_id, trace=trace, via=call.via)


# --- chats ------------------------------------------------------------------------------------------


async def create_chat(call: Call) -> Response:
    body: s.CreateChatBody = call.body
    crash_point("create-before-append")
    done = await _chats(call).create(
        chat_id=body.id.lower() if body.id else None,
        content=body.content,
        title=body.title,
        model=body.model,
        system=body.system,
        labels=body.labels,
        tools=body.tools,
        mcp_server_ids=body.mcp_server_ids,
    )
    crash_point("before-answer")
    open_calls = await _chats(call).open_calls(done.chat_id, done.chat)  # a repeated request may find any state
    return JsonAnswer(chat_json(done.chat_id, done.chat, open_calls=open_calls), 201)


async def fork_chat(call: Call) -> Response:
    body: s.ForkBody = call.body
    chats = _chats(call)
    new_id = body.id.lower() if body.id else None
    done = await chats.fork(call.chat_id, body.message_id, as_of=body.as_of, chat_id=new_id, title=body.title)
    open_calls = await chats.open_calls(done.chat_id, done.chat)  # a repeated request may find any state
    return JsonAnswer(chat_json(done.chat_id, done.chat, open_calls=open_calls), 201)


async def list_chats(call: Call) -> Response:
    query: s.ListChatsQuery = call.query
    limit = min(query.limit, LIST_MAX)
    if query.pinned:
        return JsonAnswer(await _list_json(call, await _chats(call).list_pinned(limit=limit), limit))
    key, _, value = query.label.partition(":")
    of_all = None if query.parent_chat_id else False  # a chat shows all of its children
    listed = await _chats(call).list(
        parent=query.parent_chat_id,
        archived=query.archived if query.archived is not None else of_all,
        label=(key, value) if key else None,
        title=query.q,
        limit=limit + 1,
        after=read_next(query.after) if query.after else None,
    )
    return JsonAnswer(await _list_json(call, listed, limit))


async def _list_json(call: Call, listed: Sequence[Listed], limit: int) -> dict[str, Any]:
    """A page of at most `limit` chats; one more is the reason for a `next`."""
    unread = await call.instance.inbox.unread_of([item.chat_id for item in listed[:limit]])
    open_calls = await _chats(call).open_calls_of(listed[:limit], ANSWER_BYTES_MAX)  # the answer has room for no more
    shown = fitting(
        chat_json(i.chat_id, i.chat, has_unread=i.chat_id in unread, open_calls=open_calls.get(i.chat_id, ()))
        for i in listed[:limit]
    )
    last = listed[len(shown) - 1] if len(listed) > len(shown) else None
    following = next_after(last.chat.updated_at, last.chat_id) if last else None
    return {"chats": shown, "next": following}


async def get_chat(call: Call) -> Response:
    return JsonAnswer(await _shown(call, await _chats(call).get(call.chat_id)))


async def _shown(call: Call, chat: Chat) -> dict[str, Any]:
    unread = await call.instance.inbox.unread_of((call.chat_id,))
    open_calls = await _chats(call).open_calls(call.chat_id, chat)
    return chat_json(call.chat_id, chat, has_unread=bool(unread), open_calls=open_calls)


async def change_chat(call: Call) -> Response:
    body: s.ChangeChatBody = call.body
    commands: list[c.Command] = []
    if body.title is not UNSET:
        commands.append(c.Rename(title=clean_title(body.title)))
    if body.labels is not UNSET:
        commands.append(c.SetLabels(labels=clean_labels(body.labels)))
    if body.pin_order is not UNSET:
        commands.append(c.SetPin(pin_order=body.pin_order))
    if body.model is not UNSET:
        commands.append(c.SetModel(model=clean_model(body.model)))
    if body.system is not UNSET:
        commands.append(c.SetSystem(system=clean_system(body.system)))
    if body.tools is not UNSET:
        commands.append(c.SetTools(tools=checked_tools(body.tools)))
    if body.mcp_server_ids is not UNSET:
        commands.append(c.SetMcpServers(mcp_server_ids=clean_mcp_server_ids(body.mcp_server_ids)))
    if body.archived is not UNSET:
        commands.append(c.Archive() if body.archived else c.Unarchive())
    done = await _chats(call).change(call.chat_id, *commands) if commands else None
    chat = done.chat if done else await _chats(call).get(call.chat_id)
    return JsonAnswer(await _shown(call, chat))


async def delete_chat(call: Call) -> Response:
    await _chats(call).delete(call.chat_id)
    return no_content()


# --- messages ---------------------------------------------------------------------------------------


async def list_messages(call: Call) -> Response:
    query: s.MessagesQuery = call.query
    if query.after_id is not None and query.before_id is not None:
        raise Invalid("before_id", "give after_id or before_id, not both")
    page = await _chats(call).page(
        call.chat_id, after_id=query.after_id, before_id=query.before_id, limit=query.limit, as_of=query.as_of
    )
    queued = fitting(queued_message_json(call.chat_id, *item) for item in page.queued)
    from_newest = query.after_id is None
    entries = reversed(page.messages) if from_newest else page.messages
    free_bytes = ANSWER_BYTES_MAX - sum(len(bytes(item)) for item in queued)
    messages = fitting((message_json(call.chat_id, entry) for entry in entries), free_bytes)
    has_more = page.has_more or len(messages) < len(page.messages)
    if from_newest:
        messages.reverse()
    return JsonAnswer(
        {
            "messages": messages,
            "queued_messages": queued,
            "has_more": has_more,
            "open_calls": open_calls_json(page.open_calls),
        }
    )


async def list_versions(call: Call) -> Response:
    versions = await _chats(call).versions(call.chat_id)
    shown = [
        {
            "seq": version.seq,
            "at": format_time_us(version.at),
            "from_message_id": version.from_message_id,
            "after_message_id": version.after_message_id,
        }
        for version in versions
    ]
    return JsonAnswer({"versions": shown})


async def send_message(call: Call) -> Response:
    body: s.SendBody = call.body
    if body.client_message_id == "":
        raise Invalid("client_message_id", "1 to 128 printable ASCII characters")
    crash_point("send-before-append")
    done = await _chats(call).send(
        call.chat_id,
        body.content,
        when_busy=body.when_busy,
        client_message_id=body.client_message_id or "",
        model=body.model,
    )
    crash_point("before-answer")
    return _sent(call, done)


def _sent(call: Call, done: Done) -> Response:
    entry = sent_entry(done)
    if isinstance(entry.fact, MessageQueued):
        crash_point("queue-after-append")
        return JsonAnswer(new_message_json(call.chat_id, entry), 202)
    return JsonAnswer(new_message_json(call.chat_id, entry), 201)


async def edit_message(call: Call) -> Response:
    body: s.EditBody = call.body
    done = await _chats(call).edit(call.chat_id, call.id("message_id"), body.content, clear_queue=body.clear_queue)
    crash_point("edit-after-append")
    return _sent(call, done)


async def retry(call: Call) -> Response:
    turn_id = call.body.turn_id if call.body else 0
    return JsonAnswer(restarted(await _chats(call).retry(call.chat_id, turn_id)))


async def interrupt(call: Call) -> Response:
    body: s.InterruptBody = call.body
    interrupted, seq = await _chats(call).interrupt(call.chat_id, body.turn_id, clear_queue=body.clear_queue)
    crash_point("interrupt-after-append")
    return JsonAnswer({"interrupted": interrupted, "seq": seq})


# --- the queue --------------------------------------------------------------------------------------


async def edit_queued(call: Call) -> Response:
    done = await _chats(call).edit_queued(call.chat_id, call.id("queued_id"), call.body.content)
    return JsonAnswer(last_seq(done))


async def delete_queued(call: Call) -> Response:
    return JsonAnswer(last_seq(await _chats(call).delete_queued(call.chat_id, call.id("queued_id"))))


async def move_queued(call: Call) -> Response:
    done = await _chats(call).move_queued(call.chat_id, call.id("queued_id"), call.body.before)
    return JsonAnswer(last_seq(done))


async def promote_queued(call: Call) -> Response:
    return JsonAnswer(last_seq(await _chats(call).promote_queued(call.chat_id, call.id("queued_id"))))


# --- tool calls that wait for a client ------------------------------------------------------------------


async def decide_call(call: Call) -> Response:
    body: s.ApprovalBody = call.body
    chats = _chats(call)
    if body.approved:
        args = None if body.args is UNSET else body.args
        done = await chats.approve(call.chat_id, body.tool_call_id, args=args, always=body.always)
    else:
        done = await chats.deny(call.chat_id, body.tool_call_id, body.reason)
    return JsonAnswer({"seq": done.entries[0].seq})


async def submit_result(call: Call) -> Response:
    body: s.ToolResultBody = call.body
    done = await _chats(call).submit_result(call.chat_id, body.tool_call_id, body.result, is_error=body.is_error)
    return JsonAnswer({"seq": done.entries[0].seq})


async def answer_question(call: Call) -> Response:
    body: s.AnswerBody = call.body
    done = await _chats(call).answer_question(call.chat_id, body.tool_call_id, body.answer)
    return JsonAnswer({"seq": done.entries[0].seq})


async def get_state(call: Call) -> Response:
    state, seq = await _chats(call).agent_state(call.chat_id)
    return JsonAnswer({"state": Raw(state), "seq": seq})


# --- streams ----------------------------------------------------------------------------------------


async def stream(call: Call) -> Response:
    query: s.StreamQuery = call.query
    if query.until not in ("", "idle"):
        raise Invalid("until", "only `idle` is known")
    if query.commit not in ("", "ref"):
        raise Invalid("commit", "only `ref` is known")
    await _chats(call).get(call.chat_id)
    place = call.request.headers.get("last-event-id") or query.after
    if is_websocket(call.request):
        return await open_socket(call, chat_id=call.chat_id, cursor=place, by_ref=query.commit == "ref")
    assert call.token is not None
    return await open_stream(
        call.instance.watch.open_watcher(
            call.chat_id,
            parse_cursor(place) if place else None,
            token_id=call.token.token_id,
            owner_id=call.owner_id,
            until_idle=query.until == "idle",
            by_ref=query.commit == "ref",
        )
    )


async def feed(call: Call) -> Response:
    assert call.token is not None
    return await open_stream(call.instance.watch.open_feed(call.owner_id, token_id=call.token.token_id))


# --- the table --------------------------------------------------------------------------------------

_OWNER = Policy.OWNER


ROUTES: tuple[Operation, ...] = (
    route("POST", "/chats", create_chat, _OWNER, "Create a chat; with content its first turn starts.",
          (201, s.ChatAnswer), body=s.CreateChatBody, repeat_by="id"),
    route("GET", "/chats", list_chats, _OWNER, "The owner's chats, latest change first.",
          (200, s.ChatsAnswer), query=s.ListChatsQuery),
    route("GET", "/chats/{chat_id}", get_chat, _OWNER, "One chat.", (200, s.ChatAnswer)),
    route("PATCH", "/chats/{chat_id}", change_chat, _OWNER, "Change the settings of a chat, all at once.",
          (200, s.ChatAnswer), body=s.ChangeChatBody),
    route("DELETE", "/chats/{chat_id}", delete_chat, _OWNER, "Delete a chat and its content.", (204, None)),
    route("GET", "/chats/{chat_id}/messages", list_messages, _OWNER, "A page of the history, and the queue.",
          (200, s.MessagesAnswer), query=s.MessagesQuery),
    route("POST", "/chats/{chat_id}/fork", fork_chat, _OWNER, "Create a chat with the history up to a message.",
          (201, s.ChatAnswer), body=s.ForkBody, repeat_by="id"),
    route("GET", "/chats/{chat_id}/versions", list_versions, _OWNER, "What edits and retries have replaced.",
          (200, s.VersionsAnswer)),
    route("POST", "/chats/{chat_id}/messages", send_message, _OWNER, "Send a message.",
          (201, s.SentAnswer), (202, s.QueuedAnswer), body=s.SendBody, repeat_by="client_message_id"),
    route("PATCH", "/chats/{chat_id}/messages/{message_id}", edit_message, _OWNER,
          "Edit a message: the history is cut there and a turn starts.", (201, s.SentAnswer), body=s.EditBody),
    route("POST", "/chats/{chat_id}/retry", retry, _OWNER, "Run the last turn again.",
          (200, s.RetryAnswer), body=s.RetryBody, is_body_optional=True),
    route("PATCH", "/chats/{chat_id}/queue/{queued_id}", edit_queued, _OWNER, "Edit a queued message.",
          (200, s.SeqAnswer), body=s.EditQueuedBody),
    route("DELETE", "/chats/{chat_id}/queue/{queued_id}", delete_queued, _OWNER, "Remove a message from the queue.",
          (200, s.SeqAnswer)),
    route("POST", "/chats/{chat_id}/queue/{queued_id}/promote", promote_queued, _OWNER,
          "Deliver a queued message next, interrupting the turn.", (200, s.SeqAnswer)),
    route("POST", "/chats/{chat_id}/queue/{queued_id}/move", move_queued, _OWNER,
          "Move a queued message before another (null: to the end).", (200, s.SeqAnswer), body=s.MoveQueuedBody),
    route("POST", "/chats/{chat_id}/interrupt", interrupt, _OWNER, "Interrupt a turn.",
          (200, s.InterruptAnswer), body=s.InterruptBody),
    route("POST", "/chats/{chat_id}/approvals", decide_call, _OWNER,
          "Allow or deny a tool call that waits for it; the first answer wins.",
          (200, s.SeqAnswer), body=s.ApprovalBody),
    route("POST", "/chats/{chat_id}/tool-results", submit_result, _OWNER,
          "Give the result of a tool that clients run; the first one wins.",
          (200, s.SeqAnswer), body=s.ToolResultBody),
    route("POST", "/chats/{chat_id}/answers", answer_question, _OWNER,
          "Answer a question of an agent; the first answer wins.", (200, s.SeqAnswer), body=s.AnswerBody),
    route("GET", "/chats/{chat_id}/state", get_state, _OWNER,
          "The agent's own JSON document of the chat.", (200, s.StateAnswer)),
    route("GET", "/chats/{chat_id}/stream", stream, _OWNER, "Follow a chat (server-sent events).",
          (200, None), query=s.StreamQuery, is_stream=True, is_websocket=True),
    route("GET", "/feed", feed, _OWNER, "Follow the changes of all chats (server-sent events).",
          (200, None), is_stream=True),
)  # fmt: skip
