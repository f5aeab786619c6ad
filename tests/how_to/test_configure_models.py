"""The commands of the page run as they stand there, against a model server on this machine in place of the page's."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.local.lock import read_instance_file
from antiphon.testing.model_server import FakeModelServer
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "configure-models.md"
BLOCKS = re.findall(r"^```(?:sh|python)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
START, PROGRAM = BLOCKS[0], BLOCKS[-1]
SECRET = "sk-canary-0123456789"


async def test_models_are_configured_as_the_page_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(tmp_path), "ACME_KEY": SECRET}
    data = tmp_path / ".antiphon"
    log = tmp_path / "log"

    async def run(*command: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    async with FakeModelServer() as server:
        start = START.replace("antiphon serve", "exec antiphon serve --port 0 --allow-outbound 127.0.0.1")
        with log.open("wb") as written:
            process = await asyncio.create_subprocess_exec(
                "bash", "-eu", "-c", start, cwd=tmp_path, env=env, stdout=written, stderr=written
            )
        try:
            await wait_until(lambda: read_instance_file(data), "the server is ready")
            found = read_instance_file(data)
            assert found is not None
            env |= {"ANTIPHON_URL": found.http_url, "ANTIPHON_TOKEN": found.token}
            shown = (block.replace("https://api.acme.example/v1", server.base_url) for block in BLOCKS[1:-1])
            outputs = [await run("bash", "-euo", "pipefail", "-c", block) for block in shown]
            outputs.append(await run(sys.executable, "-W", "error", "-c", PROGRAM))
        finally:
            process.send_signal(signal.SIGTERM)  # to the server: the shell has become it
            await process.wait()
    assert "a secret" in outputs[0]
    assert [seen.body["model"] for seen in server.requests] == ["small", "large", "large"]
    assert [seen.body.get("temperature") for seen in server.requests] == [None, 0, 0.2]
    assert server.requests[2].body["messages"][0] == {"role": "system", "content": "Answer in one paragraph."}
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {SECRET}"}
    assert outputs[-1] == "acme True\n"
    files = [file.read_bytes() for file in (log, *data.rglob("*")) if file.is_file()]
    assert not any(SECRET.encode() in text for text in (*files, *(text.encode() for text in outputs)))
