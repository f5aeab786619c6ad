"""The program of the page runs as it stands there, with A2A's own client, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from antiphon.api.a2a.methods import METHODS
from antiphon.api.a2a.protocol import HTTP_ROUTES, ROUTES
from client.servers import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-a2a.md").read_text()


def test_the_program_runs_as_typed(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0")
    env = os.environ | {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    length = len("".join(f"w{n} " for n in range(1, 201)))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{length}\n", "")
    assert server.stop() == 0


def test_the_page_names_every_route_and_method() -> None:
    for operation in (*ROUTES, *HTTP_ROUTES):
        assert f"`{operation.method} {operation.full_path}`" in PAGE, operation.full_path
    for method in METHODS:
        assert f"`{method}`" in PAGE or "PushNotification" in method, method
