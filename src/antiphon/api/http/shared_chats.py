"""The routes of links to chats: an owner makes and revokes them, and anyone who has one reads the chat."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from antiphon.api.embedded import embedded_chats
from antiphon.api.http.answers import ANSWER_BYTES_MAX, JsonAnswer, fitting, no_content
from antiphon.api.http.files import file_answer
from antiphon.api.http.shapes import shares as s
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.chats.owned import PAGE_MAX, OwnedChats
from antiphon.chats.shares import shows_file
from antiphon.errors import NotFound
from antiphon.ports import Share
from antiphon.wire.gotime import format_time_us
from antiphon.wire.stream import message_json


def _chats(call: Call) -> OwnedChats:
    return embedded_chats(call.instance, call.owner_id, via=call.via)


async def create_share(call: Call) -> Response:
    new = await _chats(call).create_share(call.chat_id)
    return JsonAnswer(_share_json(new.share) | {"secret": new.secret}, 201)


async def list_shares(call: Call) -> Response:
    return JsonAnswer({"shares": [_share_json(share) for share in await _chats(call).list_shares(call.chat_id)]})


async def delete_share(call: Call) -> Response:
    await _chats(call).delete_share(call.chat_id, call.path["share_id"])
    return no_content()


def _share_json(share: Share) -> dict[str, Any]:
    return {"id": share.share_id, "chat_id": share.chat_id, "created_at": format_time_us(share.created_at)}


# --- for those who have a link


async def read_shared(call: Call) -> Response:
    """The title and a page of messages, and nothing else of the chat: no prompt, labels, queue or owner."""
    query: s.SharedQuery = call.query
    chat_id = _shared_id(call)
    chat = await _chats(call).get(chat_id)
    limit = min(query.limit, PAGE_MAX)
    page, has_more = await call.instance.store.read_messages(chat_id, before_id=query.before_id, limit=limit)
    messages = fitting((_message_json(message_json(chat_id, entry)) for entry in reversed(page)), ANSWER_BYTES_MAX)
    messages.reverse()
    shown = {
        "title": chat.title,
        "created_at": format_time_us(chat.created_at),
        "updated_at": format_time_us(chat.updated_at),
        "messages": messages,
        "has_more": has_more or len(messages) < len(page),
    }
    return JsonAnswer(shown)


def _message_json(shown: dict[str, Any]) -> dict[str, Any]:
    """A message without what says who the owner is and what the answer cost."""
    return {name: value for name, value in shown.items() if name not in ("created_by", "client_message_id", "usage")}


async def get_shared_file(call: Call) -> Response:
    file_id = call.path["file_id"]
    if not await shows_file(call.instance.store, _shared_id(call), file_id):
        raise NotFound("file")
    return await file_answer(call, file_id)


def _shared_id(call: Call) -> str:
    assert call.token is not None
    return call.token.chat_id


_OWNER, _SHARE = Policy.OWNER, Policy.SHARE

ROUTES: tuple[Operation, ...] = (
    route("POST", "/chats/{chat_id}/shares", create_share, _OWNER,
          "Make a link by which anyone reads the chat. Its secret is returned only here.", (201, s.NewShareAnswer)),
    route("GET", "/chats/{chat_id}/shares", list_shares, _OWNER, "The links to a chat, without their secrets.",
          (200, s.SharesAnswer)),
    route("DELETE", "/chats/{chat_id}/shares/{share_id}", delete_share, _OWNER, "Revoke a link to a chat.",
          (204, None)),
    route("GET", "/shared", read_shared, _SHARE, "The chat of a link: its title and a page of messages.",
          (200, s.SharedAnswer), query=s.SharedQuery),
    route("GET", "/shared/files/{file_id}", get_shared_file, _SHARE, "The bytes of a file of the chat of a link.",
          (200, None), (206, None), (304, None), is_download=True),
)  # fmt: skip
