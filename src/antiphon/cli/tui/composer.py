"""The line to type on: several lines, with the earlier lines of other days."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from prompt_toolkit.history import History
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

OWN_MAX = 100
"""Maximum number of texts of this run that can be recalled although they are not stored."""
NEW_LINE = {"ctrl+j", "alt+enter", "shift+enter"}


class Composer(TextArea):
    """Enter sends, the keys of `NEW_LINE` begin a line. Up on the first line recalls earlier texts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", show=False),
        Binding("shift+tab", "cycle", "While busy", show=False),
        Binding("ctrl+u", "clear_line", "Clear", show=False),
    ]

    class Submitted(Message):
        """Enter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Stopped(Message):
        """Esc."""

    class Cycled(Message):
        """Shift+Tab."""

    def __init__(self, history: History, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id, soft_wrap=True, tab_behavior="focus", show_line_numbers=False, compact=True)
        self._stored = history
        self._own: deque[str] = deque(maxlen=OWN_MAX)
        """The texts of this run, newest first; the file does not store all of them."""
        self._recalled: list[str] | None = None
        """The earlier texts, newest first, while one of them is shown; loaded at the first Up."""
        self._place = -1
        self._unsent = ""

    def accept(self) -> None:
        """The text was sent: store it, and clear the line."""
        if self.text.strip():
            self._own.appendleft(self.text)
            self._stored.store_string(self.text)
        self._recalled, self._place = None, -1
        self.set_text("")

    def set_text(self, text: str) -> None:
        """Put a text on the line; the cursor is behind it."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            if self.text.strip():
                self.post_message(self.Submitted(self.text))
        elif event.key in NEW_LINE:
            event.stop()
            event.prevent_default()
            self.insert("\n")
        elif (event.key == "up" and self.cursor_at_first_line and self._recall(1)) or (
            event.key == "down" and self.cursor_at_last_line and self._place >= 0 and self._recall(-1)
        ):
            event.stop()
            event.prevent_default()
        else:
            await super()._on_key(event)

    def _recall(self, step: int) -> bool:
        """Show an earlier text (1), or a later one (-1). Returns False if there is none."""
        if self._recalled is None:
            stored = self._stored.load_history_strings()
            self._recalled = [*self._own, *(text for text in stored if text not in self._own)]
        place = self._place + step
        if not -1 <= place < len(self._recalled):
            return False
        if self._place < 0:
            self._unsent = self.text
        self._place = place
        self.set_text(self._unsent if place < 0 else self._recalled[place])
        return True

    def action_stop(self) -> None:
        self.post_message(self.Stopped())

    def action_cycle(self) -> None:
        self.post_message(self.Cycled())

    def action_clear_line(self) -> None:
        self.accept()  # cleared by mistake: it can be recalled
