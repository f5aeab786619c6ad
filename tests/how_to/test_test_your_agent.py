"""Every test file on the page passes as it is written there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-agent.md"
FILES = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SHOWN = ("model_server", "clock", "ids", "bus", "checker", "store_suite", "bus_suite")


def test_every_example_passes(tmp_path: Path) -> None:
    for name, code in FILES:
        (tmp_path / name).write_text(code)
    names = [name for name, _ in FILES]
    command = [sys.executable, "-W", "error", "-m", "pytest", "-v", "-W", "error", "-p", "no:cacheprovider", *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name in names if f"{name}::" not in done.stdout] == []


def test_the_page_shows_every_part_of_the_package() -> None:
    shown = "".join(code for _, code in FILES)
    assert [name for name in SHOWN if f"antiphon.testing.{name}" not in shown] == []
