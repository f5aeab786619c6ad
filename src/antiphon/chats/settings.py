"""The settings of a chat that its owner changes one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.chats.chat_fields import (
    clean_labels,
    clean_mcp_server_ids,
    clean_model,
    clean_system,
    clean_title,
)
from antiphon.chats.client_tools import ClientTool, checked_tools
from antiphon.chats.inbox import to_uuid
from antiphon.core import commands as c
from antiphon.ports import Done
from antiphon.wire.codec import decode, encode
from antiphon.wire.notify import ChatDiffStatus


class ChatSettings(ABC):
    """One method for each setting; `change` sets several in one append."""

    @abstractmethod
    async def change(self, chat_id: str, *commands: c.Command) -> Done:
        """Execute any commands of a person in one append."""

    async def rename(self, chat_id: str, title: str) -> Done:
        return await self.change(chat_id, c.Rename(title=clean_title(title)))

    async def set_labels(self, chat_id: str, labels: dict[str, str]) -> Done:
        return await self.change(chat_id, c.SetLabels(labels=clean_labels(labels)))

    async def set_pin(self, chat_id: str, pin_order: int) -> Done:
        return await self.change(chat_id, c.SetPin(pin_order=pin_order))

    async def set_model(self, chat_id: str, model: str) -> Done:
        return await self.change(chat_id, c.SetModel(model=clean_model(model)))

    async def set_system(self, chat_id: str, system: str) -> Done:
        return await self.change(chat_id, c.SetSystem(system=clean_system(system)))

    async def set_tools(self, chat_id: str, tools: Sequence[ClientTool]) -> Done:
        """Set the tools that clients run. The turn in progress uses them from its next model call."""
        return await self.change(chat_id, c.SetTools(tools=checked_tools(tools)))

    async def set_mcp_servers(self, chat_id: str, ids: Sequence[str] | None) -> Done:
        """Set the MCP servers that the chat uses, by id; None: all configured ones. The turn in progress uses their
        tools from its next model call."""
        return await self.change(chat_id, c.SetMcpServers(mcp_server_ids=clean_mcp_server_ids(ids)))

    async def archive(self, chat_id: str) -> Done:
        return await self.change(chat_id, c.Archive())

    async def unarchive(self, chat_id: str) -> Done:
        return await self.change(chat_id, c.Unarchive())

    async def set_diff_status(self, chat_id: str, status: ChatDiffStatus) -> Done:
        """Set the status of the pull request of a chat (`chat_id` is filled in)."""
        named = msgspec.structs.replace(status, chat_id=to_uuid(chat_id))
        return await self.change(chat_id, c.SetDiffStatus(diff_status=decode(encode(named), Any)))
