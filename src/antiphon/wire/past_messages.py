"""A message of a history that a client sends: what protocols translate their own messages into."""

from __future__ import annotations

from antiphon.core.parts import Part, Role
from antiphon.core.values import Value


class PastMessage(Value):
    """A message of a history. A tool's message has one `ToolResult`, then a `FileReference` for each of its
    files."""

    role: Role
    content: tuple[Part, ...]
