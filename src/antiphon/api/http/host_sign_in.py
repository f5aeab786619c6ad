"""The sign-in of the application that an instance is embedded in: a hook returns the owner of each request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from antiphon.chats.owners import Owners
from antiphon.ports import Token

Authenticate = Callable[[Request], Awaitable[str | None]]
"""The sign-in of an application: called with each HTTP request, it returns the name of the owner who sent it (`admin`
is the admin), or None to require a token."""

OWNER_NAME_MAX = 128
"""Maximum length of an owner's name, in characters."""
CACHED_MAX = 10_000
"""Maximum number of cached owner ids."""


class HostSignIn:
    """Runs the hook, and caches the ids of the owners it returned."""

    def __init__(self, authenticate: Authenticate, owners: Owners) -> None:
        self._authenticate = authenticate
        self._owners = owners
        self._ids: OrderedDict[str, str] = OrderedDict()

    async def token_of(self, request: Request) -> Token | None:
        """What the request may do, as if its owner had sent a token of theirs; None if the hook names no owner.
        Raises TypeError or ValueError for an invalid name, which is a fault of the application."""
        name = await self._authenticate(request)
        if name is None:
            return None
        if not isinstance(name, str):
            raise TypeError(f"authenticate must return the owner's name or None, not {type(name).__name__}")
        if not 1 <= len(name) <= OWNER_NAME_MAX or not name.isprintable():
            raise ValueError(f"an owner's name must have 1 to {OWNER_NAME_MAX} printable characters")
        owner_id = await self._owner_id(name)
        is_admin = owner_id == self._owners.admin_id
        return Token(token_id="", owner_id=owner_id, owner_name=name, is_admin=is_admin, created_at=0)

    async def _owner_id(self, name: str) -> str:
        owner_id = self._ids.get(name)
        if owner_id is None:
            owner_id = await self._owners.id_of(name)
            self._ids[name] = owner_id
            if len(self._ids) > CACHED_MAX:
                self._ids.popitem(last=False)
        return owner_id
