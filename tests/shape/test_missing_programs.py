"""The suite on a machine that has only Python: what needs other programs is skipped, one sentence each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from programs import HIDDEN, PATH_ONLY

PROGRAMS = ("chromium", "curl", "jq", "nats-server", "nginx", "node", "npm", "pgbouncer", "tmux")
OTHER_NAMES = ("chromium-browser", "google-chrome")
ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 120
SKIPPED = {
    "tests/page/test_view.py": "node is not installed",
    "tests/page/test_browser.py::test_what_a_model_writes_is_shown_and_never_run": "chromium is not installed",
    "tests/page/test_inbox.py": "chromium is not installed",
    "tests/how_to/test_run_several_replicas.py::test_nginx_speaks_tls_checks_names_and_asks_the_next_replica":
        "nginx is not installed",
    "tests/how_to/test_stand_by.py": "jq is not installed",
    "tests/postgres/test_pgbouncer.py": "pgbouncer is not installed",
    "tests/api/http/test_upgrade.py::test_curl_posts_with_http2_asked_for": "curl is not installed",
    "tests/bus/test_nats.py": "nats-server is not installed",
    "tests/cli/test_tmux.py": "tmux is not installed",
}  # fmt: skip
STARTS_ONE = re.compile(r"\b(PgBouncer|NatsServer|node|launch_options)\(|\bprogram\(\"|\b(curl|jq|nginx) -")
"""How a test starts one of the programs."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH of one folder with links to all programs of this machine but the hidden ones."""
    folder = tmp_path_factory.mktemp("bin")
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            link = folder / program.name
            if program.name not in (*PROGRAMS, *OTHER_NAMES) and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


def run_pytest(path: str, *tests: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-rs", *tests],
        cwd=ROOT,
        env=kept | {"PATH": path, PATH_ONLY: "1", HIDDEN: ",".join(PROGRAMS), **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@pytest.fixture
def programs_by_file(request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """Each collected test file, with the programs that its tests are marked with."""
    found: dict[str, set[str]] = {}
    for item in request.session.items:
        programs = found.setdefault(item.nodeid.partition("::")[0], set())
        programs |= {mark.args[0] for mark in item.iter_markers("needs_program")}
    return found


def test_every_file_that_starts_a_program_of_the_system_has_marked_tests(
    programs_by_file: dict[str, set[str]],
) -> None:
    files = {str(file.relative_to(ROOT)): file for file in (ROOT / "tests").rglob("test_*.py")}
    starting = {name for name, file in files.items() if STARTS_ONE.search(file.read_text(encoding="utf-8"))}
    starting -= {"tests/shape/test_missing_programs.py"}
    unmarked = {name for name in starting & programs_by_file.keys() if not programs_by_file[name]}
    assert [name for name in sorted(unmarked) if "needs_program(" not in files[name].read_text()] == []
    if starting <= programs_by_file.keys():
        assert set().union(*programs_by_file.values()) >= {*PROGRAMS} - {"npm"}


def test_without_the_programs_the_suite_exits_0_and_says_what_is_missing(path: str) -> None:
    done = run_pytest(path, *SKIPPED)
    assert done.returncode == 0, done.stdout[-4_000:]
    assert " passed" not in done.stdout
    for reason in SKIPPED.values():
        assert re.search(rf"^SKIPPED .*{re.escape(reason)}", done.stdout, re.MULTILINE), reason


def test_in_ci_a_skipped_test_fails(path: str) -> None:
    done = run_pytest(path, *SKIPPED, CI="true")
    assert done.returncode == 1
    assert "CI skips nothing" in done.stdout
    assert " skipped" not in done.stdout.splitlines()[-1]


def test_a_real_nats_server_comes_with_the_environment(path: str) -> None:
    done = run_pytest(path, "tests/bus/test_nats.py::test_user_and_password_are_sent_and_required", **{HIDDEN: ""})
    assert done.returncode == 0, done.stdout[-4_000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
