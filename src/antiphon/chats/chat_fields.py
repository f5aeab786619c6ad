"""The fields of a chat that clients set: checked, cleaned of control characters, and made where they are missing."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import Part, text_of
from antiphon.errors import Invalid, TooLarge

PYTHON, HTTP, ZMQ, CHAT = "python", "http", "zmq", "chat"
"""How a message was sent: by the embedding program, over HTTP or ZeroMQ, or by the parent of a child chat."""
TITLE_MAX = 256
"""Maximum length of a title, in characters."""
TITLE_SOURCE_MAX = 10_000
"""Maximum number of characters of a message that are searched for a title."""
MADE_TITLE_MAX = 60
"""Maximum length of a title that is made from a message, in characters."""
LABELS_MAX = 64
"""Maximum number of labels of a chat."""
LABEL_MAX = 256
"""Maximum length of a label's name and of its value, in characters."""
SYSTEM_MAX = 256 * 1024
"""Maximum length of a system prompt, in characters."""
MODEL_MAX = 256
"""Maximum length of a model's name, in characters."""
MCP_SERVERS_MAX = 32
"""Maximum number of MCP servers of a chat."""


def make_title(content: str | Sequence[Part]) -> str:
    """A title from the first words of a message, until a person or a model sets a better one."""
    text = content if isinstance(content, str) else text_of(tuple(content))
    text = text[:TITLE_SOURCE_MAX]
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    short = line if len(line) <= MADE_TITLE_MAX else line[:MADE_TITLE_MAX].rsplit(" ", 1)[0] + "…"
    return clean_title(short)


def check_chat_id(chat_id: str | None) -> None:
    """Raises `Invalid` for an id that is no UUID in lower case."""
    try:
        is_valid = chat_id is None or str(uuid.UUID(chat_id)) == chat_id
    except ValueError:
        is_valid = False
    if not is_valid:
        raise Invalid("chat_id", "a UUID in lower case")


def check_client_id(client_id: str) -> None:
    """Raises `Invalid` for a client_message_id that is not allowed."""
    if not 1 <= len(client_id) <= 128 or not (client_id.isascii() and client_id.isprintable()):
        raise Invalid("client_message_id", "1 to 128 printable ASCII characters")


def clean_name(field: str, text: str, length_max: int) -> str:
    """The text without NUL, line breaks and other control characters. Raises `TooLarge`, with the name of the field,
    beyond `length_max` characters."""
    if len(text) > length_max:
        raise TooLarge(field, length_max)
    if text.isprintable():
        return text
    return "".join(
        " " if char in "\r\n\t" else "\ufffd" if ord(char) < 32 or 0x7F <= ord(char) < 0xA0 else char
        for char in replace_surrogates(text)
    )


def clean_title(title: str) -> str:
    return clean_name("title", title, TITLE_MAX)


def clean_model(model: str) -> str:
    return clean_name("model", model, MODEL_MAX)


def clean_system(system: str) -> str:
    if len(system) > SYSTEM_MAX:
        raise TooLarge("system", SYSTEM_MAX)
    return replace_surrogates(system)


def clean_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > LABELS_MAX:
        raise TooLarge("number of labels", LABELS_MAX)
    return {clean_name("labels", k, LABEL_MAX): clean_name("labels", v, LABEL_MAX) for k, v in labels.items()}


def hash_of(*pieces: Any) -> bytes:
    """The hash of a request's body, by which a repeat is recognized."""
    digest = hashlib.sha256()
    for piece in pieces:
        data = piece if isinstance(piece, bytes) else str(piece).encode("utf-8", "replace")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.digest()


def clean_mcp_server_ids(ids: Sequence[str] | None) -> tuple[str, ...] | None:
    """The ids of MCP servers in lower case, each once; None stays None: all configured servers."""
    if ids is None:
        return None
    found = tuple(dict.fromkeys(server_id.lower() for server_id in ids))
    if len(found) > MCP_SERVERS_MAX:
        raise TooLarge("number of MCP servers", MCP_SERVERS_MAX)
    return found
