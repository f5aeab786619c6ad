"""Pages of items, newest or oldest first, of the messages of a chat."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.api.openai import shapes as s
from antiphon.core.facts import Entry
from antiphon.errors import Invalid
from antiphon.wire.ids import chat_hex
from antiphon.wire.openai.messages import message_items

SEQ_MAX = 1 << 53
MESSAGES_MAX = 200
"""Maximum number of messages that one page of items is made from; each has at least one item."""


async def listed_items(call: Call, chat_id: str, *, upto: int | None = None) -> Response:
    """A page of the items of a chat, of the messages up to `upto`."""
    query: s.ListQuery = call.query
    is_ascending = query.order == "asc"
    after = _message_of(query.after, chat_id) if query.after else None
    found, has_more = await _items(call, chat_id, after, upto, is_ascending)
    if query.after:
        ids = [item["id"] for item in found]
        found = found[ids.index(query.after) + 1 :] if query.after in ids else found
    shown = found[: query.limit]
    return JsonAnswer(
        {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(found) > len(shown) or (has_more and bool(shown)),
        }
    )


async def _items(
    call: Call, chat_id: str, after: int | None, upto: int | None, is_ascending: bool
) -> tuple[list[dict[str, Any]], bool]:
    """The items from the message `after` on (inclusive), in order, and whether there may be more messages."""
    chats = chats_of(call)
    if is_ascending:
        page = await chats.page(chat_id, after_id=max((after or 1) - 1, 0), limit=MESSAGES_MAX)
        entries: list[Entry] = list(page.messages)
    else:
        named = await chats.page(chat_id, after_id=after - 1, limit=1) if after else None  # an item may name a draft
        last = named.messages[0].seq if named and named.messages else after
        before = min(last + 1 if last else SEQ_MAX, upto + 1 if upto is not None else SEQ_MAX)
        page = await chats.page(chat_id, before_id=before, limit=MESSAGES_MAX)
        entries = list(reversed(page.messages))
    items: list[dict[str, Any]] = []
    for entry in entries:
        if upto is None or entry.seq <= upto:
            found = message_items(chat_id, entry)
            items += found if is_ascending else reversed(found)
    is_past = upto is not None and is_ascending and any(entry.seq > upto for entry in entries)
    return items, page.has_more and not is_past


def _message_of(item_id: str, chat_id: str) -> int:
    """A message from which the items after that item are found."""
    kind, _, rest = item_id.partition("_")
    numbers = rest.removeprefix(chat_hex(chat_id) + "_").split("_")
    if not kind or not numbers[0].isascii() or not numbers[0].isdigit() or len(numbers[0]) > 15:
        raise Invalid("after", "the id of an item of this list")
    return int(numbers[0])
