"""`antiphon tui` in a real terminal: tmux, whose screen is captured as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from antiphon.client import Client
from cli.tmux import Tmux
from client.servers import ServerProcess
from programs import needs_program
from support.waiting import wait_until_sync

pytestmark = needs_program("tmux")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tui") / "work"
    directory.mkdir()
    (directory / "run").mkdir(mode=0o700)
    return directory


@pytest.fixture(scope="module")
def tmux(home: Path) -> Iterator[Tmux]:
    made = Tmux(home)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(home / ".antiphon", "--drain-s", "0", env={"XDG_RUNTIME_DIR": str(home / "run")})
    yield running
    running.stop()


def test_a_wide_terminal_shows_the_list_and_a_narrow_one_a_screen_for_it(
    home: Path, tmux: Tmux, server: ServerProcess
) -> None:
    tmux.start("tui", "--theme", "light", columns=120, lines=36, XDG_RUNTIME_DIR=str(home / "run"))
    tmux.wait_for("connected")
    tmux.keys("/think Let me see", "C-j", "/say Good morning", "Enter")
    shown = tmux.wait_for("▸ Thought")
    assert "▾ work" in shown
    assert "^n New ^l Chats" in shown
    for columns, lines in ((80, 24), (40, 20)):
        tmux.resize(columns, lines)
        shown = wait_until_sync(tmux.text, accept=lambda text: "▾ work" not in text and "Good morning" in text)
        assert max(map(cell_len, shown.splitlines())) <= columns
        tmux.keys("C-l")
        wait_until_sync(tmux.text, accept=lambda text: "  /think Let me see" in text and "Good morning" not in text)
        tmux.keys("Escape")
        tmux.wait_for("Good morning")
    tmux.keys("a line", "C-j", "and another")
    tmux.wait_for("and another")
    tmux.keys("C-q")
    assert "To continue this chat: antiphon tui --ch" in tmux.wait_for("exit code 0")


def test_no_color_and_a_pipe_are_respected(home: Path, tmux: Tmux, server: ServerProcess) -> None:
    with Client(server.url, server.token) as client:
        chat = client.create_chat("/say Good evening")
    place = str(home / "run")
    tmux.start("tui", "--chat", chat["id"][:8], columns=60, lines=20, NO_COLOR="1", XDG_RUNTIME_DIR=place)
    tmux.wait_for("  Good evening")
    colours = re.findall(r"\x1b\[[\d;]*38;2;(\d+);(\d+);(\d+)m", tmux.text("-e"))
    assert all(red == green == blue for red, green, blue in colours)
    tmux.keys("C-q")
    tmux.wait_for("exit code 0")
