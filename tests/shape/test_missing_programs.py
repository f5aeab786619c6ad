"""The suite on a machine that has only Python: what needs other programs is skipped, one sentence each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from programs import PATH_ONLY

HIDDEN = ("chromium", "chromium-browser", "google-chrome", "jq", "nats-server", "nginx", "node", "npm")
ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 120
SKIPPED = {
    "tests/page/test_view.py": "node is not installed",
    "tests/page/test_browser.py::test_what_a_model_writes_is_shown_and_never_run": "chromium is not installed",
    "tests/page/test_inbox.py": "chromium is not installed",
    "tests/how_to/test_run_several_replicas.py::test_nginx_speaks_tls_checks_names_and_asks_the_next_replica":
        "nginx: not installed",
    "tests/how_to/test_stand_by.py": "jq is not installed",
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH of one folder with links to all programs of this machine but the hidden ones."""
    folder = tmp_path_factory.mktemp("bin")
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            link = folder / program.name
            if program.name not in HIDDEN and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


def run_pytest(path: str, *tests: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-rs", *tests],
        cwd=ROOT,
        env=kept | {"PATH": path, PATH_ONLY: "1", **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_without_browser_node_nginx_and_jq_the_suite_exits_0_and_says_what_is_missing(path: str) -> None:
    done = run_pytest(path, *SKIPPED)
    assert done.returncode == 0, done.stdout[-4_000:]
    assert " passed" not in done.stdout
    for reason in SKIPPED.values():
        assert re.search(rf"^SKIPPED .*{re.escape(reason)}$", done.stdout, re.MULTILINE), reason


def test_in_ci_a_skipped_test_fails(path: str) -> None:
    done = run_pytest(path, *SKIPPED, CI="true")
    assert done.returncode == 1
    assert "CI skips nothing" in done.stdout
    assert " skipped" not in done.stdout.splitlines()[-1]


def test_a_real_nats_server_comes_with_the_environment(path: str) -> None:
    done = run_pytest(path, "tests/bus/test_nats.py::test_user_and_password_are_needed_and_given")
    assert done.returncode == 0, done.stdout[-4_000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
