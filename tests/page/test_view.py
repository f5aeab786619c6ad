"""The pure modules of the web UI are tested in JavaScript, by node's test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from programs import needs_program, program

TESTS = sorted(Path(__file__).parent.glob("*_test.mjs"))


@needs_program("node")
@pytest.mark.parametrize("tests", TESTS, ids=lambda path: path.stem)
def test_the_folds_of_the_web_ui_pass_their_tests(tests: Path) -> None:
    node = program("node")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
