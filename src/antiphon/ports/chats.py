"""Commands to chats, and the state of chats, as every part above the command loop uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from antiphon.core.commands import Command
from antiphon.core.facts import Entry
from antiphon.core.model import Chat
from antiphon.core.values import Value


class Request(Value):
    """Makes a command idempotent: the client's id, and the hash of the request's body."""

    client_id: str
    body_hash: bytes


class Done(Value):
    """The answer to commands: the chat after them and their entries. A repeat has the entries of the first answer."""

    chat_id: str
    chat: Chat
    entries: tuple[Entry, ...]
    is_repeat: bool = False


class Chats(Protocol):
    """Every command passes `execute`: it decides on the newest state and appends the facts, all or none."""

    async def execute(self, chat_id: str, *commands: Command, request: Request | None = None) -> Done:
        """Apply the commands in one append.

        Args:
            chat_id: The chat; it need not exist for `CreateChat`.
            commands: Succeed or are refused together.
            request: Makes the call idempotent: a repeat with the same body gets the first answer.

        Raises:
            Refused: A rule refuses a command; nothing changed. `Conflict` for a repeat with another body.
            Unavailable: The store cannot be written, or the queue of this chat is full.
        """
        ...

    def submit_nowait(self, chat_id: str, *commands: Command, request: Request | None = None) -> asyncio.Future[Done]:
        """Queue the commands; the future has the answer. Cancelling it removes them, unless they run."""
        ...

    async def chat(self, chat_id: str) -> Chat | None:
        """The current state; None if there is no such chat."""
        ...

    def chat_nowait(self, chat_id: str) -> Chat | None:
        """The cached state, which may be old on a shared store; None if it is not cached."""
        ...

    def entries_after(self, chat_id: str, seq: int) -> Sequence[Entry] | None:
        """The facts after `seq` from memory; None if not all of them are cached."""
        ...
