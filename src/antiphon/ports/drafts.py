"""The open drafts, as far as a process has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from antiphon.core.draft import Draft


class Drafts(Protocol):
    """The drafts that are being written, as far as this process has them."""

    def get(self, chat_id: str) -> Draft | None:
        """The open draft of a chat whose turn runs here, or is followed from here."""
        ...

    def listen(self, chat_id: str, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change` whenever the draft grows or is replaced; returns the call that ends it."""
        ...

    def follow(self, chat_id: str, draft: int, holder: str) -> None:
        """A listener has come to that draft, which the instance `holder` writes (empty: nobody)."""
        ...
