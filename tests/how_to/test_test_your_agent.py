"""Every test file on the page passes as it is written there, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-agent.md"
FILES = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SHOWN = ("model_server", "clock", "ids", "bus", "checker", "store_suite", "bus_suite")


@pytest.mark.parametrize(("name", "code"), FILES, ids=[name for name, _ in FILES])
def test_the_example_passes(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / name).write_text(code)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_page_shows_every_part_of_the_package() -> None:
    shown = "".join(code for _, code in FILES)
    assert [name for name in SHOWN if f"antiphon.testing.{name}" not in shown] == []
