"""Access to the server, as a store has it: owners, their tokens, and the sessions of the web UI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value


class Token(Value):
    """A bearer token without its secret. `token_id` is public; `is_admin` is a property of its owner. Times are in
    microseconds, store time; `revoked_at` is 0 unless it was revoked. `chat_id` is set for a link to a chat: the only
    chat that it reads."""

    token_id: str
    owner_id: str
    owner_name: str
    is_admin: bool
    created_at: int
    revoked_at: int = 0
    chat_id: str = ""


class Session(Value):
    """A session of the web UI without its secret, which a browser opened with `token`. Times are in microseconds,
    store time; `revoked_at` is 0 unless it was revoked."""

    session_id: str
    token: Token
    created_at: int
    used_at: int
    revoked_at: int = 0


class AccessStore(Protocol):
    """Owners, tokens and sessions; secrets are stored as hashes. Every method raises `Unavailable` if the store
    cannot be read or written."""

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        """Create an owner unless there is one of that name.

        Args:
            name: The name of the owner, which is unique.
            is_admin: Whether a new owner is an admin; an existing one is not changed.

        Returns:
            The owner's id.
        """
        ...

    async def find_owner(self, name: str) -> str | None:
        """The id of the owner of that name; None if there is none."""
        ...

    async def owner_count(self) -> int:
        """The number of owners."""
        ...

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        """Store a new token.

        Args:
            owner_id: The owner that the token authenticates.
            token_id: The public id of the token.
            secret_hash: The hash of its secret.

        Raises:
            NotFound: There is no such owner.
        """
        ...

    async def find_token(self, secret_hash: bytes) -> Token | None:
        """The token with this hash, also if it is revoked; None if there is none."""
        ...

    async def list_tokens(self) -> tuple[Token, ...]:
        """All tokens, the oldest first, revoked ones included."""
        ...

    async def revoke_token(self, token_id: str) -> bool:
        """Revoke a token; returns whether there is such a token that was not revoked."""
        ...

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        """The ids among these tokens and sessions that are revoked. A session is revoked with its token."""
        ...

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        """Store a new session.

        Args:
            session_id: The public id of the session.
            token_id: The token with which it was opened.
            secret_hash: The hash of its secret.

        Raises:
            NotFound: There is no such token.
        """
        ...

    async def find_session(self, secret_hash: bytes) -> Session | None:
        """The session with this hash, also if it or its token is revoked; None if there is none."""
        ...

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        """The ids of a token's sessions that are not revoked, the least recently used first."""
        ...

    async def touch_session(self, session_id: str) -> None:
        """Record that a session is used now."""
        ...

    async def revoke_session(self, session_id: str) -> bool:
        """Revoke a session; returns whether there is such a session that was not revoked."""
        ...

    async def delete_sessions(self, used_before: int) -> None:
        """Delete the sessions that were last used before a time, in microseconds, store time."""
        ...
