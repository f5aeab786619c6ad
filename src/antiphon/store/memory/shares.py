"""Links to chats in the store in memory."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from antiphon.ports import Share
from antiphon.store.memory.state import MemoryState


class MemoryShares(MemoryState):
    """Keeps the promises of `ports.ShareStore`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._shares: dict[str, tuple[bytes, Share]] = {}

    async def add_share(self, share: Share, secret_hash: bytes) -> Share:
        await self.check()
        stored = replace(share, created_at=self.clock.now_us())
        self._shares[share.share_id] = (secret_hash, stored)
        return stored

    async def find_share(self, secret_hash: bytes) -> Share | None:
        return next((share for known, share in self._shares.values() if known == secret_hash), None)

    async def list_shares(self, chat_id: str) -> tuple[Share, ...]:
        found = (share for _, share in self._shares.values() if share.chat_id == chat_id)
        return tuple(sorted(found, key=lambda share: (share.created_at, share.share_id)))

    async def delete_share(self, chat_id: str, share_id: str) -> bool:
        await self.check()
        found = self._shares.get(share_id)
        if found is None or found[1].chat_id != chat_id:
            return False
        del self._shares[share_id]
        return True

    def _delete_shares_of(self, chat_id: str) -> None:
        self._shares = {name: item for name, item in self._shares.items() if item[1].chat_id != chat_id}
