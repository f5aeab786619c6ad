"""A chat that is written to a store by real commands, as the service does it, but one at a time."""

from __future__ import annotations

import uuid

import msgspec

from antiphon.chats.counting import usage_of_append
from antiphon.core import commands as c
from antiphon.core.chat import advance, fold
from antiphon.core.facts import Entry
from antiphon.core.model import Chat
from antiphon.core.parts import Text
from antiphon.ports import Append, Appended, Drop, Ended, Grant, Receipt, Store

ALL = 1 << 30


def content(text: str) -> bytes:
    """The content of a message with one text part."""
    return msgspec.json.encode([Text(text)])


def receipt(client_id: str, answer: bytes = b"{}", body: bytes = b"body") -> Receipt:
    return Receipt(client_id=client_id, body_hash=body, answer=answer)


class NothingChanges(Exception):
    """The commands change nothing, so there is nothing to append."""


class StoredChat:
    """`chat` is the state after the last committed append. `make` decides, `offer` appends, `do` does both."""

    def __init__(self, store: Store, chat_id: str) -> None:
        self.store = store
        self.chat_id = chat_id
        self.state: Chat | None = None

    @property
    def chat(self) -> Chat:
        assert self.state is not None, "the chat has been created"
        return self.state

    async def load(self) -> None:
        """Read the state from the store."""
        self.state = await self.store.load(self.chat_id)

    def make(self, *commands: c.Command, receipts: tuple[Receipt, ...] = (), append_id: str = "") -> Append:
        """The append of these commands. Raises `Refused` or `NothingChanges`."""
        before = after = self.state
        entries: list[Entry] = []
        for command in commands:
            after, more = advance(after, command, at=self.store.clock.now_us())
            entries.extend(more)
        assert after is not None
        if not entries:
            raise NothingChanges
        *others, last = entries
        return Append(
            chat_id=self.chat_id,
            after_seq=before.seq if before else 0,
            append_id=append_id or str(uuid.uuid4()),
            entries=(*(msgspec.structs.replace(entry, more=True) for entry in others), last),
            contents={entry.seq: entry.content for entry in entries if entry.content is not None},
            chat=after,
            receipts=receipts,
            lease=_lease(before, after, commands),
            usage=usage_of_append(after.owner_id, entries),
        )

    async def offer(self, append: Append) -> Appended:
        result = await self.store.append(append)
        if result is Appended.DONE:
            self.state = append.chat
        return result

    async def do(self, *commands: c.Command, receipts: tuple[Receipt, ...] = ()) -> tuple[Entry, ...]:
        """Commit the commands; the facts. Raises AssertionError if the append is not committed."""
        append = self.make(*commands, receipts=receipts)
        result = await self.offer(append)
        assert result is Appended.DONE, result
        return append.entries

    # --- shortcuts for checks

    async def create(self, *, owner_id: str = "o", said: str = "", title: str = "", **fields: object) -> StoredChat:
        body = content(said) if said else b""
        await self.do(c.CreateChat(owner_id=owner_id, content=body, title=title, **fields))  # type: ignore[arg-type]
        return self

    async def send(self, text: str, **fields: object) -> int:
        """Send a message; the seq of its fact."""
        entries = await self.do(c.SendMessage(content=content(text), **fields))  # type: ignore[arg-type]
        return next(entry.seq for entry in entries if entry.content is not None)

    async def start(self, instance_id: str = "i1") -> int:
        """Start an attempt; its number."""
        await self.do(c.StartAttempt(instance_id=instance_id))
        return self.chat.attempt

    async def answer(self, text: str, *, is_last: bool = True) -> int:
        """Commit an answer of the current attempt; the id of the message."""
        chat = self.chat
        command = c.CommitMessage(
            attempt=chat.attempt, draft=chat.draft, content=content(text), upto=len(text), is_last=is_last
        )
        return (await self.do(command))[0].seq

    async def entries(self) -> tuple[Entry, ...]:
        return await self.store.read_entries(self.chat_id, 0, limit=ALL, bytes_max=ALL)

    async def check_sound(self) -> None:
        """Check that the stored state is the fold of the stored facts. A deleted chat has only its last fact."""
        stored, entries = await self.store.load(self.chat_id), await self.entries()
        assert stored is not None
        entries = tuple(
            entry for entry in entries if entry.seq <= stored.seq
        )  # without the facts of concurrent writers
        if stored.is_deleted:
            assert [entry.seq for entry in entries] == [stored.seq]
        else:
            assert [entry.seq for entry in entries] == list(range(1, stored.seq + 1)), "the facts have no gaps"
            assert fold(entry.recorded for entry in entries) == stored, "the state is the fold of its facts"
        assert not entries[-1].more
        assert (entries[-1].status, entries[-1].draft) == (stored.status, stored.draft)


def _lease(before: Chat | None, after: Chat, commands: tuple[c.Command, ...]) -> Grant | Drop | Ended | None:
    held = before.attempt if before else 0
    if held == after.attempt:
        return None
    if after.attempt:
        return Grant(attempt=after.attempt, instance_id=after.holder)
    if any(isinstance(command, c.ExpireAttempt) and command.reason == "lease" for command in commands):
        return Ended(attempt=held)
    return Drop()
