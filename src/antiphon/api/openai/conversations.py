"""`/v1/conversations`: a conversation is a chat, its metadata are the labels, and its items come from the
messages."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.api.idempotency import key_of
from antiphon.api.named_chats import chats_of
from antiphon.api.openai import shapes as s
from antiphon.api.openai.listing import listed_items
from antiphon.api.openai.turns import PROTOCOL
from antiphon.core.model import Chat
from antiphon.errors import Invalid, NotFound
from antiphon.wire.ids import named_chat_id
from antiphon.wire.openai.ids import conversation_id, parse_conversation_id


async def create_conversation(call: Call) -> Response:
    body: s.ConversationBody = call.body or s.ConversationBody()
    if body.items:
        raise Invalid("items", "a conversation begins empty; send the items with the first response")
    key = key_of(call)
    chat_id = named_chat_id(call.owner_id, PROTOCOL, f"key:{key}") if key else str(uuid.uuid4())
    done = await chats_of(call).create(chat_id=chat_id, labels=body.metadata or {})
    return JsonAnswer(_conversation(chat_id, done.chat))


async def retrieve_conversation(call: Call) -> Response:
    chat_id, chat = await _found(call)
    return JsonAnswer(_conversation(chat_id, chat))


async def update_conversation(call: Call) -> Response:
    body: s.ConversationBody = call.body
    chat_id, chat = await _found(call)
    if body.metadata is not None:
        chat = (await chats_of(call).set_labels(chat_id, body.metadata)).chat
    return JsonAnswer(_conversation(chat_id, chat))


async def delete_conversation(call: Call) -> Response:
    chat_id, _ = await _found(call)
    await chats_of(call).delete(chat_id)
    shown = {"id": conversation_id(chat_id), "object": "conversation.deleted", "deleted": True}
    return JsonAnswer(shown)


async def list_conversation_items(call: Call) -> Response:
    chat_id, _ = await _found(call)
    return await listed_items(call, chat_id)


async def _found(call: Call) -> tuple[str, Chat]:
    """The chat. Raises `NotFound` for one that the owner does not have."""
    chat_id = parse_conversation_id(call.path["conversation_id"])
    try:
        return chat_id, await chats_of(call).get(chat_id)
    except NotFound:
        raise NotFound("conversation") from None


def _conversation(chat_id: str, chat: Chat) -> dict[str, Any]:
    return {
        "id": conversation_id(chat_id),
        "object": "conversation",
        "created_at": chat.created_at // 1_000_000,
        "metadata": chat.labels,
    }
