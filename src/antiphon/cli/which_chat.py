"""Resolves the argument CHAT: an id, the beginning of an id, or `last`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from antiphon.errors import Invalid, NotFound

if TYPE_CHECKING:
    from antiphon.client import Client
    from antiphon.client.shapes import Chat

LAST = "last"
SHOWN_MAX = 5
"""Maximum number of ids in an error."""
PAGE = 500
"""Chats per request."""
SHORT_ID = 8
"""Length of a shown id, in characters."""

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BEGINNING = re.compile(r"[0-9a-f-]{1,36}")


def resolve_chat(client: Client, text: str) -> Chat:
    """The chat for an argument. Raises `NotFound`, or `Invalid` if several ids begin with it."""
    text = text.lower()
    if text == LAST:
        chats = client.chats(limit=1)["chats"]
        if not chats:
            raise NotFound
        return chats[0]
    if _ID.fullmatch(text):
        return client.chat(text)
    if not _BEGINNING.fullmatch(text):
        raise Invalid("CHAT", "an id, the beginning of an id, or `last`")
    return _only([chat for chat in iter_chats(client) if chat["id"].startswith(text)], text)


def _only(found: list[Chat], text: str) -> Chat:
    if not found:
        raise NotFound
    if len(found) > 1:
        shown = ", ".join(chat["id"] for chat in found[:SHOWN_MAX])
        more = ", …" if len(found) > SHOWN_MAX else ""
        raise Invalid("CHAT", f"{len(found)} ids begin with {text}: {shown}{more}")
    return found[0]


def iter_chats(client: Client) -> Iterator[Chat]:
    """All chats of the owner, archived ones last."""
    for archived in (False, True):
        after = None
        while True:
            page = client.chats(archived=archived, limit=PAGE, after=after)
            yield from page["chats"]
            after = page["next"]
            if after is None:
                break
