"""The full-screen terminal as a test drives it: keys and clicks go in, and the screen is read as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prompt_toolkit.history import InMemoryHistory
from textual.pilot import Pilot

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.tui.app import AntiphonTui
from antiphon.cli.tui.themes import ThemeFile
from support.waiting import wait_until


class Window:
    """A running application with its pilot."""

    def __init__(self, app: AntiphonTui, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """The screen, line by line."""
        update = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in update)

    async def shows(self, *texts: str) -> str:
        for text in texts:
            await self.until(lambda text=text: text in self.text, f"{text!r} is shown")
        return self.text

    async def shows_no(self, text: str) -> None:
        await self.until(lambda: text not in self.text, f"{text!r} is not shown")

    async def send(self, text: str) -> None:
        """Submit a text in the composer."""
        await self.type(text)
        await self.press("enter")

    async def type(self, text: str) -> None:
        self.app.pane.composer.focus()
        self.app.pane.composer.insert(text)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def click(self, selector: str) -> None:
        await wait_until(lambda: self.app.screen.query(selector), what=f"{selector} is there")
        await self.pilot.pause()
        await self.pilot.click(selector)

    async def answered(self) -> None:
        await wait_until(
            lambda: (
                self.talk.chat.chat_id and not self.talk.chat.transcript.is_busy and not self.talk.chat.outgoing.texts
            ),
            what="the answer is complete",
        )

    async def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        try:
            return await wait_until(condition, what, deadline_s=20)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    @property
    def talk(self) -> Any:
        assert self.app.talk is not None
        return self.app.talk

    @property
    def chat_id(self) -> str:
        return str(self.talk.chat.chat_id)


@asynccontextmanager
async def open_window(
    folder: Path, *data: Path, size: tuple[int, int] = (120, 36), which: str | None = None, **options: Any
) -> AsyncIterator[Window]:
    """A window with the servers of these data directories."""
    app = AntiphonTui(
        history=InMemoryHistory(),
        theme_file=ThemeFile(folder / "theme"),
        options=ChatOptions(**options),
        which=which,
    )
    for one in data:
        app.servers.add_data(one)
    async with app.run_test(size=size) as pilot:
        window = Window(app, pilot)
        await wait_until(lambda: app.talk, what="the first server is connected")
        yield window
