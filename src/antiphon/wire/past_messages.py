"""A message of a history that a client sends: what protocols translate their own messages into."""

from __future__ import annotations

from antiphon.core.parts import Part, Role
from antiphon.core.values import Value


class PastMessage(Value):
    """A message of a history. A tool's message has one `ToolResult`, then a `FileReference` for each of its files.
    `client_message_id` is the client's own id of a user's message, if it has one."""

    role: Role
    content: tuple[Part, ...]
    client_message_id: str = ""
