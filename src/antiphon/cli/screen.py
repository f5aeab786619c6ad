"""Prints a conversation: final text is printed, changing text is drawn below it. If stdout is not a terminal, only
final text is printed, as plain text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from antiphon.cli.transcript import Kind, Piece

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

TAIL_CHARACTERS_MAX = 8_000
"""Maximum length of an unfinished block that is drawn as Markdown, in characters. A longer one is drawn as plain
text, because it would be parsed again for each frame."""
LINES_RESERVED = 6
"""Lines of the terminal that are reserved for the text below the answer."""
QUEUE_SHOWN_MAX = 5
"""Maximum number of queued messages that are shown."""


class Screen(Protocol):
    """The output of a conversation."""

    def print(self, pieces: Iterable[Piece]) -> None:
        """Print final text. The changing text disappears until the next `draw`."""
        ...

    def draw(self, tail: str, *, activity: str, waiting: list[str], prompt: tuple[str, int] | None) -> None:
        """Draw the changing text: the unfinished end of the answer, the current activity, the queued messages, and
        the input line with its cursor (None: there is no input line)."""
        ...

    def close(self) -> None: ...


def open_screen(*, with_users: bool) -> Screen:
    """The screen for stdout. `with_users`: print the person's own messages too."""
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
    """Uses rich: Markdown for answers, and a few lines below that are redrawn."""

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
            self._live.update("", refresh=True)  # otherwise rich redraws the text that is now printed
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
    """The changing text, cut to the height of the terminal: the end of the answer is shown."""

    def __init__(self, make: Callable[[], tuple[object | None, list[Text]]]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        answer, below = self._make()
        if answer is not None:
            lines = console.render_lines(answer, options, pad=False)  # type: ignore[arg-type]
            for line in lines[-max(console.height - LINES_RESERVED, 3) :]:
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
        yield f"  queued: {text}"
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

    return Markdown(text, hyperlinks=False)  # addresses are shown, not hidden behind link text
