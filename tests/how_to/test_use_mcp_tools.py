"""The page's server, file and commands run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from antiphon.local.lock import read_instance_file
from antiphon.server.config_file import read_config_file
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(
    r"^```(\w+)[^\n]*\n(.*?)^```", (DOCS / "how-to" / "use-mcp-tools.md").read_text(), re.MULTILINE | re.DOTALL
)
(SERVER, PROGRAM), (CONFIG, *_), (START, ASK) = (
    [code for language, code in BLOCKS if language == wanted] for wanted in ("python", "toml", "sh")
)


async def test_mcp_tools_are_used_as_the_page_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "shop.py").write_text(SERVER)
    (tmp_path / "antiphon.toml").write_text(CONFIG)
    data = tmp_path / ".antiphon"
    log = tmp_path / "log"

    async def run(*command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    start = START.replace("antiphon serve", "exec antiphon serve --port 0")
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            "bash", "-eu", "-c", start, cwd=tmp_path, env=env, stdout=written, stderr=written
        )
    try:
        await wait_until(lambda: read_instance_file(data), "the server is ready")
        found = read_instance_file(data)
        assert found is not None
        env |= {"ANTIPHON_URL": found.http_url, "ANTIPHON_TOKEN": found.token}
        await wait_until(lambda: "mcp_server_connected" in log.read_text(), "the MCP server is connected")
        asked = await run("bash", "-euo", "pipefail", "-c", ASK)
        assert asked.returncode == 0, asked.stdout + asked.stderr + log.read_text()
        assert '"result":{"result":0.5}' in asked.stdout
        bought = await run(sys.executable, "-W", "error", "-c", PROGRAM)
        assert bought.returncode == 0, bought.stdout + bought.stderr + log.read_text()
        assert "connected ['shop_price', 'shop_order']" in bought.stdout
        assert "2 of pear ordered" in bought.stdout
    finally:
        process.send_signal(signal.SIGTERM)  # to the server: the shell has become it
        await process.wait()


def test_every_configuration_file_of_the_documents_is_valid(tmp_path: Path) -> None:
    pages = [DOCS / "how-to" / "use-mcp-tools.md", DOCS / "configuration-file.md"]
    found = [code for page in pages for code in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)]
    assert len(found) == 4
    for code in found:
        file = tmp_path / "antiphon.toml"
        file.write_text(code)
        assert read_config_file(file).mcp.keys() == tomllib.loads(code)["mcp"].keys()
