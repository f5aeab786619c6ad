"""The commands of the page run as they are written there, on a running instance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from antiphon.client import Client
from client.servers import ServerProcess
from programs import needs_program

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "back-up.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@needs_program("jq")
def test_a_running_instance_is_backed_up_and_restored_as_the_page_says(tmp_path: Path) -> None:
    back_up, script, restore, serve, trial = BLOCKS
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(code: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0")
    with Client(server.url, server.token) as client:
        chat_id = client.create_chat("/say Hello")["id"]
        assert list(client.watch(chat_id, until_idle=True))
    assert run(back_up).startswith("Wrote chats.tar.gz: 1 chats and 0 files")
    assert run(script) == "true\n"
    assert server.stop() == 0
    assert "No damage found: checked 1 chats" in run(restore)
    assert "No damage found: checked 1 chats" in run(trial)
    verb, *options = serve.split()[1:]
    assert (verb, options) == ("serve", ["--data", "restored"])
    restored = ServerProcess(tmp_path / "restored", "--drain-s", "0")
    with Client(restored.url, restored.token) as client:
        assert [message["role"] for message in client.messages(chat_id)["messages"]] == ["user", "assistant"]
    assert restored.stop() == 0
