"""The keys of the input line, through prompt_toolkit's own parser, without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from antiphon.cli.conversation.completion import Choice, TalkCompleter
from antiphon.cli.conversation.prompt_screen import Below, PromptScreen
from antiphon.cli.transcript import Kind, Piece
from support.waiting import wait_until

pytestmark = pytest.mark.anyio


class Listener:
    """Notes what the person does. Lines with `refused` are not accepted."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def on_line(self, text: str) -> bool:
        self.done.append(text)
        return "refused" not in text

    def on_stop(self) -> None:
        self.done.append("<stop>")

    def on_leave(self) -> None:
        self.done.append("<leave>")

    def on_clear(self, *, was_empty: bool) -> None:
        self.done.append("<clear empty>" if was_empty else "<clear>")

    def on_cycle(self) -> None:
        self.done.append("<cycle>")

    def on_thoughts(self) -> None:
        self.done.append("<thoughts>")

    def on_result(self) -> None:
        self.done.append("<result>")


async def models() -> list[Choice]:
    return [Choice("fast", "openai:x"), Choice("slow")]


@asynccontextmanager
async def open_screen(folder: Path) -> AsyncIterator[tuple[PromptScreen, Listener, PipeInput]]:
    listener = Listener()
    with create_pipe_input() as typed:
        screen = PromptScreen(
            person=listener,
            below=Below,
            on_frame=lambda: None,
            completer=TalkCompleter({"model": models}, folder),
            history=InMemoryHistory(["of yesterday"]),
            input=typed,
            output=DummyOutput(),
        )
        running = asyncio.create_task(screen.run())
        try:
            yield screen, listener, typed
        finally:
            screen.stop()
            await running


async def test_keys_edit_submit_and_command(tmp_path: Path) -> None:
    async with open_screen(tmp_path) as (screen, listener, typed):
        for keys, expected in [
            ("one\r", ["one"]),
            ("one\ntwo\r", ["one\ntwo"]),
            ("a\x1b\rb\r", ["a\nb"]),
            ("\x1b[200~pasted\r\ntext\x1b[201~ more\r", ["pasted\ntext more"]),
            ("brave world\x1bb\x17new \r", ["new world"]),
            ("  \r\x03", ["<clear>"]),
            ("\x03", ["<clear empty>"]),
            ("typed\x03", ["<clear>"]),
            ("\x04", ["<leave>"]),
            ("x\x1b[D\x04\x04", ["<leave>"]),
            ("\x1b[Z\x14\x0f", ["<cycle>", "<thoughts>", "<result>"]),
            ("\x1b", ["<stop>"]),
            ("\x1b[A\r", ["typed"]),
        ]:
            listener.done.clear()
            typed.send_text(keys)
            await wait_until(lambda: listener.done, what=repr(keys), accept=expected.__eq__)
        typed.send_text("is refused\r")
        await wait_until(lambda: "is refused" in listener.done)
        assert screen.buffer.text == "is refused"


async def test_what_is_typed_survives_what_is_printed(tmp_path: Path) -> None:
    async with open_screen(tmp_path) as (screen, listener, typed):
        for number in range(50):
            typed.send_text(f"{number},")
            screen.print([Piece(Kind.ANSWER, f"block {number}\n\n")])
            screen.draw_frame()
            await asyncio.sleep(0)
        typed.send_text("\r")
        await wait_until(lambda: listener.done)
    assert listener.done == ["".join(f"{number}," for number in range(50))]


async def test_commands_files_and_models_are_completed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "a b.txt").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "bad\x1bname").touch()
    (tmp_path / "sub").mkdir()
    completer = TalkCompleter({"model": models}, tmp_path)

    async def completed(text: str) -> list[str]:
        found = completer.get_completions_async(Document(text), None)  # type: ignore[arg-type]
        return [text[: len(text) + item.start_position] + item.text async for item in found]

    assert await completed("/mo") == ["/model "]
    assert await completed("/model f") == ["/model fast"]
    assert await completed("/model OPENAI") == ["/model fast"]
    assert await completed("see @") == ['see @"a b.txt"', "see @notes.txt", "see @sub/"]
    assert await completed("see @.h") == ["see @.hidden"]
    assert await completed('@"a') == ['@"a b.txt"']
    assert await completed("me@no") == []
    assert await completed("an ordinary text") == []
