"""Which messages of a chat are in memory: those that the stream has brought, and the earlier ones that were read."""

from __future__ import annotations

from typing import Any

from antiphon.client import AsyncClient
from antiphon.core.view import View

PAGE = 100
"""Messages per request."""
MESSAGES_MAX = 20_000
"""Maximum number of messages in memory. Earlier ones are not shown; the export has them."""
THOUGHTS_MAX = 1_000
"""Maximum number of messages whose duration of thinking is kept."""
FOLLOWED_MAX = 2_000
"""Maximum number of messages that the stream has brought and that are kept while the end is shown."""


class MessageWindow:
    """`messages(view)` are all that are in memory, oldest first."""

    def __init__(self) -> None:
        self._earlier: list[dict[str, Any]] = []
        self._has_earlier: bool | None = None
        """Whether there are messages before the loaded ones; None: as the view says."""
        self.is_loading = False
        self.thought = ""
        """The line of the thoughts of the answer that is being written, such as `Thought for 4 s`."""
        self.thoughts: dict[int, str] = {}
        """Those of the last messages by their ids, as far as they were seen."""
        self.changes = 0
        """Counts the changes of what is not in the view."""

    def messages(self, view: View) -> list[dict[str, Any]]:
        return self._earlier + view.messages if self._earlier else view.messages

    def has_earlier(self, view: View) -> bool:
        if len(self._earlier) + len(view.messages) >= MESSAGES_MAX:
            return False
        return view.has_more if self._has_earlier is None else self._has_earlier

    @property
    def is_full(self) -> bool:
        """Whether earlier messages are left out because too many are in memory."""
        return len(self._earlier) >= MESSAGES_MAX - FOLLOWED_MAX

    def on_message(self, message: dict[str, Any]) -> None:
        """A message was appended: the thoughts before it are its own."""
        if message["role"] == "assistant" and self.thought:
            self.thoughts[message["id"]] = self.thought
            while len(self.thoughts) > THOUGHTS_MAX:
                self.thoughts.pop(next(iter(self.thoughts)))
        self.thought = ""

    def bound(self, view: View) -> None:
        """Forget the first messages of a very long session; they are read again when a person scrolls to them."""
        if len(view.messages) > FOLLOWED_MAX * 2:
            del view.messages[:-FOLLOWED_MAX]
            self._earlier, self._has_earlier = [], True
            self.changes += 1

    def on_resync(self, view: View) -> None:
        """The view was replaced by the state: earlier messages are kept only if they reach up to it."""
        self._earlier, self._has_earlier = [], None
        self.changes += 1

    def truncate(self, from_message_id: int) -> None:
        """An edit or a retry has removed the messages from this one on."""
        self._earlier = [message for message in self._earlier if message["id"] < from_message_id]
        self.changes += 1

    async def load_earlier(self, client: AsyncClient, chat_id: str, view: View) -> bool:
        """Read the page before the first message. Returns whether anything was added."""
        shown = self.messages(view)
        if self.is_loading or not shown or not self.has_earlier(view):
            return False
        self.is_loading, changes = True, self.changes
        try:
            page = await client.messages(chat_id, before_id=shown[0]["id"], limit=PAGE)
        finally:
            self.is_loading = False
        if changes != self.changes:
            return False  # the history was changed meanwhile
        self._earlier = [dict(message) for message in page["messages"]] + self._earlier
        self._has_earlier = page["has_more"]
        self.changes += 1
        return bool(page["messages"])
