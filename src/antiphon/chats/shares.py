"""Links by which anyone who has one reads a chat: made by its owner, revocable, and good for nothing else."""

from __future__ import annotations

import secrets
import uuid
from abc import abstractmethod

from antiphon.chats.tokens import hash_secret
from antiphon.core.model import Chat
from antiphon.core.values import Value
from antiphon.errors import NotFound, TooMany, Unauthenticated
from antiphon.ports import Share, ShareStore, Store, Token

SHARES_MAX = 20
"""Maximum number of links to one chat."""
READ_MESSAGES, READ_BYTES = 200, 256 * 1024
"""How many messages, and about how many bytes of them, are searched for a file at a time."""
PREFIX = "share_"
"""The beginning of a link's secret, so that it is not taken for a token."""


class NewShare(Value):
    """A link that was just made; `secret` is shown only now."""

    share: Share
    secret: str


class SharedChats:
    """The links to the chats of one owner. Every method raises `NotFound` for a chat that is not the owner's."""

    owner_id: str
    _store: Store

    @abstractmethod
    async def get(self, chat_id: str) -> Chat: ...

    async def create_share(self, chat_id: str) -> NewShare:
        """Make a link by which anyone reads the chat. Raises `TooMany`."""
        await self.get(chat_id)
        if len(await self._store.list_shares(chat_id)) >= SHARES_MAX:
            raise TooMany("links to this chat", SHARES_MAX)
        secret = PREFIX + secrets.token_urlsafe(32)
        share = Share(share_id=str(uuid.uuid4()), chat_id=chat_id, owner_id=self.owner_id, created_at=0)
        return NewShare(share=await self._store.add_share(share, hash_secret(secret)), secret=secret)

    async def list_shares(self, chat_id: str) -> tuple[Share, ...]:
        """The links to a chat, the oldest first."""
        await self.get(chat_id)
        return await self._store.list_shares(chat_id)

    async def delete_share(self, chat_id: str, share_id: str) -> None:
        """Revoke a link. Raises `NotFound` if there is no such link."""
        await self.get(chat_id)
        if not await self._store.delete_share(chat_id, share_id):
            raise NotFound("link")


async def authenticate_share(store: ShareStore, secret: str) -> Token:
    """The right to read one chat (`Token.chat_id`). It is checked in the store each time: a link is revoked at once.
    Raises `Unauthenticated`."""
    share = await store.find_share(hash_secret(secret)) if secret.startswith(PREFIX) else None
    if share is None:
        raise Unauthenticated("this link is not valid, or not any more")
    return Token(
        token_id=share.share_id,
        owner_id=share.owner_id,
        owner_name="",
        is_admin=False,
        created_at=share.created_at,
        chat_id=share.chat_id,
    )


async def shows_file(store: Store, chat_id: str, file_id: str) -> bool:
    """Whether a visible message names a file. The chat also uses the files of queued messages, and of those that an
    edit has hidden."""
    if file_id not in await store.files_of_chat(chat_id):
        return False
    name, before, has_more = file_id.encode(), None, True
    while has_more:
        page, has_more = await store.read_messages(
            chat_id, before_id=before, limit=READ_MESSAGES, bytes_max=READ_BYTES
        )
        if any(name in (entry.content or b"") for entry in page):
            return True
        before = page[0].seq if page else None
        has_more = has_more and bool(page)
    return False
