"""Prints an answer: final text is printed, changing text is drawn below it. If stdout is not a terminal, only final
text is printed, as plain text."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from antiphon.cli.transcript import Kind, Piece

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

TAIL_CHARACTERS_MAX = 4_000
"""Maximum length of an unfinished block that is drawn as Markdown, in characters. A longer one is drawn as plain
text, because it would be parsed again for each frame."""
LINES_RESERVED = 6
"""Lines of the terminal that are reserved for the text below the answer."""


class Screen(Protocol):
    """The output of a command that prints one answer."""

    def print(self, pieces: Iterable[Piece]) -> None:
        """Print final text. The changing text disappears until the next `draw`."""
        ...

    def draw(self, tail: str, *, activity: str) -> None:
        """Draw the changing text: the unfinished end of the answer, and the current activity."""
        ...

    def close(self) -> None: ...


def is_rich_terminal() -> bool:
    """Whether stdout is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def open_screen() -> Screen:
    """The screen for stdout."""
    return TerminalScreen() if is_rich_terminal() else PlainScreen()


class PlainScreen:
    """Answers only, as they are committed; failures go to stderr."""

    def print(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.kind is Kind.ANSWER:
                sys.stdout.write(piece.text.rstrip("\n") + "\n")
                sys.stdout.flush()
            elif piece.kind is Kind.ERROR:
                sys.stderr.write(piece.text + "\n")

    def draw(self, tail: str, *, activity: str) -> None:
        pass

    def close(self) -> None:
        pass


class TerminalScreen:
    """Uses rich: Markdown for answers, and a few lines below that are redrawn."""

    def __init__(self) -> None:
        from rich.live import Live

        from antiphon.cli.answer_markup import open_console

        self._console = open_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._drawn: object = None
        self._live.start()

    def print(self, pieces: Iterable[Piece]) -> None:
        pieces = list(pieces)
        if pieces:
            self._live.update("", refresh=True)  # otherwise rich redraws the text that is now printed
            self._drawn = None
        for piece in pieces:
            if piece.kind is not Kind.USER:
                print_piece(self._console, piece)

    def draw(self, tail: str, *, activity: str) -> None:
        shown = (tail, activity)
        if shown == self._drawn:
            return
        self._drawn = shown
        self._live.update(_Below(lambda: _lines(tail, activity)), refresh=True)

    def close(self) -> None:
        self._live.update("")
        self._live.stop()


def print_piece(console: Console, piece: Piece) -> None:
    """Print a piece of final text; an empty line follows what a person or a model has written."""
    from rich.text import Text

    from antiphon.cli.answer_markup import code_text, print_markup

    match piece.kind:
        case Kind.ANSWER:
            print_markup(console, piece.text, links=is_rich_terminal())
            console.print()
        case Kind.USER:
            console.print(Text(f"› {piece.text}\n", style="bold cyan"))
        case Kind.NOTE:
            console.print(Text(piece.text, style="dim"))
        case Kind.ERROR:
            console.print(Text(piece.text, style="red"))
        case Kind.TOOL:
            assert piece.run is not None
            style = "red" if piece.run.is_error else "dim"
            console.print(Text("  " + piece.run.line(console.width - 2), style=style, no_wrap=True))
        case Kind.DIFF:
            console.print(code_text(piece.text, "diff"), crop=False, soft_wrap=True)
        case Kind.VERBATIM:
            console.print(Text(piece.text), crop=False, soft_wrap=True)


def tail_renderables(tail: str) -> list[Any]:
    """The unfinished end of an answer, for rich; a long one as plain text."""
    from rich.text import Text

    from antiphon.cli.answer_markup import renderables

    if not tail.strip():
        return []
    if len(tail) > TAIL_CHARACTERS_MAX:
        return [Text(tail[-TAIL_CHARACTERS_MAX:])]
    return renderables(tail, links=False)


class _Below:
    """The changing text, cut to the height of the terminal: the end of the answer is shown."""

    def __init__(self, make: Callable[[], tuple[list[Any], list[Any]]]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        answer, below = self._make()
        lines = [line for part in answer for line in console.render_lines(part, options, pad=False)]
        for line in lines[-max(console.height - LINES_RESERVED, 3) :]:
            yield from line
            yield Segment.line()
        yield from below


def _lines(tail: str, activity: str) -> tuple[list[Any], list[Any]]:
    from rich.text import Text

    below = [Text(f"… {activity}", style="dim", no_wrap=True)] if activity else []
    return tail_renderables(tail), below
