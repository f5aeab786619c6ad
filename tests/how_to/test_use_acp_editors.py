"""The program of the page runs as it stands there, and Zed's settings name a command that answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from client.servers import ServerProcess
from support.waiting import DEADLINE_S

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-acp-editors.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run(command: list[str], directory: Path, stdin: str = "") -> str:
    directory.chmod(0o700)
    binaries = str(Path(sys.executable).parent)
    env = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(directory)}
    done = subprocess.run(
        command, cwd=directory, env=env, input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_runs_as_typed(tmp_path: Path) -> None:
    (program,) = blocks("python")
    (tmp_path / "editor.py").write_text(program)
    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0")  # the SDK passes few variables on
    assert run([sys.executable, "editor.py"], tmp_path) == "w1 w2 w3 w4 w5 end_turn\n"
    assert server.stop() == 0


def test_the_command_of_zed_s_settings_answers(tmp_path: Path) -> None:
    (settings,) = blocks("json")
    (agent,) = json.loads(settings)["agent_servers"].values()
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}}
    answer = run([agent["command"], *agent["args"]], tmp_path, stdin=json.dumps(request) + "\n")
    assert json.loads(answer)["result"]["agentInfo"]["name"] == "antiphon"
