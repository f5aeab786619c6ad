"""Deleted chats as they were: the store no longer has their content, and reports of a deletion include it."""

from __future__ import annotations

from collections import OrderedDict

from msgspec.structs import replace

from antiphon.core.model import Chat
from antiphon.wire import notify

FORMER_MAX = 500
"""Maximum number of deleted chats remembered."""
TITLE_MAX = 256
LABELS_MAX = 64
LABEL_MAX = 256
"""Of a message that claims more, the rest is left out."""

OLD, CLAIMED, EXACT = range(3)


class FormerChats:
    """Remembers the chats that were deleted last, in memory only."""

    def __init__(self) -> None:
        self._chats: OrderedDict[str, tuple[Chat, int]] = OrderedDict()
        """Each with how good its source is: EXACT, CLAIMED or OLD."""

    def note(self, chat_id: str, before: Chat, deleted: Chat) -> None:
        """This process saw the chat as `before` the last time, and it is `deleted` now."""
        self._keep(chat_id, before, EXACT if before.seq == deleted.seq - 1 else OLD)

    def note_claimed(self, chat_id: str, claimed: notify.Chat) -> None:
        """A message says that a chat of this form was deleted; used only if the store says so, too."""
        self._keep(chat_id, _chat_of(claimed), CLAIMED)

    def shown(self, chat_id: str, chat: Chat) -> Chat:
        """`chat`, or the chat as it was where it is deleted and known."""
        known = self._chats.get(chat_id) if chat.is_deleted else None
        if known is None:
            return chat
        return replace(known[0], owner_id=chat.owner_id, seq=chat.seq, draft=chat.draft, is_deleted=True)

    def _keep(self, chat_id: str, chat: Chat, source: int) -> None:
        known = self._chats.get(chat_id)
        if known is not None and known[1] > source:
            return
        gone = {"system": "", "tools": None, "calls": (), "steering": (), "queue": (), "turn_id": 0}
        self._chats[chat_id] = replace(chat, **gone), source
        self._chats.move_to_end(chat_id)
        if len(self._chats) > FORMER_MAX:
            self._chats.popitem(last=False)


def _chat_of(claimed: notify.Chat) -> Chat:
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
