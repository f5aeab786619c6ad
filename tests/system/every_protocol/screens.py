"""The clients with a screen: the web UI in a browser, and the conversation of `antiphon attach` in a terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyte
from playwright.async_api import async_playwright

from cli.terminals import Terminal
from page.chromium import launch_options
from page.visit import NO_SERVER, Tab, Visit
from support.waiting import DEADLINE_S

from .transcript import Said, joined, words

COLUMNS, LINES = 150, 60
"""A terminal that shows the whole conversation."""
FRAME_S = 0.05
PROMPT = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "
ANSWER = re.compile(r"(c\d+t\d+ ?)+")
PREVIEW = "elements => elements.map(element => element.querySelector('.markdown')?.textContent ?? '').join('')"


class Page:
    """The web UI, open at the chat."""

    name = "web UI"
    is_exact = False

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def said(self) -> Said:
        shown = [(role, f"{text} ") for _, role, text in await self._tab.shown()]
        return words(joined([*shown, ("assistant", await self._tab.preview.evaluate_all(PREVIEW))]))


@asynccontextmanager
async def open_page(url: str, token: str, chat_id: str) -> AsyncIterator[Page]:
    """At the end the browser must have had nothing to complain of but the absence of the server."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(**launch_options())
        visit = Visit(await browser.new_context(), url, token)
        visit.expected.append(NO_SERVER)
        yield Page(await visit.open(chat_id))
        await browser.close()
        visit.check()


class AttachedTerminal:
    """A conversation in a terminal: what its screen shows."""

    name = "terminal"
    is_exact = False

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._fed = 0

    async def said(self) -> Said:
        raw = self._terminal.raw
        self._stream.feed(raw[self._fed :])
        self._fed = len(raw)
        return words(joined(self._pieces()))

    def _pieces(self) -> Iterator[tuple[str, str]]:
        """The typed messages and the lines of answers, without the notes between them."""
        for line in map(str.rstrip, self._screen.display):
            if line.startswith(PROMPT):
                yield "user", line.removeprefix(PROMPT)
            elif ANSWER.fullmatch(line):
                yield "assistant", f"{line} "

    async def read(self) -> None:
        """Read what it prints, until it has ended."""
        while self._terminal.process.poll() is None:
            self._terminal.read_available()
            await asyncio.sleep(FRAME_S)


@asynccontextmanager
async def open_terminal(folder: Path, chat_id: str) -> AsyncIterator[AttachedTerminal]:
    """It is left with Ctrl-D."""
    size = {"columns": COLUMNS, "lines": LINES}
    with Terminal(folder, "attach", chat_id, **size, XDG_RUNTIME_DIR=str(folder)) as terminal:
        attached = AttachedTerminal(terminal)
        reading = asyncio.create_task(attached.read())
        yield attached
        terminal.type("\x04")
        async with asyncio.timeout(DEADLINE_S):
            await reading
        assert terminal.process.poll() == 0
