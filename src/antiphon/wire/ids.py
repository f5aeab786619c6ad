"""Ids on the wire: a UUID is case-insensitive; a client's own name of a chat becomes a UUID. Ids of other protocols
have a chat's UUID without dashes."""

from __future__ import annotations

import re
import uuid

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


CHAT_NAMES = uuid.UUID("6f0c8b1e-41d7-5b53-9d0a-5d2f0c0a7a11")
"""The namespace of chats that are named by a client's own text."""


def is_uuid(text: str) -> bool:
    return len(text) == 36 and _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """A UUID in lower case; any other id unchanged."""
    return text.lower() if is_uuid(text) else text


def named_chat_id(owner_id: str, protocol: str, name: str) -> str:
    """The chat that an owner's client calls `name`, which may be any text: always the same for the same three."""
    return str(uuid.uuid5(CHAT_NAMES, "\0".join((owner_id, protocol, name.encode("utf-8", "replace").decode()))))


def chat_hex(chat_id: str) -> str:
    """A chat's UUID without dashes."""
    return chat_id.replace("-", "")


def chat_of_hex(text: str) -> str:
    """The chat with this UUID. Raises ValueError for a text that is none."""
    return str(uuid.UUID(text))
