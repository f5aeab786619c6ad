"""Sending a message to a chat, also together with other commands in one append."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from antiphon.chats.chat_fields import check_client_id, clean_model, hash_of
from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.model import WhenBusy
from antiphon.core.parts import Part
from antiphon.observe.traces import TRACES
from antiphon.options import Limits
from antiphon.ports import Done, Request


class Sending(ABC):
    """The messages of one owner."""

    owner_id: str
    _limits: Limits
    _service: Service
    _trace: str
    _via: str

    @abstractmethod
    def make_content(self, content: str | Sequence[Part]) -> bytes:
        """The canonical bytes of a person's message."""

    @abstractmethod
    async def _check_named(
        self, model: str, chat_id: str, request: Request | None, mcp_server_ids: Sequence[str] = ()
    ) -> None: ...

    @abstractmethod
    async def _check_budget(self, chat_id: str, request: Request | None = None) -> None: ...

    @abstractmethod
    async def _check_owner(self, chat_id: str) -> None: ...

    @abstractmethod
    async def _use_files(self, chat_id: str, body: bytes, request: Request | None = None) -> bytes: ...

    @abstractmethod
    async def _is_repeat(self, chat_id: str, request: Request | None) -> bool: ...

    async def send(
        self,
        chat_id: str,
        content: str | Sequence[Part],
        *,
        when_busy: WhenBusy = WhenBusy.QUEUE,
        client_message_id: str = "",
        model: str = "",
        settings: Sequence[c.Command] = (),
    ) -> Done:
        """Append or queue a message.

        Args:
            chat_id: The chat.
            content: A string or parts.
            when_busy: What to do while a turn is in progress.
            client_message_id: Makes the call idempotent: a repeat gets the first answer.
            model: The chat's model from now on; empty: unchanged.
            settings: What changes in the same append, before the message. A refused message changes nothing.

        Raises:
            NotFound: The owner has no such chat.
            Refused: See `core.commands.SendMessage`; `Invalid` and `TooLarge` for the content, and `NotFound` for a
                file that it names.
            Conflict: The client_message_id was sent with another body.
            BudgetExhausted, RateLimited: The owner may not send it now.
        """
        await self._check_owner(chat_id)
        body, model = self.make_content(content), clean_model(model)
        request = None
        if client_message_id:
            check_client_id(client_message_id)
            digest = hash_of(body, when_busy.value, model)
            request = Request(client_id=client_message_id, body_hash=digest)
        command = c.SendMessage(content=body, when_busy=when_busy, client_message_id=client_message_id, model=model)
        command = await self._checked(chat_id, command, request)
        return await self._service.execute(chat_id, *settings, command, request=request)

    async def steering_command(
        self, chat_id: str, content: str | Sequence[Part], request: Request | None = None
    ) -> c.SendMessage:
        """The command that sends a message to the turn in progress, for one append with others, which `request` makes
        idempotent. Raises the same as `send` for the content and the budget."""
        command = c.SendMessage(content=self.make_content(content), when_busy=WhenBusy.STEER)
        return await self._checked(chat_id, command, request)

    async def _checked(self, chat_id: str, command: c.SendMessage, request: Request | None) -> c.SendMessage:
        """The command as it is executed: its names and the budget are checked, and its files are used."""
        await self._check_named(command.model, chat_id, request)
        await self._check_budget(chat_id, request)
        return c.SendMessage(
            content=await self._use_files(chat_id, command.content, request),
            when_busy=command.when_busy,
            client_message_id=command.client_message_id,
            model=command.model,
            by=self.owner_id,
            trace=self._trace or TRACES.current(),
            via=self._via,
            queue_max=self._limits.queue_messages,
            queue_bytes_max=self._limits.queue_bytes,
        )
