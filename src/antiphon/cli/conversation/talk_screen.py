"""What a conversation needs of the screen that it is shown on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from antiphon.cli.transcript import Piece


class Output(Protocol):
    """Where commands print."""

    @property
    def width(self) -> int:
        """In cells."""
        ...

    def print(self, pieces: Iterable[Piece]) -> None:
        """Print final text; may be called at any time."""
        ...


class TalkScreen(Output, Protocol):
    """A screen with a line to type on. `PromptScreen` is that of `antiphon chat`."""

    @property
    def text(self) -> str:
        """The text on the input line."""
        ...

    def set_text(self, text: str) -> None:
        """Put a text on the input line; the cursor is behind it."""
        ...

    def ring(self) -> None: ...

    async def run(self) -> None:
        """Draw until cancelled or stopped."""
        ...

    def stop(self) -> None:
        """End `run`."""
        ...
