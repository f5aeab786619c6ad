"""The routes of an owner's inbox, of what they have read, and of a chat's diff status."""

from __future__ import annotations

from starlette.responses import Response

from antiphon.api.embedded import EmbeddedChats, embedded_chats
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.outcomes import last_seq
from antiphon.api.http.paging import next_after, read_next
from antiphon.api.http.shapes import inbox as s
from antiphon.api.http.shapes.chats import SeqAnswer
from antiphon.api.http.table import SMALL_BODY_MAX, Call, Operation, Policy, route
from antiphon.chats.inbox import LIST_MAX, to_inbox_notification, to_uuid
from antiphon.wire import codec
from antiphon.wire.notify import ChatDiffStatus


def _chats(call: Call) -> EmbeddedChats:
    return embedded_chats(call.instance, call.owner_id)


async def list_inbox(call: Call) -> Response:
    query: s.InboxQuery = call.query
    inbox, limit = call.instance.inbox, min(query.limit, LIST_MAX)
    after = read_next(query.after) if query.after else None
    found = await inbox.list(call.owner_id, is_unread=query.unread, limit=limit + 1, after=after)
    last = found[limit - 1] if len(found) > limit else None
    return JsonAnswer(
        codec.encode(
            {
                "notifications": [to_inbox_notification(item) for item in found[:limit]],
                "unread_count": await inbox.count_unread(call.owner_id),
                "next": next_after(last.created_at, last.notification_id) if last else None,
            }
        )
    )


async def read_notification(call: Call) -> Response:
    found = await call.instance.inbox.read(call.owner_id, call.path["notification_id"])
    return JsonAnswer(codec.encode(to_inbox_notification(found)))


async def read_whole_inbox(call: Call) -> Response:
    await call.instance.inbox.read_all(call.owner_id)
    return JsonAnswer({"unread_count": await call.instance.inbox.count_unread(call.owner_id)})


async def read_chat(call: Call) -> Response:
    body: s.ReadChatBody | None = call.body
    return JsonAnswer({"seq": await _chats(call).mark_read(call.chat_id, body.seq if body else None)})


async def set_diff_status(call: Call) -> Response:
    given = {name: getattr(call.body, name) for name in s.DiffStatusBody.__struct_fields__}
    status = ChatDiffStatus(chat_id=to_uuid(call.chat_id), **given)
    return JsonAnswer(last_seq(await _chats(call).set_diff_status(call.chat_id, status)))


_OWNER = Policy.OWNER

ROUTES: tuple[Operation, ...] = (
    route("GET", "/inbox", list_inbox, _OWNER, "The notifications of events that no client watched, newest first.",
          (200, s.InboxAnswer), query=s.InboxQuery),
    route("PUT", "/inbox/read-all", read_whole_inbox, _OWNER, "Mark all notifications as read.",
          (200, s.UnreadAnswer)),
    route("PUT", "/inbox/{notification_id}/read", read_notification, _OWNER, "Mark a notification as read.",
          (200, s.NotificationAnswer)),
    route("PUT", "/chats/{chat_id}/read", read_chat, _OWNER, "Move the read cursor: to a seq, or to the chat's last.",
          (200, SeqAnswer), body=s.ReadChatBody, is_body_optional=True, body_bytes_max=SMALL_BODY_MAX),
    route("PUT", "/chats/{chat_id}/diff-status", set_diff_status, _OWNER,
          "Set the status of the chat's pull request.",
          (200, SeqAnswer), body=s.DiffStatusBody, body_bytes_max=SMALL_BODY_MAX),
)  # fmt: skip
