"""What an owner does with the queued messages of a chat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from antiphon.core import commands as c
from antiphon.core.parts import Part
from antiphon.options import Limits
from antiphon.ports import Done, Request


class QueuedMessages(ABC):
    """One method for each change of the queue."""

    owner_id: str
    _limits: Limits

    @abstractmethod
    async def change(self, chat_id: str, *commands: c.Command) -> Done:
        """Execute any commands of a person in one append."""

    @abstractmethod
    def make_content(self, content: str | Sequence[Part]) -> bytes: ...

    @abstractmethod
    async def _check_owner(self, chat_id: str) -> None: ...

    @abstractmethod
    async def _use_files(self, chat_id: str, body: bytes, request: Request | None = None) -> bytes: ...

    async def edit_queued(self, chat_id: str, queued_id: int, content: str | Sequence[Part]) -> Done:
        body = self.make_content(content)
        await self._check_owner(chat_id)
        body = await self._use_files(chat_id, body)
        command = c.EditQueued(queued_id=queued_id, content=body, queue_bytes_max=self._limits.queue_bytes)
        return await self.change(chat_id, command)

    async def delete_queued(self, chat_id: str, queued_id: int) -> Done:
        return await self.change(chat_id, c.DeleteQueued(queued_id=queued_id))

    async def move_queued(self, chat_id: str, queued_id: int, before: int | None) -> Done:
        """Move a queued message before another one (None: to the end of its part)."""
        return await self.change(chat_id, c.MoveQueued(queued_id=queued_id, before=before))

    async def promote_queued(self, chat_id: str, queued_id: int) -> Done:
        """Deliver a queued message next, interrupting the turn."""
        return await self.change(chat_id, c.PromoteQueued(queued_id=queued_id, by=self.owner_id))
