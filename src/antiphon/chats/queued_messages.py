"""What an owner does with the queued messages of a chat."""

from __future__ import annotations

from abc import ABC, abstractmethod

from antiphon.core import commands as c
from antiphon.ports import Done


class QueuedMessages(ABC):
    """One method for each change of the queue; `OwnedChats.edit_queued` changes a message's content."""

    owner_id: str

    @abstractmethod
    async def change(self, chat_id: str, *commands: c.Command) -> Done:
        """Execute any commands of a person in one append."""

    async def delete_queued(self, chat_id: str, queued_id: int) -> Done:
        return await self.change(chat_id, c.DeleteQueued(queued_id=queued_id))

    async def move_queued(self, chat_id: str, queued_id: int, before: int | None) -> Done:
        """Move a queued message before another one (None: to the end of its part)."""
        return await self.change(chat_id, c.MoveQueued(queued_id=queued_id, before=before))

    async def promote_queued(self, chat_id: str, queued_id: int) -> Done:
        """Deliver a queued message next, interrupting the turn."""
        return await self.change(chat_id, c.PromoteQueued(queued_id=queued_id, by=self.owner_id))
