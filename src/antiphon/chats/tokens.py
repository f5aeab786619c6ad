"""Bearer tokens, and sessions of the web UI: created once, shown once, stored as hashes, revocable at any time."""

from __future__ import annotations

import contextlib
import hashlib
import time

from msgspec.structs import replace

from antiphon.chats.hints import REVOKED_CHANNEL, text_hint
from antiphon.chats.revoked import RevokedIds
from antiphon.core.values import Value
from antiphon.errors import NotFound, Unauthenticated, Unavailable
from antiphon.ports import Bus, Ids, Store, Token

CACHE_S = 2.0
"""How long the result of a check is cached, in seconds."""
CACHE_MAX = 10_000
"""Maximum number of cached tokens, and of cached sessions. Beyond it the cache is cleared."""
SESSIONS_MAX = 100
"""Maximum sessions of one token; with one more, the least recently used is revoked."""
SESSION_TOUCH_US = 3600 * 1_000_000
"""Minimum time between two updates of the last use of a session."""


class NewToken(Value):
    """A token that was just created; `secret` is shown only now."""

    token: Token
    secret: str


class NewSession(Value):
    """A session that was just opened; `secret` is shown only now. `token` has the token's owner, and the session's id
    as its `token_id`."""

    token: Token
    secret: str


class Tokens:
    """Creates, checks and revokes tokens and sessions. A check is cached for CACHE_S; a revocation takes effect at
    once in this process, in other instances when its hint arrives."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        ids: Ids,
        revoked: RevokedIds | None = None,
        session_idle_s: float = 30 * 86_400.0,
    ) -> None:
        """
        Args:
            store: Where tokens and sessions are stored.
            bus: Where hints of revocations are published.
            ids: Makes ids and secrets.
            revoked: Where revoked ids are added, so that their streams are closed.
            session_idle_s: How long a session may stay unused before it expires, in seconds.
        """
        self._store = store
        self._session_idle_us = int(session_idle_s * 1_000_000)
        self._bus = bus
        self._ids = ids
        self._revoked = RevokedIds() if revoked is None else revoked
        self._checked: dict[str, tuple[float, Token]] = {}
        self._checked_sessions: dict[str, tuple[float, Token]] = {}
        self._unsubscribe = bus.subscribe(REVOKED_CHANNEL, self._on_revoked)

    def close(self) -> None:
        self._unsubscribe()

    def _on_revoked(self, message: bytes | None) -> None:
        """Drop the cached checks of a token or session that another instance revoked."""
        token_id = text_hint(message or b"")
        if token_id:
            self._checked = _without(self._checked, token_id)
            self._checked_sessions = _without(self._checked_sessions, token_id)
        else:
            self._checked.clear()
            self._checked_sessions.clear()

    def _evict(self, token_id: str) -> None:
        self._revoked.update((token_id,))
        self._checked = _without(self._checked, token_id)
        self._checked_sessions = _without(self._checked_sessions, token_id)

    def _publish_revoked(self, token_id: str) -> None:
        self._evict(token_id)
        self._bus.publish_nowait(REVOKED_CHANNEL, token_id.encode())

    async def authenticate(self, secret: str) -> Token:
        """The token of that secret. Raises `Unauthenticated`."""
        if not secret:
            raise Unauthenticated
        cached = self._checked.get(secret)
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        token = await self._store.find_token(hash_secret(secret))
        if token is None or token.revoked_at or token.token_id in self._revoked:
            self._checked.pop(secret, None)
            raise Unauthenticated("the token is not known here" if token is None else "the token was revoked")
        _cache(self._checked, secret, token)
        return token

    # --- sessions

    async def open_session(self, secret: str) -> NewSession:
        """Open a session for the token's owner. Raises `Unauthenticated`."""
        token = await self.authenticate(secret)
        await self._store.delete_sessions(self._store.clock.now_us() - 2 * self._session_idle_us)
        for session_id in (await self._store.sessions_of(token.token_id))[: -(SESSIONS_MAX - 1)]:
            await self._revoke_session(session_id)
        session_id, session_secret = self._ids.uuid(), self._ids.secret()
        await self._store.add_session(session_id, token.token_id, hash_secret(session_secret))
        return NewSession(token=replace(token, token_id=session_id), secret=session_secret)

    async def authenticate_session(self, secret: str) -> Token:
        """Authenticate a session: a token whose `token_id` is the session's id. Raises `Unauthenticated`."""
        cached = self._checked_sessions.get(secret)
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        session = await self._store.find_session(hash_secret(secret))
        if session is None or session.revoked_at or session.token.revoked_at or session.session_id in self._revoked:
            self._checked_sessions.pop(secret, None)
            raise Unauthenticated("this session has ended, sign in again")
        unused_us = self._store.clock.now_us() - session.used_at
        if unused_us > self._session_idle_us:
            await self._revoke_session(session.session_id)
            raise Unauthenticated("this session was unused for too long, sign in again")
        if unused_us > min(SESSION_TOUCH_US, self._session_idle_us // 2):
            with contextlib.suppress(Unavailable):  # reads continue while the store cannot be written
                await self._store.touch_session(session.session_id)
        token = replace(session.token, token_id=session.session_id)
        _cache(self._checked_sessions, secret, token)
        return token

    async def close_session(self, secret: str) -> None:
        """Revoke a session and close its streams on every instance; a second call does nothing."""
        session = await self._store.find_session(hash_secret(secret))
        if session is not None:
            await self._revoke_session(session.session_id)

    async def _revoke_session(self, session_id: str) -> None:
        await self._store.revoke_session(session_id)
        self._publish_revoked(session_id)

    # --- tokens

    async def create(self, owner_name: str, *, is_admin: bool = False) -> NewToken:
        """Create a token for the owner of that name, created if there is none."""
        owner_id = await self._store.create_owner(owner_name, is_admin=is_admin)
        secret = self._ids.secret()
        await self.add(owner_id, secret)
        token = await self._store.find_token(hash_secret(secret))
        assert token is not None
        return NewToken(token=token, secret=secret)

    async def add(self, owner_id: str, secret: str) -> None:
        """Store a token with a given secret."""
        await self._store.add_token(owner_id, self._ids.uuid(), hash_secret(secret))

    async def ensure(self, owner_id: str, secret: str) -> bool:
        """Store a token with a given secret (that of the data directory) unless it is stored. False: it was revoked,
        and stays so."""
        token = await self._store.find_token(hash_secret(secret))
        if token is None:
            await self.add(owner_id, secret)
        return token is None or not token.revoked_at

    async def list(self) -> tuple[Token, ...]:
        """All tokens, without their secrets."""
        return await self._store.list_tokens()

    async def revoke(self, token_id: str) -> None:
        """Revoke a token and all of its sessions; a second call does nothing. Raises `NotFound` if there is no such
        token."""
        if not any(token.token_id == token_id for token in await self._store.list_tokens()):
            raise NotFound("token")
        await self._store.revoke_token(token_id)
        self._publish_revoked(token_id)
        for session_id in await self._store.sessions_of(token_id):
            await self._revoke_session(session_id)


def _without(checked: dict[str, tuple[float, Token]], token_id: str) -> dict[str, tuple[float, Token]]:
    return {secret: entry for secret, entry in checked.items() if entry[1].token_id != token_id}


def _cache(checked: dict[str, tuple[float, Token]], secret: str, token: Token) -> None:
    if len(checked) >= CACHE_MAX:
        checked.clear()
    checked[secret] = (time.monotonic() + CACHE_S, token)


def hash_secret(secret: str) -> bytes:
    """The hash that is stored. A secret is 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
