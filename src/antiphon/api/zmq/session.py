"""A chat as the instance protocol publishes it, where it is called a session."""

from __future__ import annotations

from antiphon.wire.instance_events import SessionTranslator


class Session:
    """What was published of one chat, as far as later events depend on it."""

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.events = SessionTranslator(chat_id)
        self.heads: dict[str, bytes] = {}
        """The encoded beginning of its frames, by topic."""
