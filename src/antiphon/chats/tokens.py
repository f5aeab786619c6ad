"""Bearer tokens: made once, shown once, kept as hashes; a revoked one ends its streams."""

from __future__ import annotations

import hashlib
import time

from antiphon.chats.hints import text_hint
from antiphon.chats.watch import REVOKED_CHANNEL
from antiphon.core.values import Value
from antiphon.errors import NotFound, Unauthenticated
from antiphon.ports import Bus, Ids, Store, Token

CACHE_S = 2.0
CACHE_MAX = 10_000


class NewToken(Value):
    """A token that was just made; `secret` is shown this once."""

    token: Token
    secret: str


class Tokens:
    """Makes, checks and revokes tokens. A check is remembered for 2 s; a revocation is felt here at once, elsewhere
    when the hint comes."""

    def __init__(self, *, store: Store, bus: Bus, ids: Ids) -> None:
        self._store = store
        self._bus = bus
        self._ids = ids
        self.revoked: set[str] = set()
        self._checked: dict[str, tuple[float, Token]] = {}
        self._unsubscribe = bus.subscribe(REVOKED_CHANNEL, self._on_revoked)

    def close(self) -> None:
        self._unsubscribe()

    def _on_revoked(self, message: bytes | None) -> None:
        """Another instance says that it revoked a token: the store is asked when it is used next."""
        token_id = text_hint(message or b"")
        if token_id:
            self._checked = {s: known for s, known in self._checked.items() if known[1].token_id != token_id}
        else:
            self._checked.clear()

    async def authenticate(self, secret: str) -> Token:
        """Whose token it is. Raises `Unauthenticated`."""
        if not secret:
            raise Unauthenticated
        known = self._checked.get(secret)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        token = await self._store.find_token(hash_secret(secret))
        if token is None or token.revoked_at or token.token_id in self.revoked:
            self._checked.pop(secret, None)
            raise Unauthenticated("the token is not known here" if token is None else "the token was revoked")
        if len(self._checked) >= CACHE_MAX:
            self._checked.clear()
        self._checked[secret] = (time.monotonic() + CACHE_S, token)
        return token

    async def create(self, owner_name: str, *, is_admin: bool = False) -> NewToken:
        """A new token for that owner, who is made if need be."""
        owner_id = await self._store.create_owner(owner_name, is_admin=is_admin)
        secret = self._ids.secret()
        await self.add(owner_id, secret)
        token = await self._store.find_token(hash_secret(secret))
        assert token is not None
        return NewToken(token=token, secret=secret)

    async def add(self, owner_id: str, secret: str) -> None:
        await self._store.add_token(owner_id, self._ids.uuid(), hash_secret(secret))

    async def ensure(self, owner_id: str, secret: str) -> bool:
        """Have this very token (the data directory's own). False: it was revoked, and stays so."""
        token = await self._store.find_token(hash_secret(secret))
        if token is None:
            await self.add(owner_id, secret)
        return token is None or not token.revoked_at

    async def list(self) -> tuple[Token, ...]:
        return await self._store.list_tokens()

    async def revoke(self, token_id: str) -> None:
        """Raises `NotFound` if there is no such token; a second time nothing happens."""
        if not any(token.token_id == token_id for token in await self._store.list_tokens()):
            raise NotFound("token")
        await self._store.revoke_token(token_id)
        self._checked = {s: known for s, known in self._checked.items() if known[1].token_id != token_id}
        self.revoked.add(token_id)
        self._bus.publish_nowait(REVOKED_CHANNEL, token_id.encode())


def hash_secret(secret: str) -> bytes:
    """Tokens are 256 random bits: a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
