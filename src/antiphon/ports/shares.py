"""Links by which anyone who has one reads a chat."""

from __future__ import annotations

from typing import Protocol

from antiphon.core.values import Value


class Share(Value):
    """A link without its secret. `share_id` is public. `created_at` is in microseconds, store time."""

    share_id: str
    chat_id: str
    owner_id: str
    created_at: int


class ShareStore(Protocol):
    """The links to chats; their secrets are stored as hashes. A link is deleted with its chat. Every method raises
    `Unavailable` if the store cannot be read or written."""

    async def add_share(self, share: Share, secret_hash: bytes) -> Share:
        """Store a new link, with the time of the store. Returns it as it is stored."""
        ...

    async def find_share(self, secret_hash: bytes) -> Share | None:
        """The link with this hash; None if there is none (any more)."""
        ...

    async def list_shares(self, chat_id: str) -> tuple[Share, ...]:
        """The links to a chat, the oldest first."""
        ...

    async def delete_share(self, chat_id: str, share_id: str) -> bool:
        """Delete a link to a chat; returns whether there was one."""
        ...
