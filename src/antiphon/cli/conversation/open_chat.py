"""One chat over the API, without a terminal: its events as pieces of text, and what a person sends to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import msgspec

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.conversation.attachments import upload
from antiphon.cli.conversation.outgoing import Outgoing, OutgoingQueue
from antiphon.cli.size_text import size_text
from antiphon.cli.transcript import Kind, Piece, Transcript
from antiphon.client import AsyncClient
from antiphon.client.shapes import Content
from antiphon.core.events import Bye, FactEvent, Resync
from antiphon.errors import AntiphonError, PeerError

GAPS_MAX = 100
"""How often the state is fetched again because events do not fit together, before the chat is given up."""


class OpenChat:
    """Run `run` as a task. A new chat (`options.chat_id` is None) is created with its first message.

    `files` is a client over HTTP, which files need. `on_pieces` gets the final text, `on_fact` every fact and state,
    `on_refused` each message that the server has refused.
    """

    def __init__(
        self,
        client: AsyncClient,
        options: ChatOptions,
        *,
        files: AsyncClient | None,
        on_pieces: Callable[[list[Piece]], None],
        on_fact: Callable[[FactEvent | Resync], None],
        on_refused: Callable[[Outgoing, AntiphonError], None],
    ) -> None:
        self.client = client
        self.files = files
        self.options = options
        self.chat_id = options.chat_id
        self.transcript = Transcript(announces_calls=False)
        self.owner_id = ""
        self.outgoing = OutgoingQueue(self._send, on_refused)
        self._on_pieces = on_pieces
        self._on_fact = on_fact
        self._is_named = asyncio.Event()
        if self.chat_id is not None:
            self._is_named.set()

    @property
    def turn_id(self) -> int | None:
        """The running turn; None: there is none."""
        return self.transcript.view.turn_id if self.transcript.is_busy else None

    async def run(self) -> str:
        """Send and follow until the chat is deleted or the access to it is revoked. Returns the reason (`deleted` or
        `revoked`). Raises the error after which it cannot continue."""
        sending = asyncio.create_task(self.outgoing.run())
        try:
            await self._is_named.wait()
            return await self._follow()
        finally:
            sending.cancel()
            await asyncio.wait({sending})

    def advance(self) -> list[Piece]:
        """The newly finished blocks of the answer that is being written."""
        return self.transcript.advance()

    def use_model(self, model: str) -> None:
        """The model of the messages of a chat that does not exist yet."""
        self.options = msgspec.structs.replace(self.options, model=model)

    async def _follow(self) -> str:
        """Follow a new chat from its beginning, a continued chat from its last messages."""
        assert self.chat_id is not None
        after = "0" if self.options.chat_id is None else None
        for _ in range(GAPS_MAX):
            try:
                return await self._follow_from(self.chat_id, after)
            except PeerError:
                after = None  # the state, with the messages that are not shown yet
        raise PeerError("the events of this chat do not fit together")

    async def _follow_from(self, chat_id: str, after: str | None) -> str:
        async with aclosing(self.client.watch(chat_id, after=after)) as events:
            async for event in events:
                self._on_pieces(self.transcript.apply(event))
                if isinstance(event, Resync):
                    self.owner_id = event.chat.get("owner_id", "")
                elif isinstance(event, FactEvent) and event.type == "chat_created":
                    self.owner_id = event.data.get("owner_id", "")
                if isinstance(event, FactEvent | Resync):
                    self._on_fact(event)
                if isinstance(event, Bye):
                    return event.reason
        return "deleted"

    async def _send(self, item: Outgoing) -> None:
        options, content = self.options, await self._content(item)
        if self.chat_id is not None and item.edits is not None:
            await self.client.edit(self.chat_id, item.edits, content)
        elif self.chat_id is not None:
            await self.client.send(
                self.chat_id,
                content,
                when_busy=item.when_busy,
                client_message_id=item.message_id,
                model=options.model if options.chat_id is not None else "",
            )
        else:
            chat = await self.client.create_chat(
                content, id=item.message_id, model=options.model, system=options.system, title=options.title
            )
            self.chat_id = chat["id"]
            self._is_named.set()

    async def _content(self, item: Outgoing) -> Content:
        """What is sent: the text, and the files after they are uploaded."""
        if not item.paths:
            return item.text
        parts: list[dict[str, Any]] = [{"type": "text", "text": item.text}]
        for path in item.paths:
            parts.append(await upload(self.files, path))
            self._on_pieces([Piece(Kind.NOTE, f"(sent {path.name}, {size_text(path.stat().st_size)})")])
        return parts

    def last_question(self) -> dict[str, Any] | None:
        """The person's last message in the history."""
        messages = self.transcript.view.messages
        return next((message for message in reversed(messages) if message["role"] == "user"), None)
