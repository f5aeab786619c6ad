"""The tools of a chat that its clients run: checked where they are set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.core.depth import DEPTH_MAX, is_too_deep
from antiphon.core.values import Value
from antiphon.errors import Invalid, TooLarge
from antiphon.wire.codec import encode

TOOLS_MAX = 128
"""Maximum number of tools of a chat."""
TOOLS_BYTES_MAX = 64 * 1024
"""Maximum size of a chat's tools as JSON, in bytes: they are a part of its stored state."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


class ClientTool(Value):
    """A tool that a client runs, as it is described to a model. `parameters` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: dict(NO_PARAMETERS))


def checked_tools(tools: Sequence[ClientTool]) -> Any:
    """The tools as they are stored; None if there are none.

    Raises:
        Invalid: A name is not valid or occurs twice, or a schema is nested too deeply.
        TooLarge: There are too many, or their JSON is too large.
    """
    if len(tools) > TOOLS_MAX:
        raise TooLarge("number of tools", TOOLS_MAX)
    names = [tool.name for tool in tools]
    for number, tool in enumerate(tools):
        if not NAME.fullmatch(tool.name):
            raise Invalid(f"tools[{number}].name", "1 to 64 of A-Z, a-z, 0-9, `_` and `-`")
        if names.index(tool.name) != number:
            raise Invalid(f"tools[{number}].name", f"there is another tool with the name {tool.name!r}")
        if tool.parameters.get("type", "object") != "object":
            raise Invalid(f"tools[{number}].parameters", "a JSON Schema of the type `object`")
        if is_too_deep(tool.parameters):
            raise Invalid(f"tools[{number}].parameters", f"JSON nested at most {DEPTH_MAX} deep")
    if not tools:
        return None
    stored = [
        {"name": t.name, "description": t.description, "parameters": NO_PARAMETERS | t.parameters} for t in tools
    ]
    if len(encode(stored)) > TOOLS_BYTES_MAX:
        raise TooLarge("tools", TOOLS_BYTES_MAX)
    return stored
