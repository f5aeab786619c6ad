"""The settings of a chat that come with a message of another protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.chats.chat_fields import clean_labels, clean_system
from antiphon.chats.client_tools import NO_PARAMETERS, ClientTool, checked_tools
from antiphon.core import commands as c
from antiphon.core.model import Chat
from antiphon.core.values import Value


class ToolShape(Value, gc=True):
    """A tool that the client runs. `parameters` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


def client_tools(tools: Sequence[ToolShape]) -> list[ClientTool]:
    return [
        ClientTool(name=tool.name, description=tool.description, parameters=tool.parameters or dict(NO_PARAMETERS))
        for tool in tools
    ]


def setting_commands(
    chat: Chat, *, system: str | None, tools: Sequence[ToolShape] | None, labels: Mapping[str, str] | None
) -> list[c.Command]:
    """What a request changes, for the same append as its message: a refused request changes nothing. None: as the
    chat has it."""
    commands: list[c.Command] = []
    if system is not None and clean_system(system) != chat.system:
        commands.append(c.SetSystem(system=clean_system(system)))
    if tools is not None and (checked := checked_tools(client_tools(tools))) != chat.tools:
        commands.append(c.SetTools(tools=checked))
    if labels and labels.items() - chat.labels.items():
        commands.append(c.SetLabels(labels=clean_labels(chat.labels | dict(labels))))
    return commands
