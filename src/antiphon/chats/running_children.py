"""The child chats that running chats may wait for: lists of an owner's chats are without child chats."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable

from antiphon.core.model import Status
from antiphon.ports import ChatStore, Listed

PARENTS_MAX = 1_000
"""Maximum number of running chats whose children are read. Children beyond it are left out."""
CHILDREN_MAX = 64
"""Maximum number of children read of one chat, the newest ones."""


async def iter_running_children(store: ChatStore, owner_id: str, listed: Iterable[Listed]) -> AsyncIterator[Listed]:
    """The child chats, at every depth, of those of the listed chats that run with an open call.

    Raises:
        Unavailable: The store does not work now.
    """
    parents = deque(item.chat_id for item in listed if _may_wait(item))
    for _ in range(PARENTS_MAX):
        if not parents:
            return
        children = await store.list_chats(
            owner_id,
            parent=parents.popleft(),
            archived=None,
            label=None,
            title="",
            limit=CHILDREN_MAX,
            after=None,
        )
        for child in children:
            yield child
            if _may_wait(child):
                parents.append(child.chat_id)


def _may_wait(item: Listed) -> bool:
    return item.chat.status is Status.RUNNING and bool(item.chat.calls)
