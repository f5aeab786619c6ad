"""Printing a conversation: what is final goes up the terminal, what changes is drawn below it. Where stdout is no
terminal only what is final is printed, as plain text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from antiphon.cli.transcript import Kind, Piece

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

TAIL_CHARACTERS_MAX = 8_000
"""A longer block that is still growing is drawn as plain text: parsing it anew for each frame costs too much."""
LINES_KEPT = 6
"""Of the terminal's height, for what is below the answer."""
QUEUE_SHOWN_MAX = 5


class Screen(Protocol):
    """Where a conversation is shown."""

    def print(self, pieces: Iterable[Piece]) -> None:
        """Print for good. What changes is not shown any more until it is drawn again."""
        ...

    def draw(self, tail: str, *, activity: str, waiting: list[str], prompt: tuple[str, int] | None) -> None:
        """Show what changes: the answer's unfinished rest, what is going on, what waits, the typed line and the
        cursor in it (None: no line is typed here)."""
        ...

    def close(self) -> None: ...


def open_screen(*, with_users: bool) -> Screen:
    """The screen that fits stdout. `with_users`: the person's own messages are printed, too."""
    return TerminalScreen(with_users=with_users) if sys.stdout.isatty() else PlainScreen()


class PlainScreen:
    """Answers only, as they are committed; failures go to stderr."""

    def print(self, pieces: Iterable[Piece]) -> None:
        for kind, text in pieces:
            if kind is Kind.ANSWER:
                sys.stdout.write(text.rstrip("\n") + "\n")
                sys.stdout.flush()
            elif kind is Kind.ERROR:
                sys.stderr.write(text + "\n")

    def draw(self, tail: str, *, activity: str, waiting: list[str], prompt: tuple[str, int] | None) -> None:
        pass

    def close(self) -> None:
        pass


class TerminalScreen:
    """By rich: Markdown for answers, a few lines below that are drawn anew."""

    def __init__(self, *, with_users: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._with_users = with_users
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._drawn: object = None
        self._live.start()

    def print(self, pieces: Iterable[Piece]) -> None:
        pieces = list(pieces)
        if pieces:
            self._live.update("", refresh=True)  # else rich draws again, below, what is now printed
            self._drawn = None
        for kind, text in pieces:
            self._print(kind, text)

    def _print(self, kind: Kind, text: str) -> None:
        from rich.text import Text

        match kind:
            case Kind.ANSWER:
                self._console.print(_markdown(text))
                self._console.print()
            case Kind.USER:
                if self._with_users:
                    self._console.print(Text(f"› {text}\n", style="bold cyan"))
            case Kind.NOTE:
                self._console.print(Text(text, style="dim"))
            case Kind.ERROR:
                self._console.print(Text(text, style="red"))

    def draw(self, tail: str, *, activity: str, waiting: list[str], prompt: tuple[str, int] | None) -> None:
        shown = (tail, activity, waiting, prompt)
        if shown == self._drawn:
            return
        self._drawn = shown
        self._live.update(_Below(lambda: _lines(tail, activity, waiting, prompt)), refresh=True)

    def close(self) -> None:
        self._live.update("")
        self._live.stop()


class _Below:
    """The changing part, cut to what fits: the end of the answer is what matters."""

    def __init__(self, make: Callable[[], tuple[object | None, list[Text]]]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        answer, below = self._make()
        if answer is not None:
            lines = console.render_lines(answer, options, pad=False)  # type: ignore[arg-type]
            for line in lines[-max(console.height - LINES_KEPT, 3) :]:
                yield from line
                yield Segment.line()
        yield from below


def _lines(
    tail: str, activity: str, waiting: list[str], prompt: tuple[str, int] | None
) -> tuple[object | None, list[Text]]:
    from rich.text import Text

    answer: object | None = None
    if tail.strip():
        is_short = len(tail) <= TAIL_CHARACTERS_MAX
        answer = _markdown(tail) if is_short else Text(tail[-TAIL_CHARACTERS_MAX:])
    below = [Text(f"… {activity}", style="dim", no_wrap=True)] if activity else []
    below += [Text(line, style="dim", no_wrap=True) for line in _waiting(waiting)]
    if prompt is not None:
        below.append(_prompt(*prompt))
    return answer, below


def _waiting(waiting: list[str]) -> Iterator[str]:
    for text in waiting[:QUEUE_SHOWN_MAX]:
        yield f"  waits: {text}"
    if len(waiting) > QUEUE_SHOWN_MAX:
        yield f"  and {len(waiting) - QUEUE_SHOWN_MAX} more"


def _prompt(text: str, cursor: int) -> Text:
    from rich.text import Text

    line = Text("› ", style="bold cyan")
    line.append(text[:cursor], style="default")
    line.append(text[cursor : cursor + 1].strip("\n") or " ", style="reverse")
    line.append(text[cursor + 1 :], style="default")
    return line


def _markdown(text: str) -> object:
    from rich.markdown import Markdown

    return Markdown(text, hyperlinks=False)  # an address is shown, never hidden behind words
