"""What the commands of a conversation do."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len

from antiphon.cli.cells import fit, pad, wrap
from antiphon.cli.clean import clean_line
from antiphon.cli.conversation.action_group import (
    RESULT_SHOWN_MAX,
)
from antiphon.cli.conversation.answer_actions import AnswerActions
from antiphon.cli.conversation.chat_actions import ChatActions
from antiphon.cli.conversation.commands import Typed, help_lines
from antiphon.cli.conversation.typed_number import typed_number
from antiphon.cli.size_text import size_text
from antiphon.cli.transcript import Kind, Piece

HELP_COLUMN = 26
"""Width of the first column of the help, in cells."""


class Actions(ChatActions, AnswerActions):
    """`run` executes a command."""

    def run(self, typed: Typed) -> bool:
        """Returns whether the line is accepted; otherwise its text stays."""
        command: Callable[[str], bool | None] = getattr(self, f"_{typed.name}")
        return command(typed.argument) is not False

    def _help(self, _: str) -> None:
        self._talk.note(help_text(self._talk.screen.width))

    def _quit(self, _: str) -> None:
        self._talk.leave()

    def _bell(self, _: str) -> None:
        self._talk.rings = not self._talk.rings
        self._talk.note(f"(the bell rings when an answer is ready: {'yes' if self._talk.rings else 'no'})")

    def _thoughts(self, _: str) -> None:
        thoughts = self._talk.chat.transcript.thoughts.latest
        self._show(thoughts, "There are no thoughts: the model has shown none in this conversation.")

    def _result(self, argument: str) -> bool | None:
        runs = self._talk.chat.transcript.runs
        number = typed_number(argument or "1", max(len(runs), 1))
        if not number:
            return self._refuse(f"/result takes a number from 1 to {max(len(runs), 1)}; 1 is the last result.")
        if not runs:
            return self._refuse("No tool was called in this conversation.", keeps=False)
        run = runs[-number]
        self._talk.note(f"{run.call}:")
        if run.diff and len(run.result) <= RESULT_SHOWN_MAX:
            self._talk.screen.print([Piece(Kind.DIFF, run.result)])
        else:
            self._show(run.result, "(the result is empty)")
        return None

    def _files(self, _: str) -> None:
        parts = [
            part
            for message in self._talk.chat.transcript.view.messages
            for part in message.get("content", ())
            if part.get("type") == "file-reference" and part.get("file_id")
        ]
        lines = [f"{size_text(part.get('size', 0)):>10}  {clean_line(part.get('file_name', ''))}" for part in parts]
        self._talk.note(
            "\n".join(lines) or "This chat has no files. Name one in a message with @, such as @notes.txt."
        )


def help_text(width: int) -> str:
    """The commands and keys; on a narrow terminal each explanation is below its name."""
    lines: list[str] = []
    for name, text in help_lines():
        if width < 2 * HELP_COLUMN:
            lines += [fit(name, width), *("  " + line for line in wrap(text, width - 2))]
            continue
        first, *others = wrap(text, width - HELP_COLUMN)
        is_short = cell_len(name) < HELP_COLUMN
        lines += [pad(name, HELP_COLUMN) + first] if is_short else [name, " " * HELP_COLUMN + first]
        lines += [" " * HELP_COLUMN + line for line in others]
    return "\n".join(lines)
