"""The prompts of an editor that wait for the end of their turns, and how they are stopped."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from antiphon.api.acp.connection import Failed
from antiphon.api.acp.limits import AcpLimits
from antiphon.client import AsyncClient
from antiphon.core.events import Event, FactEvent
from antiphon.errors import AlreadyDelivered, NotFound, Unavailable
from antiphon.wire.acp.errors import INTERNAL_ERROR
from antiphon.wire.acp.prompts import CANCELLED, Ended, Ending, Prompts, Waiting

NO_RESPONSE = Ending(error="The instance does not respond. The turn may go on.")


class SentPrompt:
    """One prompt. `name` is the client's id of its message."""

    def __init__(self, waiting: Waiting, name: str) -> None:
        self.name = name
        self.waiting = waiting
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @property
    def has_ended(self) -> bool:
        return self._ending.done()

    def end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    async def wait_accepted(self, accepted: asyncio.Future[None]) -> None:
        """Until the instance has accepted the message, or the prompt has ended. Raises what the client raises."""
        waited: set[asyncio.Future[Any]] = {accepted, self._ending}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if accepted.done():
            accepted.result()
        else:
            accepted.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def wait_ending(self) -> Ending:
        """Raises `Failed` if the turn has failed."""
        ending = await self._ending
        if ending.error:
            raise Failed(ending.code or INTERNAL_ERROR, ending.error, ending.details or None)
        return ending


class SentPrompts:
    """Those of one session."""

    def __init__(self, chat_id: str, client: AsyncClient, limits: AcpLimits) -> None:
        self._chat_id = chat_id
        self._client = client
        self._limits = limits
        self._prompts = Prompts()
        self._sent: dict[str, SentPrompt] = {}
        self._changed = asyncio.Event()
        self._ended: Ending | None = None

    def is_own(self, name: str) -> bool:
        """Whether a message was sent by this editor, by the client's id of it."""
        return name in self._sent

    def names(self) -> list[str]:
        """The prompts that wait, oldest first."""
        return list(self._sent)

    def add(self) -> SentPrompt:
        name = str(uuid.uuid4())
        sent = self._sent[name] = SentPrompt(self._prompts.add(name), name)
        if self._ended is not None:
            sent.end(self._ended)
        return sent

    def forget(self, sent: SentPrompt) -> None:
        self._prompts.forget(sent.name)
        del self._sent[sent.name]

    # --- what happens in the chat

    def changed(self) -> None:
        """More is known of the prompts."""
        self._changed.set()

    def apply(self, event: Event) -> None:
        self._end(self._prompts.apply(event))
        if isinstance(event, FactEvent):
            self.changed()

    def resync(self, chat: Mapping[str, Any], messages: Iterable[dict[str, Any]], queue: Iterable[Any]) -> None:
        self._end(self._prompts.resync(chat, messages, queue))
        self.changed()

    def end_turn(self, turn_id: int | None) -> None:
        """The turn waits for a text that the next prompt brings."""
        self._end(self._prompts.end_turn(turn_id))

    def end_all(self, ending: Ending = CANCELLED) -> None:
        """The chat is not followed any more: later prompts end in the same way."""
        self._ended = ending
        for sent in self._sent.values():
            sent.end(ending)
        self.changed()

    def _end(self, ended: Ended) -> None:
        for name, ending in ended:
            if name in self._sent:
                self._sent[name].end(ending)

    # --- stopping

    async def stop_all(self) -> None:
        await asyncio.gather(*map(self.stop, self.names()))

    async def stop(self, name: str) -> None:
        """Interrupt the turn of a prompt, or take its message out of the queue. If the instance does not respond in
        time, the prompt ends with an error that says so."""
        sent = self._sent.get(name)
        if sent is None:
            return
        try:
            async with asyncio.timeout(self._limits.stop_s):
                while not sent.has_ended and not await self._try_stop(sent):
                    pass
        except TimeoutError:
            sent.end(NO_RESPONSE)

    async def _try_stop(self, sent: SentPrompt) -> bool:
        """Whether the turn was stopped. Otherwise more is known when it returns."""
        self._changed.clear()
        try:
            if sent.waiting.turn_id is not None:
                await self._client.interrupt(self._chat_id, sent.waiting.turn_id)
                return True
            if sent.waiting.queued_id is not None:
                await self._client.delete_queued(self._chat_id, sent.waiting.queued_id)
                return True
            await self._changed.wait()  # until the instance has accepted the message
        except AlreadyDelivered:
            await self._changed.wait()  # the next fact says which turn it has
        except Unavailable:
            await asyncio.sleep(self._limits.retry_s)
        except NotFound:
            return True
        return False
