"""The addresses of resources: a chat as a transcript or as JSON, and a file."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from antiphon.wire.ids import canonical_id, is_uuid

SCHEME = "antiphon://"
URI_MAX = 256
"""Maximum length of an address, in characters."""


class Form(StrEnum):
    """How a chat is shown, by the media type."""

    TRANSCRIPT = "text/markdown"
    JSON = "application/json"


class ChatUri(NamedTuple):
    chat_id: str
    form: Form


class FileUri(NamedTuple):
    file_id: str


def transcript_uri(chat_id: str) -> str:
    return f"{SCHEME}chats/{chat_id}"


def json_uri(chat_id: str) -> str:
    return f"{SCHEME}chats/{chat_id}/messages"


def parse_uri(uri: str) -> ChatUri | FileUri | None:
    """None for an address that no resource of this server can have."""
    if len(uri) > URI_MAX:
        return None
    if uri.startswith(f"{SCHEME}files/") and (file_id := uri.removeprefix(f"{SCHEME}files/")):
        return FileUri(canonical_id(file_id))
    if not uri.startswith(f"{SCHEME}chats/"):
        return None
    chat_id, slash, rest = uri.removeprefix(f"{SCHEME}chats/").partition("/")
    if not is_uuid(chat_id) or rest not in ("", "messages") or (slash and not rest):
        return None
    return ChatUri(canonical_id(chat_id), Form.JSON if rest else Form.TRANSCRIPT)


TEMPLATES = (
    {
        "uriTemplate": f"{SCHEME}chats/{{chat_id}}",
        "name": "chat",
        "title": "Chat as a transcript",
        "description": "The newest messages of a chat as Markdown, oldest first.",
        "mimeType": Form.TRANSCRIPT,
    },
    {
        "uriTemplate": f"{SCHEME}chats/{{chat_id}}/messages",
        "name": "chat_messages",
        "title": "Chat as JSON",
        "description": "The newest messages of a chat, its queue and its open calls, as in GET /chats/{id}/messages.",
        "mimeType": Form.JSON,
    },
    {
        "uriTemplate": f"{SCHEME}files/{{file_id}}",
        "name": "file",
        "title": "File",
        "description": "The bytes of a file, by the file_id in an attachment or a message.",
    },
)
"""The templates of the addresses."""
