"""The list of servers and chats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from antiphon.cli.cells import fit
from antiphon.cli.tui.chat_rows import Row, RowKind

MARK_STYLES = {"●": "green", "?": "bold yellow", "!": "bold red", "•": "bold cyan"}


class ChatList(OptionList):
    """Call `show` with the rows. It posts `RowChosen`. The same row stays highlighted while the list changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    class RowChosen(Message):
        """A person has chosen a row."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id, markup=False)
        self._rows: list[Row] = []
        self._shown: tuple[object, ...] = ()

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def highlighted_row(self) -> Row | None:
        return self._rows[self.highlighted] if self.highlighted is not None else None

    def show(self, rows: list[Row], current_key: str) -> None:
        """Show these rows; `current_key` is that of the open chat."""
        width = max(self.size.width - 3, 10)
        state = (tuple(rows), current_key, width)
        if state == self._shown:
            return
        self._shown = state
        before = self.highlighted_row
        top = self.scroll_y
        self._rows = rows
        self.set_options([_option(row, width, is_current=row.key == current_key) for row in rows])
        key = before.key if before is not None and self.has_focus else current_key
        self.highlight_key(key)
        self.scroll_to(y=min(top, self.max_scroll_y), animate=False)

    def highlight_key(self, key: str) -> None:
        """Highlight a row, if it is listed."""
        for index, row in enumerate(self._rows):
            if row.key == key:
                self.highlighted = index
                return

    def on_resize(self) -> None:
        rows, current = self._shown[:2] if self._shown else ((), "")
        if rows:
            assert isinstance(rows, tuple)
            self.show(list(rows), str(current))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.RowChosen(self._rows[event.option_index]))


def _option(row: Row, width: int, *, is_current: bool) -> Option:
    match row.kind:
        case RowKind.SERVER:
            return Option(Text(f"{row.mark} {fit(row.text, width - 1)}", style="bold", no_wrap=True), row.key)
        case RowKind.SECTION:
            return Option(Text(f"  {row.text}", style="dim", no_wrap=True), row.key, disabled=True)
        case RowKind.EMPTY:
            return Option(Text(f"  {fit(row.text, width)}", style="dim", no_wrap=True), row.key, disabled=True)
        case RowKind.MORE:
            return Option(Text(f"  {row.text}…", style="italic", no_wrap=True), row.key)
    line = Text(no_wrap=True)
    line.append(f"{row.mark} ", style=MARK_STYLES.get(row.mark, ""))
    line.append(fit(row.text, width - 1), style="bold" if is_current else "")
    return Option(line, row.key)
