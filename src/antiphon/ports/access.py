"""What a store promises about access: owners, their tokens, and the page's sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value


class Token(Value):
    """A bearer token, without its secret. `token_id` is public; `is_admin` is its owner's."""

    token_id: str
    owner_id: str
    owner_name: str
    is_admin: bool
    created_at: int
    revoked_at: int = 0


class Session(Value):
    """A session of the page, without its secret: what a browser got for `token`. Times are the store's."""

    session_id: str
    token: Token
    created_at: int
    used_at: int
    revoked_at: int = 0


class AccessStore(Protocol):
    """Who may ask. Secrets are stored as hashes."""

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        """The owner of that name, made if need be: their id."""
        ...

    async def owner_count(self) -> int: ...

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        """Raises `NotFound` where there is no such owner."""
        ...

    async def find_token(self, secret_hash: bytes) -> Token | None: ...

    async def list_tokens(self) -> tuple[Token, ...]: ...

    async def revoke_token(self, token_id: str) -> bool:
        """Whether there was such a token that is not revoked yet."""
        ...

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of these tokens and sessions that are revoked; with a token, its sessions are."""
        ...

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        """Raises `NotFound` where there is no such token."""
        ...

    async def find_session(self, secret_hash: bytes) -> Session | None:
        """Also one that is revoked, or whose token is."""
        ...

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        """The sessions of a token that are not revoked, the longest unused first."""
        ...

    async def touch_session(self, session_id: str) -> None:
        """It was used now."""
        ...

    async def revoke_session(self, session_id: str) -> bool:
        """Whether there was such a session that is not revoked yet."""
        ...

    async def delete_sessions(self, used_before: int) -> None:
        """Remove those that were last used before that time."""
        ...
