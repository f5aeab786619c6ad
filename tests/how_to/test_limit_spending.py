"""The page's file, agent, program and commands run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from antiphon.server.config_file import read_config_file
from client.servers import ServerProcess

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "limit-spending.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
(CONFIG,), (SERVE, USAGE), (AGENT, PROGRAM) = (
    [code for language, code in BLOCKS if language == wanted] for wanted in ("toml", "sh", "python")
)


def test_usage_is_priced_and_shown_as_the_page_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (tmp_path / "antiphon.toml").write_text(CONFIG)
    (tmp_path / "app.py").write_text(AGENT)
    assert read_config_file(tmp_path / "antiphon.toml").prices.models["openai:gpt-4o-mini"].output == 600_000
    assert SERVE == "antiphon serve --config antiphon.toml\n"
    config = str(tmp_path / "antiphon.toml")
    server = ServerProcess(tmp_path / ".antiphon", f"{tmp_path}/app.py:agent", "--config", config, "--drain-s", "0")
    env = os.environ | {"PATH": path, "ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        assert "Done." in run("bash", "-eu", "-c", "antiphon chat hello")
        shown = run("bash", "-eu", "-c", USAGE)
        assert "0.000036 USD  openai:gpt-4o-mini" in shown
        assert run(sys.executable, "-W", "error", "-c", PROGRAM) == "36 USD ['openai:gpt-4o-mini']\n"
    finally:
        assert server.stop() == 0
