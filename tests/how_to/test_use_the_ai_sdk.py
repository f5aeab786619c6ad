"""The program of the page runs as it stands there, with the npm package `ai`, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from antiphon.api.ui_stream.protocol import ROUTES
from client.servers import ServerProcess

from .node import FOLDER, node, node_marks

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-the-ai-sdk.md"
pytestmark = node_marks()


def test_the_program_runs_as_typed(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```js\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = node()
    (tmp_path / "ask.mjs").write_text(program)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0")
    env = os.environ | {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}
    done = subprocess.run(
        [found, "ask.mjs"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    length = len("".join(f"w{n} " for n in range(1, 201)))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{length} 200\n", "")
    assert server.stop() == 0


def test_the_page_names_every_route() -> None:
    page = PAGE.read_text()
    for operation in ROUTES:
        assert f"`{operation.method} {operation.full_path}`" in page, operation.full_path
