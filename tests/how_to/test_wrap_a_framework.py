"""The page's program is killed while the framework's tool runs, and started again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_until_sync

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "wrap-a-framework.md"
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
"""The programs of the page, by file name. tests/adapters/test_examples.py runs those of the adapters."""


def start(folder: Path, agent: str, seconds: int) -> subprocess.Popen[bytes]:
    (folder / "shop.py").write_text(FILES["shop.py"])
    command = [sys.executable, "-W", "error", "shop.py", agent, str(seconds)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize(("agent", "charges"), [("inside", 2), ("recorded", 1)])
def test_a_tool_that_a_framework_runs_itself_runs_twice_and_with_turn_call_once(
    tmp_path: Path, agent: str, charges: int
) -> None:
    written = tmp_path / "charges.txt"
    killed = start(tmp_path, agent, 600)
    try:
        wait_until_sync(lambda: written.exists() and written.read_text(), what="the card is charged")
    finally:
        killed.kill()
        killed.communicate()
    again = start(tmp_path, agent, 0)
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0, output.decode()
    assert written.read_text() == "order 7\n" * charges


def test_the_first_paragraph_says_so_and_names_the_way_out() -> None:
    first = PAGE.read_text().split("\n\n")[1]
    for words in ("kill -9", "run twice", "turn.call", "idempotent"):
        assert words in first
