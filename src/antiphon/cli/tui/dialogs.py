"""The dialogs: to confirm, to type a line, to choose one of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from antiphon.cli.clean import clean_line

ESCAPE: list[BindingType] = [Binding("escape", "cancel", "Cancel")]


class ConfirmDialog(ModalScreen[bool]):
    """A question that is answered with the name of the action, or `Cancel`."""

    BINDINGS: ClassVar[list[BindingType]] = ESCAPE

    def __init__(self, question: str, action: str) -> None:
        super().__init__()
        self._question = question
        self._action = action

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False, classes="question")
            with Horizontal(classes="buttons"):
                yield Button(self._action, id="yes", variant="error", compact=True)
                yield Button("Cancel", id="no", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_cancel(self) -> None:
        self.dismiss(False)


class TextDialog(ModalScreen[str]):
    """A line of text; the result is empty if it is cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = ESCAPE

    def __init__(self, label: str, text: str = "") -> None:
        super().__init__()
        self._label = label
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._label, markup=False)
            yield Input(self._text)
            yield Static("Enter accepts · Esc cancels", classes="quiet")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        self.dismiss("")


class Item(NamedTuple):
    """One that can be chosen: its value, its text and a text beside it."""

    value: str
    text: str
    meta: str = ""


class ChoiceDialog(ModalScreen[str]):
    """A list that is filtered as one types; the result is empty if it is cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *ESCAPE,
        Binding("down", "move(1)", show=False),
        Binding("up", "move(-1)", show=False),
    ]

    def __init__(self, label: str, items: Sequence[Item], *, takes_any: bool = False) -> None:
        """`takes_any`: a typed text that is not in the list is a result, too."""
        super().__init__()
        self._label = label
        self._items = items
        self._takes_any = takes_any
        self._shown: list[Item] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._label, markup=False)
            yield Input(placeholder="Type to filter")
            yield OptionList(markup=False)

    def on_mount(self) -> None:
        self._filter("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _on_typed(self, event: Input.Changed) -> None:
        self._filter(event.value.lower())

    def _filter(self, typed: str) -> None:
        self._shown = [item for item in self._items if typed in item.text.lower() or typed in item.meta.lower()]
        options = self.query_one(OptionList)
        options.set_options(_option(item) for item in self._shown)
        options.highlighted = 0 if self._shown else None

    @on(Input.Submitted)
    def _on_submitted(self, event: Input.Submitted) -> None:
        index = self.query_one(OptionList).highlighted
        if index is not None:
            self.dismiss(self._shown[index].value)
        elif self._takes_any:
            self.dismiss(event.value.strip())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index].value)

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_cancel(self) -> None:
        self.dismiss("")


def _option(item: Item) -> Option:
    line = Text(clean_line(item.text), no_wrap=True, overflow="ellipsis")
    if item.meta:
        line.append(f"  {clean_line(item.meta)}", style="dim")
    return Option(line)
