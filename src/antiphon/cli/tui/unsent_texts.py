"""The texts that are typed and not sent, by chat."""

from __future__ import annotations

from antiphon.cli.conversation.open_chat import OpenChat

TEXTS_MAX = 200
"""Maximum number of chats whose unsent text is kept."""


class UnsentTexts:
    """Call `swap` when another chat is opened."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}
        self._shown: tuple[str, OpenChat] | None = None
        """The server and the chat whose text the composer holds."""

    def swap(self, server_key: str, chat: OpenChat, text: str) -> str | None:
        """Keep the text of the chat that is left. Returns that of the opened one; None: it is the same chat, whose
        text stays."""
        left, self._shown = self._shown, (server_key, chat)
        if left is None:
            return None
        left_key = (left[0], left[1].chat_id or "")  # a new chat may have got its id meanwhile
        key = (server_key, chat.chat_id or "")
        if key == left_key:
            return None
        if text.strip():
            self._texts[left_key] = text
            while len(self._texts) > TEXTS_MAX:
                self._texts.pop(next(iter(self._texts)))
        return self._texts.pop(key, "")
