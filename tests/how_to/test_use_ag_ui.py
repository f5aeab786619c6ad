"""The program of the page, and the example, run as they stand there with the npm package `@ag-ui/client`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.api.agui.protocol import ROUTES
from client.servers import ServerProcess

from .node import FOLDER, node, node_marks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "use-ag-ui.md"
EXAMPLE = ROOT / "examples" / "agui" / "chat.mjs"
pytestmark = node_marks()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("agui")
    (folder / "asking.py").write_text("from antiphon import Agent, ask_person\nagent = Agent(tools=[ask_person])\n")
    started = ServerProcess(folder / ".antiphon", f"{folder / 'asking.py'}:agent", "--drain-s", "0")
    yield started
    assert started.stop() == 0


def run(program: str, folder: Path, server: ServerProcess, *arguments: str, typed: str = "") -> str:
    """What a program of Node prints."""
    (folder / "program.mjs").write_text(program)
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    env = os.environ | {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}
    command = [node(), "program.mjs", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=env, input=typed, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_program_runs_as_typed(server: ServerProcess, tmp_path: Path) -> None:
    (program,) = re.findall(r"^```js\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    length = len("".join(f"w{n} " for n in range(1, 201)))
    assert run(program, tmp_path, server) == f"{length} 2\n"


def test_the_example_chats_asks_and_loads_its_thread(server: ServerProcess, tmp_path: Path) -> None:
    typed = '/say a\n/call ask_person {"question": "Which?"}\nthis one\n'
    printed = run(EXAMPLE.read_text(), tmp_path, server, "thread", typed=typed)
    assert printed.startswith(
        'a\n[ask_person {"question":"Which?"}]\nWhich? (an answer; an empty line cancels) = this one\n'
    )
    again = tmp_path / "again"
    again.mkdir()
    printed = run(EXAMPLE.read_text(), again, server, "thread", typed="")
    assert printed.startswith("user: /say a\nassistant: a\nuser: /call")
    assert "tool: this one\n" in printed


def test_the_page_names_every_route() -> None:
    page = PAGE.read_text()
    for operation in ROUTES:
        assert f"`{operation.method} {operation.full_path}`" in page, operation.full_path
