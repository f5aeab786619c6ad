"""The commands and programs of the page run as they are written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from antiphon.local.lock import read_instance_file
from support.waiting import wait_until_sync

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "send-files.md"
(SENDING,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PROGRAMS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def test_a_file_is_sent_from_the_terminal_and_from_a_program(tmp_path: Path) -> None:
    for name, code in PROGRAMS.items():
        (tmp_path / name).write_text(code)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def run(*command: str, **more: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "antiphon.cli", "serve", "agent.py:agent", "--port", "0"]
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        found = wait_until_sync(
            lambda: server.poll() or read_instance_file(tmp_path / ".antiphon"), what="the server is ready"
        )
        assert not isinstance(found, int), (tmp_path / "log").read_text()
        assert "notes.txt is text/plain. That is all." in run("bash", "-eu", "-c", SENDING)
        printed = run(sys.executable, "ask.py", ANTIPHON_URL=found.http_url, ANTIPHON_TOKEN=found.token)
        assert printed.splitlines() == ["notes.txt is text/plain. That is all.", repr(b"apples\npears\n")]
    finally:
        server.kill()
        server.wait()
