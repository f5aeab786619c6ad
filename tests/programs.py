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

PATH_ONLY = "ANTIPHON_TEST_PATH_ONLY"
"""Set where a test hides programs by its PATH: then only PATH is searched."""


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true")


def search_path() -> str:
    """The environment's own scripts (a wheel brings nats-server), then PATH, then the folders of servers."""
    path = os.environ.get("PATH", "")
    more = () if PATH_ONLY in os.environ else MORE_FOLDERS
    return os.pathsep.join((str(Path(sys.executable).parent), path, *more))


def need_program(*names: str) -> str:
    """The path of the first of these that is installed; without one the test is skipped."""
    for name in names:
        found = shutil.which(name, path=search_path())
        if found is not None:
            return found
    return pytest.skip(f"{names[0]} is not installed")
