"""The export of a chat: all of its messages as one file, read and sent page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec
from starlette.responses import Response

from antiphon.api.embedded import embedded_chats
from antiphon.api.http.file_answer import FileAnswer
from antiphon.api.http.file_names import content_disposition
from antiphon.api.http.files import SAFE_HEADERS
from antiphon.api.http.shapes import chats as s
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.chats.owned import OwnedChats
from antiphon.core.model import Chat
from antiphon.errors import Invalid
from antiphon.wire.markdown_export import chat_markdown, message_markdown
from antiphon.wire.stream import chat_json, message_json

PAGE = 200
"""Number of messages that are read at a time."""
NAME_CHARS = 80
"""Maximum length of the title in the name of the file."""
FORMATS = {"json": ("application/json", "json"), "markdown": ("text/markdown; charset=utf-8", "md")}


async def export_chat(call: Call) -> Response:
    query: s.ExportQuery = call.query
    if query.format not in FORMATS:
        raise Invalid("format", "`json` or `markdown`")
    chats = embedded_chats(call.instance, call.owner_id, via=call.via)
    chat = await chats.get(call.chat_id)
    media_type, suffix = FORMATS[query.format]
    title = "".join(char for char in chat.title if char.isprintable() and char not in "/\\")[:NAME_CHARS].strip(" .")
    headers = SAFE_HEADERS | {
        "accept-ranges": "none",
        "content-type": media_type,
        "content-disposition": content_disposition("", f"{title or 'chat'}.{suffix}"),
    }
    pieces = _json(call.chat_id, chat, chats) if query.format == "json" else _markdown(call.chat_id, chat, chats)
    return FileAnswer(200, headers, pieces, size=None, idle_s=call.limits.download_idle_s)


async def _json(chat_id: str, chat: Chat, chats: OwnedChats) -> AsyncGenerator[bytes, None]:
    yield b'{"chat":' + msgspec.json.encode(chat_json(chat_id, chat)) + b',"messages":['
    separator = b"\n"
    async for entry in chats.iter_messages(chat_id, page=PAGE):
        yield separator + msgspec.json.encode(message_json(chat_id, entry))
        separator = b",\n"
    yield b"\n]}\n"


async def _markdown(chat_id: str, chat: Chat, chats: OwnedChats) -> AsyncGenerator[bytes, None]:
    yield chat_markdown(chat).encode()
    async for entry in chats.iter_messages(chat_id, page=PAGE):
        yield message_markdown(entry).encode()


ROUTES: tuple[Operation, ...] = (
    route("GET", "/chats/{chat_id}/export", export_chat, Policy.OWNER, "A chat as a file: JSON or Markdown.",
          (200, None), query=s.ExportQuery, is_download=True),
)  # fmt: skip
