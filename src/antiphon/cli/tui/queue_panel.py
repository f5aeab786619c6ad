"""The messages that wait for the end of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from antiphon.cli.cells import fit

ITEMS_SHOWN_MAX = 100
"""Maximum number of listed messages."""


class QueuePanel(OptionList):
    """Call `show` with the queued messages and their lines. It posts `Changed` for each request of the person."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "change('edit')", "Edit"),
        Binding("d,delete", "change('delete')", "Delete"),
        Binding("n", "change('next')", "Send next"),
        Binding("shift+up,K", "change('up')", "Move up"),
        Binding("shift+down,J", "change('down')", "Move down"),
    ]

    class Changed(Message):
        """What is done with a message: edit, delete, next, up or down. `before`: for up and down, the id of the one
        that follows it then (None: it becomes the last)."""

        def __init__(self, what: str, item: dict[str, Any], before: int | None) -> None:
            super().__init__()
            self.what = what
            self.item = item
            self.before = before

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id, markup=False, compact=True)
        self._items: list[dict[str, Any]] = []
        self._shown: tuple[object, ...] = ()

    def show(self, items: Sequence[dict[str, Any]], lines: Sequence[str]) -> None:
        """`lines` describe the items in their order, and then those that are not sent yet."""
        width = max(self.size.width - 4, 10)
        state = (tuple(item["id"] for item in items), tuple(lines), width)
        if state == self._shown:
            return
        self._shown = state
        chosen = self._chosen_id()
        self._items = list(items[:ITEMS_SHOWN_MAX])
        self.display = bool(lines)
        options = [
            Option(Text(fit(line, width), no_wrap=True), disabled=index >= len(self._items))
            for index, line in enumerate(lines[:ITEMS_SHOWN_MAX])
        ]
        self.set_options(options)
        ids = [item["id"] for item in self._items]
        self.highlighted = ids.index(chosen) if chosen in ids else (0 if ids else None)

    def _chosen_id(self) -> int | None:
        index = self.highlighted
        return self._items[index]["id"] if index is not None and index < len(self._items) else None

    def action_change(self, what: str) -> None:
        index = self.highlighted
        if index is None or index >= len(self._items):
            return
        before: int | None = None
        if what in ("up", "down"):
            target = index - 1 if what == "up" else index + 2
            if target < 0 or (index + 1 >= len(self._items) and what == "down"):
                return
            before = self._items[target]["id"] if target < len(self._items) else None
        self.post_message(self.Changed(what, self._items[index], before))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter and a click edit."""
        event.stop()
        self.action_change("edit")
