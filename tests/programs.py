"""Programs that only the system can give: where one is missing its tests are skipped, in CI they fail.

CI (the environment variable `CI` is `1` or `true`) skips nothing: see `pytest_runtest_makereport` in conftest.py.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PRIVILEGES = "privileges are missing: "
"""How the reason of a skip begins where only another kind of machine could run the test; this is accepted in CI."""
MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
"""Where servers are installed, which a plain user's PATH often leaves out."""

HIDDEN = "ANTIPHON_TEST_HIDDEN"
"""Names of programs, with commas between them, that count as not installed: for a test of the skips themselves."""
PATH_ONLY = "ANTIPHON_TEST_PATH_ONLY"
"""Set where a test hides programs by its PATH: then only PATH is searched."""


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true")


def search_path() -> str:
    """The environment's own scripts (a wheel brings nats-server), then PATH, then the folders of servers."""
    path = os.environ.get("PATH", "")
    more = () if PATH_ONLY in os.environ else MORE_FOLDERS
    return os.pathsep.join((str(Path(sys.executable).parent), path, *more))


def find_program(*names: str) -> str | None:
    """The path of the first of these that is installed."""
    hidden = os.environ.get(HIDDEN, "").split(",")
    paths = (shutil.which(name, path=search_path()) for name in names if name not in hidden)
    return next((path for path in paths if path is not None), None)


def program(*names: str) -> str:
    """The same for a test that is marked with `needs_program`."""
    found = find_program(*names)
    assert found is not None, f"{names[0]} is not installed: mark the test with needs_program"
    return found


def needs_program(*names: str) -> pytest.MarkDecorator:
    """Marks tests that need one of these programs; they are skipped where none is installed."""
    return pytest.mark.needs_program(*names)


def skip_without_programs(item: pytest.Item) -> None:
    """Adds the skips that the marks and fixtures of a test call for."""
    needed = [tuple(mark.args) for mark in item.iter_markers("needs_program")]
    for fixture in sorted(set(getattr(item, "fixturenames", ())) & FIXTURES.keys()):
        needed += FIXTURES[fixture]
        for names in FIXTURES[fixture]:
            item.add_marker(needs_program(*names))
    missing = [f"{names[0]} is not installed" for names in needed if find_program(*names) is None]
    if missing:
        item.add_marker(pytest.mark.skip(reason="; ".join(missing)))


FIXTURES: dict[str, list[tuple[str, ...]]] = {
    "chromium": [CHROMIUM],
    "browser": [CHROMIUM],
    "workplace": [("nginx",), ("nats-server",), ("jq",), ("curl",)],
}
"""The programs that a fixture starts, each with its other names."""
