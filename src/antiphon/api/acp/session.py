"""One session of an editor: a chat that is followed, and the prompts of the editor in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

from antiphon.api.acp.connection import Connection
from antiphon.api.acp.limits import AcpLimits
from antiphon.api.acp.offers import Offers
from antiphon.api.acp.sent_prompts import SentPrompt, SentPrompts
from antiphon.client import AsyncClient
from antiphon.client.shapes import WhenBusy
from antiphon.core.draft import Draft
from antiphon.core.events import Bye, Event, FactEvent, Resync
from antiphon.core.model import FIRST_TURN_ID
from antiphon.core.parts import FileReference, Part, Text, text_of
from antiphon.errors import AntiphonError, Conflict, Invalid, NotFound
from antiphon.wire.acp.blocks import text_block
from antiphon.wire.acp.chat_state import ChatState
from antiphon.wire.acp.errors import refusal_of
from antiphon.wire.acp.prompts import Ending
from antiphon.wire.acp.settings import MODES
from antiphon.wire.acp.shapes import Capabilities
from antiphon.wire.acp.updates import ChatUpdates, Update, notice
from antiphon.wire.typed_answers import question_of, typed_answer

PAGE = 200
"""Number of messages that are read at once."""


class Session:
    """Follows a chat. `open` reads what it is, `start` begins to send what happens, and `prompt` sends a message and
    waits for the end of its turn."""

    def __init__(
        self,
        chat_id: str,
        client: AsyncClient,
        connection: Connection,
        capabilities: Capabilities,
        limits: AcpLimits,
        *,
        labels: dict[str, str] | None = None,
    ) -> None:
        """`labels`: the chat does not exist yet, and is created with them and the first prompt. So it has a
        title, and a window without a message leaves no chat."""
        self.chat_id = chat_id
        self.state = ChatState()
        self.prompts = SentPrompts(chat_id, client, limits)
        self.when_busy: WhenBusy = "queue"
        self._announce: Callable[[], Awaitable[None]] | None = None
        self._client = client
        self._connection = connection
        self._capabilities = capabilities
        self._offers = Offers(
            chat_id, client, connection, limits, has_forms=capabilities.has_forms, again=self._offer
        )
        self._updates = ChatUpdates(is_own=self.prompts.is_own)
        self._started = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._labels = labels
        self._creating = asyncio.Lock()

    # --- settings

    def on_settings_changed(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Call `announce` when another client has changed the model of the chat."""
        self._announce = announce

    @property
    def is_stored(self) -> bool:
        """Whether the chat exists."""
        return self._labels is None

    async def set_model(self, model: str) -> None:
        """Set the model of the chat, for all its clients."""
        if self.is_stored:
            await self._client.update_chat(self.chat_id, model=model)
        self.state.set_model(model)

    def set_when_busy(self, mode: str) -> None:
        """What the editor's messages do while a turn runs. Raises `Invalid`."""
        if mode not in MODES:
            raise Invalid("mode", f"one of {', '.join(MODES)}")
        self.when_busy = cast(WhenBusy, mode)

    # --- following

    async def open(self, *, replay: bool) -> None:
        """Read the chat. `replay`: send its whole history. Raises as `AsyncClient.watch`, and `NotFound` if the
        session is closed meanwhile."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        following = self._following = self._connection.spawn(self._follow(None, opened, replay=replay))
        await asyncio.wait({opened, following}, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():  # `close` has ended it: the editor has closed the session, or loads it once more
            raise NotFound("session")
        opened.result()

    def start(self) -> None:
        """Send what happens from now on, and offer the open calls."""
        self._started.set()

    def close(self) -> None:
        """Stop following. What is not answered stays open for other clients."""
        self._offers.close()
        if self._following is not None:
            self._following.cancel()
        self.prompts.end_all()

    async def _follow(self, after: str | None, opened: asyncio.Future[None], *, replay: bool = False) -> None:
        try:
            async with aclosing(self._client.watch(self.chat_id, after=after)) as events:
                async for event in events:
                    if isinstance(event, Resync) and not opened.done():
                        await self._begin(event, replay=replay)
                        opened.set_result(None)
                        await self._started.wait()
                        await self._offer()
                    else:
                        await self._handle(event)
        except AntiphonError as error:
            if not opened.done():
                opened.set_exception(error)
                return
            refusal = refusal_of(error)
            self.prompts.end_all(Ending(code=refusal.code, error=refusal.message, details=refusal.data))
        self._offers.close()

    async def _begin(self, event: Resync, *, replay: bool) -> None:
        self.state.apply(event)
        first = event.messages[0]["id"] if event.messages else 0
        if event.has_more and replay:
            async for message in self._history(0, first):
                await self._send(self._updates.message(message))
        for message in event.messages:
            updates = self._updates.message(message, self.state.open_calls)
            await self._send(updates if replay else [])
        updates = self._open_draft(event)
        await self._send(updates if replay else self._updates.calls_without_result())
        self.prompts.resync(event.chat, event.messages, event.queued_messages)
        if replay and event.chat["title"]:
            await self._send([{"sessionUpdate": "session_info_update", "title": event.chat["title"]}])

    def _open_draft(self, event: Resync) -> list[Update]:
        if self.state.turn_id is None:
            return []
        opened = event.open_draft
        return self._updates.open_draft(self.state.turn_id, self.state.seq, opened.draft, opened.parts)

    async def _history(self, after: int, before: int) -> AsyncIterator[dict[str, Any]]:
        """The messages between two ids, oldest first."""
        has_more = True
        while has_more and after < before:
            page = await self._client.messages(self.chat_id, after_id=after, limit=PAGE)
            for message in page["messages"]:
                after = message["id"]
                if after >= before:
                    return
                yield dict(message)
            has_more = page["has_more"] and bool(page["messages"])

    async def _handle(self, event: Event) -> None:
        if isinstance(event, Resync):
            await self._catch_up(event)
            return
        if isinstance(event, Bye):
            self.prompts.end_all(Ending(error=f"The stream of the chat has ended: {event.reason}."))
            return
        await self._send(self._updates.apply(event))
        model = self.state.model
        self.state.apply(event)
        if self.state.model != model and self._announce is not None:
            await self._announce()
        if isinstance(event, FactEvent):
            self.prompts.apply(event)
            if not event.more:
                await self._offer()

    async def _catch_up(self, event: Resync) -> None:
        """Events were missed: send the messages since the last one, and the open draft."""
        before = self.state.last_message_id, self.state.draft, self.state.position
        self.state.apply(event)
        first = event.messages[0]["id"] if event.messages else 0
        missed = [message async for message in self._history(before[0], first)] if event.has_more else []
        messages = [message for message in (*missed, *event.messages) if message["id"] > before[0]]
        if not messages and event.open_draft.draft == before[1]:
            draft = Draft(before[1])
            for delta in event.open_draft.parts:
                draft.apply(delta)
            for delta in draft.read(before[2]):
                await self._send(self._updates.apply(delta))
        else:
            await self._send(self._updates.abandon(self.state.seq))
            for message in messages:
                await self._send(self._updates.message(message, self.state.open_calls))
            await self._send(self._open_draft(event))
        self.prompts.resync(event.chat, messages, event.queued_messages)
        await self._offer()

    # --- sending to the editor

    async def _send(self, updates: Sequence[Update]) -> None:
        for update in updates:
            if update["sessionUpdate"] != "notice" or self._capabilities.has_notices:
                await self._connection.notify("session/update", {"sessionId": self.chat_id, "update": update})

    async def update(self, update: Update) -> None:
        """Send an update of the session's settings."""
        await self._send([update])

    async def say(self, words: str) -> None:
        """Report something: as a notice, or as text in an editor without notices."""
        if self._capabilities.has_notices:
            await self._send([notice(words)])
        else:
            await self._text(f"*({words})*\n\n")

    async def _text(self, text: str) -> None:
        await self._send([{"sessionUpdate": "agent_message_chunk", "content": text_block(text)}])

    async def _offer(self) -> None:
        """Ask the editor for answers to the open calls."""
        calls = self.state.open_calls
        for call in self._offers.update(calls):
            if call["needs"] == "result":
                await self.say(f"The tool {call['tool_name']} is run by another client of this chat. The turn waits.")
            else:
                await self._text(f"\n\n{question_of(call)}\n")
        typed = self._offers.typed(calls)
        if typed and len(typed) == len(calls):
            self.prompts.end_turn(self.state.turn_id)

    # --- prompts

    async def prompt(self, content: tuple[Part, ...], sending: set[asyncio.Future[Any]]) -> Ending:
        """Send a message, and wait for the end of its turn. While a typed question is open, its text is the answer.
        `sending` has the future of the message until the instance has accepted it. Raises what the client raises, and
        `Failed` for a turn that fails."""
        sent = self.prompts.add()
        try:
            if not sent.has_ended:
                accepted = asyncio.ensure_future(self._deliver(sent, content))
                sending.add(accepted)
                accepted.add_done_callback(sending.discard)
                await sent.wait_accepted(accepted)
                self.prompts.changed()
            return await sent.wait_ending()
        finally:
            self.prompts.forget(sent)

    async def _deliver(self, sent: SentPrompt, content: tuple[Part, ...]) -> None:
        if self._labels is not None:
            async with self._creating:
                if self._labels is not None and await self._create(sent, content, self._labels):
                    return
        typed = self._offers.typed(self.state.open_calls)
        if not typed:
            answer = await self._client.send(
                self.chat_id, content, when_busy=self.when_busy, client_message_id=sent.name
            )
            sent.waiting.sent(answer)
            return
        value = typed_answer(_text_of(content), typed[0])
        sent.waiting.turn_id = self.state.turn_id
        await self._offers.answer(self.chat_id, typed[0], value)

    async def _create(self, sent: SentPrompt, content: tuple[Part, ...], labels: dict[str, str]) -> bool:
        """Create the chat with its first message. False: an earlier prompt, whose answer was lost, has created it."""
        model = self.state.model
        try:
            chat = await self._client.create_chat(content, id=self.chat_id, labels=labels, model=model)
        except Conflict:
            await self.open(replay=True)
            self._labels = None
            self.start()
            return False
        self._labels = None
        sent.waiting.turn_id = FIRST_TURN_ID
        self.state.begin(FIRST_TURN_ID)
        self._updates.open_draft(FIRST_TURN_ID, FIRST_TURN_ID, FIRST_TURN_ID, ())
        await self._send([{"sessionUpdate": "session_info_update", "title": chat["title"]}])
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        opened.set_result(None)
        self._following = self._connection.spawn(self._follow(str(FIRST_TURN_ID), opened))
        return True

    async def cancel(self) -> None:
        """Stop the turns of the editor's prompts; without one, the turn that runs."""
        if self.prompts.names():
            await self.prompts.stop_all()
        elif self.state.turn_id is not None:
            await self._client.interrupt(self.chat_id, self.state.turn_id)


def _text_of(content: tuple[Part, ...]) -> str:
    if not all(isinstance(part, Text | FileReference) for part in content):
        raise Invalid("prompt", "the answer to a question is text")
    return text_of(content)
