"""The page names every command and key of the conversation, and its commands run as they are written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from antiphon.cli.conversation.commands import COMMANDS, KEYS
from support.waiting import DEADLINE_S

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-the-terminal.md").read_text()
(ASKING,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_names_every_command_and_key() -> None:
    for command in COMMANDS:
        usage = f"/{command.name} {command.argument}".strip().replace("|", "\\|")
        assert f"`{usage}`" in PAGE, usage
    for keys, _ in KEYS:
        assert f"| {keys} |" in PAGE, keys


def test_the_commands_of_the_page_print_their_answers(tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-eu", "-c", ASKING],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Hello\nfrom a pipe\n"), done.stderr
