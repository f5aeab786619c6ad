"""Markdown of a model for a terminal, by rich: calm, and so that code copies clean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console
from rich.markdown import Heading, Markdown
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from antiphon.cli.code_blocks import split_code

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import ConsoleOptions, RenderResult

SAFE_LINK = re.compile(r"(https?://|mailto:)[\x21-\x7e]{1,2000}\Z", re.IGNORECASE)
"""Addresses that become links of the terminal. Any other is printed as text only."""
HIGHLIGHTED_MAX = 50_000
"""Maximum length of code that is highlighted, in characters. Longer code is printed plain."""
MARKUP_MAX = 30_000
"""Maximum length of a block that is printed as Markdown, in characters. A longer one is printed plain, because
rich would need seconds for it."""
THEME = "ansi_dark"
"""Only the terminal's own colours, so that code can be read on a light background, too."""

STYLES = Theme({"markdown.code": "cyan", "markdown.h1": "bold underline", "markdown.link": "underline",
                "markdown.link_url": "underline"})  # fmt: skip
"""Styles without a background, so that selected text is only the text."""

_TRAILING = re.compile(r"[ \t]+((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


def open_console() -> Console:
    """A console for stdout that prints text as it is, in the colours that the terminal and `NO_COLOR` allow."""
    return Console(highlight=False, markup=False, emoji=False, theme=STYLES)


class _PlainHeading(Heading):
    """A heading at the left margin, without a frame."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        self.text.stylize("bold")
        yield self.text


class AnswerMarkdown(Markdown):
    """Markdown whose links show their address; with `links` the safe ones can be opened from the terminal."""

    elements: ClassVar[Any] = {**Markdown.elements, "heading_open": _PlainHeading}

    def __init__(self, markup: str, *, links: bool) -> None:
        super().__init__(markup, code_theme=THEME, hyperlinks=True, justify="left")
        for token in self.parsed:
            if token.children:
                token.children = list(_with_addresses(token.children, links=links))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Without the empty line that rich puts before a list or a quotation, also where nothing is above it."""
        parts = iter(super().__rich_console__(console, options))
        first = next(parts, None)
        if first is not None and first != Segment.line():
            yield first
        yield from parts


def _with_addresses(tokens: Iterable[Token], *, links: bool) -> Iterable[Token]:
    """The tokens of a line: the address follows the text of a link, images become text, unsafe links are text."""
    shown, address, is_link = "", "", False
    for token in tokens:
        if token.type == "link_open":
            shown, address = "", str(token.attrs.get("href", ""))
            is_link = links and SAFE_LINK.match(address) is not None
            if is_link:
                yield token
            continue
        if token.type == "link_close":
            if address and shown.strip() not in (address, address.removeprefix("mailto:")):
                yield _text(f" ({address})")
            if is_link:
                yield token
            is_link = False
            continue
        if token.type == "image":
            yield _text(f"[image: {token.content or 'without a description'}] ({token.attrs.get('src', '')})")
            continue
        shown += token.content
        yield token


def _text(content: str) -> Token:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)


def renderables(markup: str, *, links: bool) -> list[Any]:
    """What rich prints for a Markdown text, block by block. Code is one `Text` that does not wrap."""
    return [
        AnswerMarkdown(block.text, links=links) if block.language is None else code_text(block.text, block.language)
        for block in split_code(markup)
    ]


def code_text(code: str, language: str) -> Text:
    """Highlighted code; what the terminal gets is the code and colours, nothing else."""
    if not language or len(code) > HIGHLIGHTED_MAX:
        return Text(code, style="default" if language else "cyan", no_wrap=True, overflow="ignore")
    text = Syntax("", language, theme=THEME, background_color="default").highlight(code)
    text.rstrip()
    text.no_wrap, text.overflow = True, "ignore"
    return text


def print_markup(console: Console, markup: str, *, links: bool) -> None:
    """Print a Markdown text, with an empty line between its blocks. Code is not wrapped or cut by rich."""
    if len(markup) > MARKUP_MAX:
        console.print(Text(markup), soft_wrap=True)
        return
    for number, block in enumerate(renderables(markup, links=links)):
        if number:
            console.print()
        console.print(block, crop=not isinstance(block, Text), soft_wrap=isinstance(block, Text))


def without_trailing_spaces(ansi: str) -> str:
    """The same text without spaces at the ends of its lines, with which rich fills them."""
    return _TRAILING.sub(r"\1", ansi)
