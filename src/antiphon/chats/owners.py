"""The owners of chats, and the tokens that are created for them."""

from __future__ import annotations

import contextlib

from antiphon.chats.tokens import NewToken, Tokens
from antiphon.errors import AntiphonError, Forbidden
from antiphon.ports import Store
from antiphon.signal import Signal

ADMIN = "admin"
"""The name of the owner that the first start creates."""


class Owners:
    """Creates owners and counts them. `became_several` is emitted once, when there is more than one owner: each owner
    has limits of its own from then on."""

    def __init__(self, *, store: Store, tokens: Tokens) -> None:
        self.admin_id = ""
        self.became_several: Signal[[]] = Signal("owners_became_several")
        self._store = store
        self._tokens = tokens
        self._are_several = False
        self._closed_reason = ""

    async def start(self) -> None:
        """Create the admin if there is none."""
        self.admin_id = await self._store.create_owner(ADMIN, is_admin=True)
        await self.refresh_count()

    def allow_only_admin(self, reason: str) -> None:
        """Refuse every other owner from now on, with this reason."""
        self._closed_reason = reason

    async def id_of(self, name: str) -> str:
        """The id of the owner of that name, created if there is none. Raises `Forbidden` where only the admin is
        allowed."""
        self._check(name)
        owner_id = await self._store.create_owner(name)
        await self.refresh_count()
        return owner_id

    async def create_token(self, name: str, *, is_admin: bool = False) -> NewToken:
        """Create a bearer token for an owner, created if there is none. Raises `Forbidden` where only the admin is
        allowed."""
        self._check(name)
        new = await self._tokens.create(name, is_admin=is_admin)
        await self.refresh_count()
        return new

    async def refresh(self) -> None:
        """Count the owners that other instances created."""
        if self._store.is_shared:
            with contextlib.suppress(AntiphonError):
                await self.refresh_count()

    def _check(self, name: str) -> None:
        if name != ADMIN and self._closed_reason:
            raise Forbidden(self._closed_reason)

    async def refresh_count(self) -> None:
        """Emit `became_several` if there is more than one owner now."""
        if not self._are_several and await self._store.owner_count() > 1:
            self._are_several = True
            self.became_several.emit()
