"""The ids that clients of other protocols give their messages, as they are stored."""

from __future__ import annotations

import uuid

from antiphon.core.draft import replace_surrogates

MESSAGE_NAMES = uuid.UUID("3d1f7c52-9a64-5e0b-8c1d-6a7e21f0b9d4")
"""The namespace of messages whose names are not stored as they are."""
CLIENT_ID_MAX = 128
"""Maximum length of a client's id that is stored as it is, in characters."""


def stored_client_id(text: str, protocol: str) -> str:
    """A client's id of a message as it is stored: itself, or a UUIDv5 of one that is long or not plain ASCII."""
    if 1 <= len(text) <= CLIENT_ID_MAX and text.isascii() and text.isprintable():
        return text
    return f"{protocol}-{uuid.uuid5(MESSAGE_NAMES, replace_surrogates(text))}"
