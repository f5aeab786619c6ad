"""What the agent asks of the person: approvals with buttons, questions with their choices or as a form."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button, Checkbox, Input, Label, Select, Static

from antiphon.cli.clean import clean_line
from antiphon.cli.conversation import asking
from antiphon.cli.tui.question_form import Field, FieldKind, answer_of, fields_of

BUTTONS_MAX = 8
"""Maximum number of choices that have a button; others are typed."""


class CallPanel(Vertical):
    """Call `show` with the open calls that a person can answer. It posts `Decided`, and `EditWanted` or `DenyWanted`
    if the person types the rest."""

    class Decided(Message):
        """A decision about a call."""

        def __init__(self, call: dict[str, Any], decision: asking.Reply) -> None:
            super().__init__()
            self.call = call
            self.decision = decision

    class DenyWanted(Message):
        """The reason is typed next."""

        def __init__(self, call: dict[str, Any]) -> None:
            super().__init__()
            self.call = call

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self._call: dict[str, Any] | None = None
        self._key: tuple[object, ...] = ()
        self._fields: list[Field] = []

    async def show(self, asked: list[dict[str, Any]], lines: tuple[str, ...], *, is_editing: bool) -> None:
        """Show the first of these calls; nothing if there is none. `lines`: what is said about it."""
        call = asked[0] if asked else None
        key = (call["tool_call_id"] if call else None, len(asked), is_editing, lines)
        if key == self._key:
            return
        self._key, self._call = key, call
        self.display = call is not None
        await self.remove_children()
        if call is not None:
            self._fields = fields_of(call)
            await self.mount(*self._content(call, lines, is_editing=is_editing))

    def _content(self, call: dict[str, Any], lines: tuple[str, ...], *, is_editing: bool) -> ComposeResult:
        yield Static("\n".join(lines[:-1] if lines[1:] else lines), markup=False, classes="question")
        if is_editing:
            yield Static(lines[-1], markup=False, classes="quiet")
            return
        if call["needs"] == "approval":
            yield Horizontal(
                Button("Allow", id="allow", variant="success", compact=True),
                Button("Edit arguments", id="edit", compact=True),
                Button("Deny", id="deny", variant="error", compact=True),
                Button("Always in this chat", id="always", compact=True),
                classes="buttons",
            )
            yield Static("or type y, n and a reason, e or a below", classes="quiet")
        elif self._fields:
            yield VerticalScroll(*(_FieldRow(field) for field in self._fields), classes="form")
            yield Horizontal(Button("Answer", id="answer", variant="primary", compact=True), classes="buttons")
        elif choices := self._choices(call):
            labels = [clean_line(value if isinstance(value, str) else str(value)) for value in choices]
            yield Horizontal(
                *(Button(label, id=f"choice-{number}", compact=True) for number, label in enumerate(labels)),
                classes="buttons",
            )
            yield Static("or type it below", classes="quiet")
        else:
            yield Static(lines[-1], markup=False, classes="quiet")

    def _choices(self, call: dict[str, Any]) -> list[Any]:
        choices = asking.choices_of(call)
        if not choices and _is_yes_no(call):
            choices = [True, False]
        return choices if len(choices) <= BUTTONS_MAX else []

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        call, pressed = self._call, event.button.id or ""
        if call is None:
            return
        if pressed.startswith("choice-"):
            value = self._choices(call)[int(pressed.removeprefix("choice-"))]
            self.post_message(self.Decided(call, asking.Answer(value)))
        elif pressed == "answer":
            texts = {row.field.name: row.text for row in self.query(_FieldRow)}
            self.post_message(self.Decided(call, answer_of(self._fields, texts)))
        elif pressed == "deny":
            self.post_message(self.DenyWanted(call))
        else:
            decisions = {"allow": "y", "always": "a", "edit": "e"}
            decision = asking.decide(call, decisions[pressed])
            assert decision is not None, "these words are decisions about an approval"
            self.post_message(self.Decided(call, decision))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a field answers."""
        event.stop()
        self.query_one("#answer", Button).press()


class _FieldRow(Horizontal):
    """A field with its label."""

    def __init__(self, field: Field) -> None:
        super().__init__(classes="field")
        self.field = field

    def compose(self) -> ComposeResult:
        needed = " *" if self.field.is_required and self.field.kind is not FieldKind.YES_NO else ""
        yield Label(self.field.label + needed, markup=False)
        match self.field.kind:
            case FieldKind.YES_NO:
                yield Checkbox(value=self.field.initial == "yes", compact=True)
            case FieldKind.CHOICE:
                texts = [choice if isinstance(choice, str) else str(choice) for choice in self.field.choices]
                options = [(clean_line(text), str(number)) for number, text in enumerate(texts)]
                yield Select[str](options, prompt="Choose", compact=True)
            case kind:
                yield Input(self.field.initial, placeholder=str(kind), compact=True)

    @property
    def text(self) -> str:
        """What is filled in, as `question_form.answer_of` takes it."""
        match self.field.kind:
            case FieldKind.YES_NO:
                return "yes" if self.query_one(Checkbox).value else ""
            case FieldKind.CHOICE:
                chosen = self.query_one(Select).value
                if not isinstance(chosen, str):
                    return ""
                return _choice_text(self.field.choices[int(chosen)])
        return self.query_one(Input).value


def _choice_text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_yes_no(call: dict[str, Any]) -> bool:
    args = call.get("args")
    schema = args.get("schema") if isinstance(args, dict) else None
    return call["needs"] == "answer" and isinstance(schema, dict) and schema.get("type") == "boolean"
