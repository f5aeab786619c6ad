"""The open drafts that a process has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from antiphon.core.draft import Draft


class Drafts(Protocol):
    """The open drafts that this process has: those that it writes, and those of other instances that it follows."""

    def get(self, chat_id: str) -> Draft | None:
        """The open draft of a chat; None if this process has none."""
        ...

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call a function whenever the draft of a chat grows or is replaced.

        Args:
            chat_id: The chat.
            on_change: Called in the event loop's thread.

        Returns:
            A function that ends the calls.
        """
        ...

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        """Follow a draft of another instance, as long as something listens to the chat.

        Args:
            chat_id: The chat.
            draft: The name of the draft that a listener has reached.
            holder: The instance that writes it; empty: none.
        """
        ...
