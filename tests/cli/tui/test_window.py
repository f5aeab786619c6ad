"""`antiphon tui` on a real server, driven by keys and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client import AsyncClient
from client.servers import ServerProcess, script
from support.waiting import wait_until

from .windows import open_window

pytestmark = pytest.mark.anyio

APP = '''
from antiphon import Agent, tool

@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b

@tool
def change() -> str:
    """Change a file."""
    return "--- a/x.py\\n+++ b/x.py\\n@@ -1 +1 @@\\n-old\\n+new\\n"

@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"

agent = Agent(tools=[add, change, pay])
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("window")
    (directory / "app.py").write_text(APP)
    return directory


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(home / ".antiphon", str(home / "app.py") + ":agent", "--drain-s", "0")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other server of this machine is listed."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.chdir(tmp_path)


async def test_an_answer_with_tools_thoughts_and_markdown_is_shown_and_unfolds(
    server: ServerProcess, tmp_path: Path
) -> None:
    async with open_window(tmp_path, server.data) as window:
        await window.shows("Type a message below", "connected", "No chats yet")
        await window.send(script("/think Let me see", "/say **Hello** \x1b[31mthere", '/call add {"a": 1, "b": 2}'))
        shown = await window.shows("▸ add(1, 2) → 3", "Hello there", "▸ Thought", "demo model")
        assert "Let me see" not in shown.split("▸ Thought")[1]
        await window.press("ctrl+t")
        await window.shows("│ Let me see")
        await window.press("ctrl+o")
        await window.shows('│   "b": 2', "│ 3")
        await window.press("ctrl+o")
        await window.shows_no('│   "b": 2')
        await window.answered()
        await window.send("/call change {}")
        await window.shows("▸ change() → a diff, +1 −1")
        await window.press("f1")
        await window.shows("send; Alt+Enter or Ctrl+J begins a new line")
        await window.send("/retry")
        await window.until(lambda: window.talk.chat.turn_id is None)
        await window.send("/fail invalid_request")
        await window.shows("The answer failed:", "/retry tries it again")
        window.app.action_switch_theme()
        assert (tmp_path / "theme").read_text() == "antiphon-light"
