"""The keys of the input line beyond those of an editor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.filters import Condition, has_completions, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer


class Person(Protocol):
    """What the person can do by a key or by submitting the line."""

    def on_line(self, text: str) -> bool:
        """A submitted text. Returns whether it is accepted: otherwise it stays on the line."""
        ...

    def on_stop(self) -> None:
        """Esc."""
        ...

    def on_leave(self) -> None: ...

    def on_clear(self, *, was_empty: bool) -> None:
        """Ctrl+C."""
        ...

    def on_cycle(self) -> None:
        """Shift+Tab."""
        ...

    def on_thoughts(self) -> None: ...

    def on_result(self) -> None: ...


def talk_keys(person: Person, open_editor: Callable[[Buffer], None]) -> KeyBindings:
    """The bindings. Enter submits; text with line breaks comes from Alt+Enter, Ctrl+J and pastes."""
    keys = KeyBindings()
    _bind_sending(keys, person)
    _bind_leaving(keys, person)

    @keys.add("s-tab", filter=~has_completions)
    def _(event: KeyPressEvent) -> None:
        person.on_cycle()

    @keys.add("c-t")
    def _(event: KeyPressEvent) -> None:
        person.on_thoughts()

    @keys.add("c-o")
    def _(event: KeyPressEvent) -> None:
        person.on_result()

    @keys.add("c-x", "c-e")
    def _(event: KeyPressEvent) -> None:
        open_editor(event.current_buffer)

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    return keys


def _bind_sending(keys: KeyBindings, person: Person) -> None:
    @Condition
    def has_choice() -> bool:
        from prompt_toolkit.application import get_app

        state = get_app().current_buffer.complete_state
        return state is not None and state.current_completion is not None and len(state.completions) > 1

    @keys.add("enter", filter=has_choice)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None  # the chosen completion is on the line already

    @keys.add("enter", filter=~has_choice & ~is_searching)
    def _(event: KeyPressEvent) -> None:
        submit(event.current_buffer, person)

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")


def _bind_leaving(keys: KeyBindings, person: Person) -> None:
    @keys.add("escape", filter=has_completions)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()

    @keys.add("escape", filter=~has_completions & ~is_searching)
    def _(event: KeyPressEvent) -> None:
        person.on_stop()

    @keys.add("c-c", filter=~is_searching)
    @keys.add("<sigint>", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        was_empty = not buffer.text
        if buffer.text.strip():
            buffer.append_to_history()  # cleared by mistake: it can be recalled
        buffer.reset()
        person.on_clear(was_empty=was_empty)

    @keys.add("c-d", filter=Condition(lambda: not _current_text()))
    def _(event: KeyPressEvent) -> None:
        person.on_leave()


def submit(buffer: Buffer, person: Person) -> None:
    """Submit the text of the line. It stays there if it is blank or not accepted."""
    text = buffer.text
    if not text.strip():
        return
    if person.on_line(text) and buffer.text == text:  # a command may have put another text there
        buffer.append_to_history()
        buffer.reset()


def _current_text() -> str:
    from prompt_toolkit.application import get_app

    return get_app().current_buffer.text
