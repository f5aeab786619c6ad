"""Draws the entries of a transcript as lines of a given width, by rich."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from antiphon.cli.answer_markup import STYLES, renderables
from antiphon.cli.cells import fit
from antiphon.cli.tui.entries import Entry, EntryKind

SHOWN_MAX = 20_000
"""Maximum length of an unfolded result, in characters."""
INDENT = 2


class Colours(NamedTuple):
    """The colours of the theme that entries use, as rich names them."""

    accent: str = "cyan"
    error: str = "red"
    success: str = "green"


class EntryLines:
    """`draw` returns the lines of an entry."""

    def __init__(self, colours: Colours) -> None:
        self._colours = colours
        self._console = Console(
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
            theme=STYLES,
        )

    def draw(self, entry: Entry, width: int, *, is_unfolded: bool) -> list[Strip]:
        """The lines, at most `width` cells wide; the first one is empty unless the entry is joined to the last."""
        lines = [] if entry.is_joined else [Strip.blank(0)]
        room = max(width - INDENT, 1)
        match entry.kind:
            case EntryKind.USER:
                lines += self._margin(Text(entry.text, style="bold"), room, "▌ ", Style.parse(self._colours.accent))
            case EntryKind.ANSWER:
                for number, block in enumerate(renderables(entry.text, links=True)):
                    if number:
                        lines.append(Strip.blank(0))
                    lines += self._margin(_wrapped(block), room)
            case EntryKind.PLAIN:
                lines += self._margin(Text(entry.text), room)
            case EntryKind.NOTE:
                lines += self._margin(Text(entry.text, style="dim"), room)
            case EntryKind.ERROR:
                lines += self._margin(Text(entry.text, style=self._colours.error), room)
            case EntryKind.DIFF:
                lines += self._margin(self._diff(entry.text), room)
            case EntryKind.THOUGHT | EntryKind.TOOL:
                lines += self._foldable(entry, room, is_unfolded=is_unfolded)
        return lines

    def _foldable(self, entry: Entry, room: int, *, is_unfolded: bool) -> list[Strip]:
        mark = "▾ " if is_unfolded else "▸ "
        if entry.run is not None:
            line = Text(entry.run.line(max(room, 10)), style=self._colours.error if entry.run.is_error else "")
        else:
            line = Text(fit(entry.head, room), style="dim" if entry.kind is EntryKind.THOUGHT else "")
        lines = self._margin(line, room, mark, Style(dim=True))[:1]
        if is_unfolded:
            for body in self._bodies(entry):
                lines += self._margin(body, max(room - INDENT, 1), "  │ ", Style(dim=True))
        return lines

    def _bodies(self, entry: Entry) -> list[Text]:
        """What an unfolded entry shows: thoughts, or the arguments and the result of a call."""
        if entry.kind is EntryKind.THOUGHT:
            return [Text(entry.text[-SHOWN_MAX:], style="dim italic")]
        bodies = [Text(entry.text[:SHOWN_MAX], style="dim")] if entry.text else []
        if entry.run is None:
            return bodies
        result = entry.run.result
        shown = self._diff(result[:SHOWN_MAX]) if entry.run.diff else Text(result[:SHOWN_MAX] or "(no result text)")
        left = len(result) - SHOWN_MAX
        return [*bodies, shown, *([Text(f"({left:,} more characters)", style="dim")] if left > 0 else [])]

    def _diff(self, text: str) -> Text:
        styles = {"+": self._colours.success, "-": self._colours.error, "@": "dim"}
        shown = Text()
        for line in text.split("\n"):
            shown.append(line + "\n", style=styles.get(line[:1], ""))
        shown.rstrip()
        return shown

    def _margin(
        self, shown: RenderableType, room: int, mark: str = " " * INDENT, style: Style | None = None
    ) -> list[Strip]:
        """The lines of a renderable, each behind a mark."""
        options = self._console.options.update(width=room, height=None)
        lines = self._console.render_lines(shown, options, pad=False)
        return [
            Strip([Segment(mark, style), *(Segment(part.text, _plain_background(part.style)) for part in line)])
            for line in lines
        ]


@lru_cache(maxsize=1024)
def _plain_background(style: Style | None) -> Style | None:
    """The style without a background: the default one of a terminal is not that of the theme."""
    if style is None or style.bgcolor is None:
        return style
    return Style(
        color=style.color,
        bold=style.bold,
        dim=style.dim,
        italic=style.italic,
        underline=style.underline,
        strike=style.strike,
        reverse=style.reverse,
        link=style.link,
    )


def _wrapped(block: RenderableType) -> RenderableType:
    """Long lines of code are wrapped, because a screen cannot be scrolled to the side."""
    if isinstance(block, Text):
        block.no_wrap, block.overflow = False, "fold"
    return block


def estimated_height(entry: Entry, width: int, *, is_unfolded: bool) -> int:
    """About how many lines an entry has, without drawing it."""
    above = 0 if entry.is_joined else 1
    if entry.is_foldable and not is_unfolded:
        return above + 1
    room = max(width - INDENT, 1)
    return above + sum(1 + len(line) // room for line in entry.text.split("\n"))
