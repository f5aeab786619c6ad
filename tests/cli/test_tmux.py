"""The conversation in a real terminal: tmux, whose screen is captured as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from antiphon.client import Client
from client.servers import ServerProcess, script
from programs import needs_program
from support.ports import free_port
from support.waiting import wait_until_sync

from .tmux import Tmux

pytestmark = needs_program("tmux")

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

@tool
def count() -> str:
    """Count."""
    return "\\n".join(f"line {number}" for number in range(100))

agent = Agent(tools=[add, change, count])
'''
CODE = ["```python", "for number in range(3):", "    print(number)", "```"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tmux")
    (directory / "app.py").write_text(APP)
    (directory / "notes.txt").write_text("some notes")
    return directory


@pytest.fixture(scope="module")
def tmux(home: Path) -> Iterator[Tmux]:
    made = Tmux(home)
    yield made
    made.stop()


def start_server(home: Path, port: int) -> ServerProcess:
    return ServerProcess(home / ".antiphon", str(home / "app.py") + ":agent", "--drain-s", "0", port=port)


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = start_server(home, 0)
    yield running
    running.stop()


def test_a_conversation_reads_well_in_80_columns(home: Path, tmux: Tmux, server: ServerProcess) -> None:
    tmux.start("chat", "--title", "eighty")
    tmux.wait_for("connected")
    tmux.keys("/say see @missing/notes.txt", "Enter")
    tmux.wait_for("@missing/notes.txt: there is no such file")
    tmux.keys("C-w", "@no")
    tmux.wait_for("\n notes.txt")
    tmux.keys("Tab")
    tmux.wait_for("› /say see @notes.txt")
    tmux.keys("Enter")
    tmux.wait_for("[file notes.txt, 10 B]")
    with Client(server.url, server.token) as client:
        chat_id = wait_until_sync(lambda: client.chats(title="eighty")["chats"])[0]["id"]
        calls = ['/call add {"a": 1, "b": 2}', "/call change {}", "/call count {}"]
        client.send(chat_id, script("/think Let me see", *calls))
        client.send(chat_id, "\n".join(["Some prose, said again:", *CODE]))
        shown = tmux.wait_for("print(number)")
        assert re.search(r"^Thought for a moment$", shown, re.MULTILINE)
        assert re.search(r"^  add\(1, 2\) → 3  \d+\.\d s$", shown, re.MULTILINE)
        assert re.search(r"^  change\(\) → a diff, \+1 −1  \d+\.\d s\n--- a/x.py\n", shown, re.MULTILINE)
        assert re.search(r"^  count\(\) → line 0 … \(100 lines\)  \d+\.\d s$", shown, re.MULTILINE)
        assert "\x1b[32m+new" in tmux.text("-e") or "\x1b[92m+new" in tmux.text("-e")
        tmux.keys("C-o")
        assert "\nline 57\n" in tmux.wait_for("\nline 99\n")
        tmux.keys("C-t")
        tmux.wait_for("\nLet me see\n")
        tmux.keys("/edit", "Enter")
        tmux.wait_for("edit › Some prose")
        tmux.keys("Escape")
        wait_until_sync(lambda: "edit ›" not in tmux.text(), what="the edit is left")
        tmux.keys("/chats", "Enter")
        tmux.wait_for(f"  1  {chat_id[:8]}  waiting          eighty")
        tmux.keys("C-d")
        tmux.wait_for(f"antiphon chat --chat {chat_id}")
        assert [part["type"] for part in client.messages(chat_id)["messages"][0]["content"]] == [
            "text",
            "file-reference",
        ]


def test_forty_columns_and_a_resize_lose_nothing(tmux: Tmux, server: ServerProcess) -> None:
    tmux.start("chat", columns=40, lines=20, NO_COLOR="1")
    tmux.wait_for("connected")
    tmux.keys("/rate 40", "C-j", "/tokens 2000", "Enter")
    tmux.wait_for("w30")
    tmux.keys("typed in a narrow terminal, longer than one line of it")
    tmux.wait_for("typed in a narrow terminal")
    tmux.resize(70, 20)
    tmux.wait_for("› typed in a narrow terminal, longer than one line of it")
    tmux.resize(40, 20)
    tmux.keys("Enter")
    shown = tmux.wait_for("waiting: typed in a narrow terminal")
    assert max(map(cell_len, shown.splitlines())) <= 40
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", tmux.text("-e"))
    tmux.keys("BTab")
    tmux.wait_for("Esc stops")
    tmux.keys("/stop all", "Enter")
    tmux.wait_for("removed 1 waiting")
    tmux.wait_for("(interrupted)")
    tmux.keys("Up", "Up")
    tmux.wait_for("› typed in a narrow terminal")
    tmux.keys("C-c", "/quit", "Enter")
    tmux.wait_for("To continue this chat")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lists_fit_the_terminal(tmux: Tmux, server: ServerProcess, columns: int) -> None:
    with Client(server.url, server.token) as client:
        client.create_chat(title="日本語のとても長い題名 👩‍👩‍👧 and a long English one behind it " * 3)
    for verb in ("ls", "ps"):
        tmux.start(verb, columns=columns, lines=50)
        shown = tmux.wait_for("exit code 0")
        assert max(map(cell_len, shown.splitlines())) <= columns
        joined = tmux.text("-J")  # a wrapped line would be joined to a longer one
        assert max(map(cell_len, joined.splitlines())) <= columns
        assert server.instance_id[:8] in shown if verb == "ps" else "now  " in shown


def test_a_server_that_is_killed_and_restarted_loses_neither_the_answer_nor_what_is_typed(
    tmp_path: Path, tmux: Tmux
) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    first = start_server(tmp_path, port)
    tmux.start("chat", "--data", str(tmp_path / ".antiphon"))
    tmux.wait_for("connected")
    tmux.keys("/rate 30", "C-j", "/tokens 90", "Enter")
    tmux.wait_for("w20")
    first.kill()
    tmux.wait_for("the server has not responded for")
    tmux.keys("typed while it was away", "Enter")
    tmux.wait_for("not sent yet: typed while it was away")
    tmux.keys("half a li")
    tmux.wait_for("› half a li")
    second = start_server(tmp_path, port)
    shown = tmux.wait_for("You sent 5 words")
    assert shown.count("› typed while it was away") == 1
    assert [int(number) for number in re.findall(r"\bw(\d+)\b", shown)][-90:] == list(range(1, 91))
    tmux.keys("ne", "C-u", "/quit", "Enter")
    tmux.wait_for("To continue this chat")
    second.stop()
