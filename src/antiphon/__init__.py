"""Antiphon: a session server for AI chats and agents.

    from antiphon import Agent, Turn, Reasoning, ToolCall, tool, open_instance

Names are imported when they are first used, so that `import antiphon` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from antiphon.version import __version__ as __version__

if TYPE_CHECKING:
    from antiphon.core.parts import Data, File, FileReference, Reasoning, Source, Text, Usage
    from antiphon.errors import AttemptFailed as AgentError
    from antiphon.mcp_settings import McpServer
    from antiphon.server.open_instance import EmbeddedInstance as Instance
    from antiphon.server.open_instance import open_instance
    from antiphon.worker.agent import Agent
    from antiphon.worker.children import ChildAnswer, ChildChat
    from antiphon.worker.tools import FileRefused, RawTool, Tool, ToolContext, ask_person, tool
    from antiphon.worker.turn import ToolCall, Turn

__all__ = [
    "Agent",
    "AgentError",
    "ChildAnswer",
    "ChildChat",
    "Data",
    "File",
    "FileReference",
    "FileRefused",
    "Instance",
    "McpServer",
    "RawTool",
    "Reasoning",
    "Source",
    "Text",
    "Tool",
    "ToolCall",
    "ToolContext",
    "Turn",
    "Usage",
    "ask_person",
    "open_instance",
    "tool",
]

_PLACES = {
    "Agent": "antiphon.worker.agent",
    "AgentError": "antiphon.errors:AttemptFailed",
    "ChildAnswer": "antiphon.worker.children",
    "ChildChat": "antiphon.worker.children",
    "Data": "antiphon.core.parts",
    "File": "antiphon.core.parts",
    "FileReference": "antiphon.core.parts",
    "FileRefused": "antiphon.worker.tools",
    "Instance": "antiphon.server.open_instance:EmbeddedInstance",
    "McpServer": "antiphon.mcp_settings",
    "RawTool": "antiphon.worker.tools",
    "Reasoning": "antiphon.core.parts",
    "Source": "antiphon.core.parts",
    "Text": "antiphon.core.parts",
    "Tool": "antiphon.worker.tools",
    "ToolCall": "antiphon.worker.turn",
    "ToolContext": "antiphon.worker.tools",
    "Turn": "antiphon.worker.turn",
    "Usage": "antiphon.core.parts",
    "ask_person": "antiphon.worker.tools",
    "open_instance": "antiphon.server.open_instance",
    "tool": "antiphon.worker.tools",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'antiphon' has no attribute {name!r}")
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute or name)
