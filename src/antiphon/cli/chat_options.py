"""The options of a conversation, shared by the verbs that start one."""

from __future__ import annotations

from antiphon.core.values import Value


class ChatOptions(Value):
    """The chat to continue (None: a new one), and the settings of a new chat. `rings`: the terminal's bell rings
    when an answer is ready."""

    chat_id: str | None = None
    model: str = ""
    system: str = ""
    title: str = ""
    rings: bool = False
