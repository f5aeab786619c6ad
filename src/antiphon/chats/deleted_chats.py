"""The last state of deleted chats. The store deletes it, and the event of a deletion shows it."""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum

from msgspec.structs import replace

from antiphon.chats.chat_fields import LABEL_MAX, LABELS_MAX, TITLE_MAX
from antiphon.core.model import Chat
from antiphon.wire import notify

CACHED_MAX = 500
"""Maximum number of deleted chats in the cache."""


class Source(StrEnum):
    """Where a state comes from, the least reliable first; a state does not replace a more reliable one."""

    OLD = "old"
    CLAIMED = "claimed"
    EXACT = "exact"


_RANKS = {source: rank for rank, source in enumerate(Source)}


class DeletedChatCache:
    """The chats that were deleted last, in memory only."""

    def __init__(self) -> None:
        self._chats: OrderedDict[str, tuple[Chat, Source]] = OrderedDict()

    def record(self, chat_id: str, before: Chat, deleted: Chat) -> None:
        """Add a chat that this process last read as `before`, and that is `deleted` now."""
        self._add(chat_id, before, Source.EXACT if before.seq == deleted.seq - 1 else Source.OLD)

    def record_claimed(self, chat_id: str, claimed: notify.Chat) -> None:
        """Add a chat that a message reports as deleted; `get` uses it only if the store agrees."""
        self._add(chat_id, _chat_of(claimed), Source.CLAIMED)

    def get(self, chat_id: str, chat: Chat) -> Chat:
        """The last state of a deleted chat if it is in the cache; otherwise `chat`."""
        cached = self._chats.get(chat_id) if chat.is_deleted else None
        if cached is None:
            return chat
        return replace(cached[0], owner_id=chat.owner_id, seq=chat.seq, draft=chat.draft, is_deleted=True)

    def _add(self, chat_id: str, chat: Chat, source: Source) -> None:
        cached = self._chats.get(chat_id)
        if cached is not None and _RANKS[cached[1]] > _RANKS[source]:
            return
        cleared = {"system": "", "tools": None, "calls": (), "steering": (), "queue": (), "turn_id": 0}
        self._chats[chat_id] = replace(chat, **cleared), source
        self._chats.move_to_end(chat_id)
        if len(self._chats) > CACHED_MAX:
            self._chats.popitem(last=False)


def _chat_of(claimed: notify.Chat) -> Chat:
    """The state in a received message, with what is too large cut off."""
    labels = list((claimed.labels or {}).items())[:LABELS_MAX]
    return Chat(
        owner_id=str(claimed.owner_id),
        title=claimed.title[:TITLE_MAX],
        labels={name[:LABEL_MAX]: value[:LABEL_MAX] for name, value in labels},
        pin_order=claimed.pin_order,
        is_archived=claimed.archived,
        created_at=claimed.created_at.us,
        updated_at=claimed.updated_at.us,
    )
