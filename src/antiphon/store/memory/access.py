"""Owners, their tokens and the sessions of the web UI in the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.errors import NotFound
from antiphon.ports import Session, Token
from antiphon.store.memory.sessions import MemorySessions
from antiphon.store.memory.state import MemoryState


class MemoryAccess(MemoryState):
    """Keeps the promises of `ports.AccessStore`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._owners: dict[str, tuple[str, bool]] = {}
        self._tokens: dict[str, tuple[bytes, Token]] = {}
        self._sessions = MemorySessions(self.clock)

    async def create_owner(self, name: str, *, is_admin: bool = False) -> str:
        await self.check()
        for owner_id, (known, _) in self._owners.items():
            if known == name:
                return owner_id
        owner_id = self._ids.uuid()
        self._owners[owner_id] = (name, is_admin)
        return owner_id

    async def find_owner(self, name: str) -> str | None:
        return next((owner_id for owner_id, (known, _) in self._owners.items() if known == name), None)

    async def owner_count(self) -> int:
        return len(self._owners)

    async def add_token(self, owner_id: str, token_id: str, secret_hash: bytes) -> None:
        await self.check()
        if owner_id not in self._owners:
            raise NotFound("owner")
        name, is_admin = self._owners[owner_id]
        now = self.clock.now_us()
        token = Token(token_id=token_id, owner_id=owner_id, owner_name=name, is_admin=is_admin, created_at=now)
        self._tokens[token_id] = (secret_hash, token)

    async def find_token(self, secret_hash: bytes) -> Token | None:
        return next((token for known, token in self._tokens.values() if known == secret_hash), None)

    async def list_tokens(self) -> tuple[Token, ...]:
        return tuple(sorted((token for _, token in self._tokens.values()), key=lambda t: (t.created_at, t.token_id)))

    async def revoke_token(self, token_id: str) -> bool:
        await self.check()
        secret_hash, token = self._tokens.get(token_id, (b"", None))
        if token is None or token.revoked_at:
            return False
        self._tokens[token_id] = (secret_hash, replace(token, revoked_at=self.clock.now_us()))
        return True

    async def revoked_of(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(name for name in ids if self._is_revoked(name))

    def _is_revoked(self, name: str) -> bool:
        session = self._sessions.get(name)
        token_id = session.token.token_id if session else name
        is_token_revoked = token_id in self._tokens and bool(self._tokens[token_id][1].revoked_at)
        return is_token_revoked or (session is not None and bool(session.revoked_at))

    async def add_session(self, session_id: str, token_id: str, secret_hash: bytes) -> None:
        await self.check()
        if token_id not in self._tokens:
            raise NotFound("token")
        self._sessions.add(session_id, self._tokens[token_id][1], secret_hash)

    async def find_session(self, secret_hash: bytes) -> Session | None:
        session = self._sessions.find(secret_hash)
        return session and replace(session, token=self._tokens[session.token.token_id][1])

    async def sessions_of(self, token_id: str) -> tuple[str, ...]:
        return self._sessions.of_token(token_id)

    async def touch_session(self, session_id: str) -> None:
        await self.check()
        self._sessions.touch(session_id)

    async def revoke_session(self, session_id: str) -> bool:
        await self.check()
        return self._sessions.revoke(session_id)

    async def delete_sessions(self, used_before: int) -> None:
        await self.check()
        self._sessions.delete(used_before)
