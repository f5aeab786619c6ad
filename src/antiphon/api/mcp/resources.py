"""Chats and files as resources: the list of chats, and what each address has."""

from __future__ import annotations

import base64
from typing import Any

from antiphon.api.http.answers import fitting
from antiphon.api.http.paging import read_next
from antiphon.api.http.table import Call
from antiphon.api.mcp.tools import following
from antiphon.api.named_chats import chats_of
from antiphon.errors import Invalid, NotFound, one_line
from antiphon.ports import Listed
from antiphon.wire.codec import encode
from antiphon.wire.gotime import format_time_us
from antiphon.wire.jsonrpc import INVALID_PARAMS, RpcRefused
from antiphon.wire.mcp_server.errors import bad_params
from antiphon.wire.mcp_server.messages import chat_resources
from antiphon.wire.mcp_server.transcript import TRANSCRIPT_BYTES_MAX, transcript
from antiphon.wire.mcp_server.uris import ChatUri, FileUri, Form, json_uri, parse_uri, transcript_uri
from antiphon.wire.stream import message_json, open_calls_json, queued_message_json

PAGE = 50
MESSAGES_MAX = 1_000
"""Maximum number of messages in a resource."""
FILE_BYTES_MAX = 4 * 1024 * 1024
"""Maximum size of a file that is read as a resource, in bytes: it is in memory as a whole."""
NAME_MAX = 200
CURSOR_MAX = 256

Json = dict[str, Any]


async def list_resources(call: Call, params: Json) -> Json:
    """A page of the owner's chats, latest change first. Raises `RpcRefused` for a cursor of something else."""
    cursor = params.get("cursor")
    if cursor is not None and (not isinstance(cursor, str) or len(cursor) > CURSOR_MAX):
        raise bad_params("cursor: a nextCursor of this list")
    try:
        after = read_next(cursor) if cursor else None
    except Invalid as error:
        raise bad_params("cursor: a nextCursor of this list") from error
    listed = await chats_of(call).list(limit=PAGE + 1, after=after)
    return chat_resources([_resource(item) for item in listed[:PAGE]], following(listed, PAGE) or None)


def _resource(item: Listed) -> Json:
    title = one_line(item.chat.title, NAME_MAX)
    return {
        "uri": transcript_uri(item.chat_id),
        "name": title or item.chat_id,
        "title": title or item.chat_id,
        "description": f"Chat, status: {item.chat.status}",
        "mimeType": Form.TRANSCRIPT,
        "annotations": {"lastModified": format_time_us(item.chat.updated_at)},
    }


async def read_resource(call: Call, params: Json) -> Json:
    """The content of an address. Raises `NotFound` for one that the owner does not have."""
    uri = params.get("uri")
    if not isinstance(uri, str):
        raise bad_params("uri: a string")
    parsed = parse_uri(uri)
    if parsed is None:
        raise NotFound("resource")
    try:
        content = await (_of_file(call, parsed) if isinstance(parsed, FileUri) else _of_chat(call, parsed))
    except NotFound:
        raise NotFound("resource") from None
    return {"contents": [{"uri": uri, **content}]}


async def _of_file(call: Call, uri: FileUri) -> Json:
    files = call.instance.files
    file = await files.get(call.owner_id, uri.file_id)
    if file.size > FILE_BYTES_MAX:
        raise RpcRefused(INVALID_PARAMS, f"The file has {file.size:,} bytes; read it with GET /api/v1/files/{{id}}.")
    data = b"".join([piece async for piece in await files.open(file, 0, file.size)])
    return {"mimeType": file.media_type, "blob": base64.b64encode(data).decode()}


async def _of_chat(call: Call, uri: ChatUri) -> Json:
    read = _as_json if uri.form is Form.JSON else _as_transcript
    return {"mimeType": uri.form, "text": await read(call, uri.chat_id)}


async def _as_transcript(call: Call, chat_id: str) -> str:
    chats = chats_of(call)
    chat = await chats.get(chat_id)
    page = await chats.page(chat_id, limit=MESSAGES_MAX)
    return transcript(chat_id, chat, page.messages, has_more=page.has_more, open_calls=page.open_calls)


async def _as_json(call: Call, chat_id: str) -> str:
    """As `GET /chats/{id}/messages`: the newest messages that fit, oldest first."""
    page = await chats_of(call).page(chat_id, limit=MESSAGES_MAX)
    newest = (message_json(chat_id, entry) for entry in reversed(page.messages))
    messages = fitting(newest, TRANSCRIPT_BYTES_MAX)
    queued = fitting((queued_message_json(chat_id, *item) for item in page.queued), TRANSCRIPT_BYTES_MAX)
    shown = {
        "uri": json_uri(chat_id),
        "messages": messages[::-1],
        "has_more": page.has_more or len(messages) < len(page.messages),
        "queued_messages": queued,
        "queue_length": len(page.queued),
        "open_calls": open_calls_json(page.open_calls),
    }
    return encode(shown).decode()
