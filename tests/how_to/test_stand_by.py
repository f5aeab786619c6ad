"""The commands of the page run as they stand there, in one directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from antiphon.local.lock import read_holder, read_instance_file
from programs import needs_program
from support.waiting import wait_until_sync

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "stand-by.md"
SERVE, SHOW, KILL = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run(home: Path, script: str, path: str) -> str:
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=home,
        env=os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_program("jq")
def test_a_second_process_takes_over_as_the_page_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    data = tmp_path / ".antiphon"
    script = re.sub(r"--port \d+", "--port 0", SERVE) + "wait\n"
    with (tmp_path / "log").open("wb") as log:
        both = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(tmp_path)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_sync(lambda: read_instance_file(data), what="there is a primary")
        wait_until_sync(lambda: "standby_started" in (tmp_path / "log").read_text(), what="there is a standby")
        listed = run(tmp_path, SHOW, path)
        assert "primary" in listed
        assert "standby" in listed
        assert "ready to take over" in listed
        before = read_holder(data)
        output = run(tmp_path, KILL, path)
        assert "before" in output
        assert "and after" in output
        assert read_holder(data) != before
    finally:
        os.killpg(both.pid, signal.SIGKILL)
        both.wait()
