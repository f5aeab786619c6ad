"""The program and the configurations of the page work as they stand there, with a real server and the SDK."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from antiphon.wire.mcp_server.tools import TOOLS, AnswerStatus
from antiphon.wire.mcp_server.uris import TEMPLATES
from client.servers import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-as-an-mcp-server.md").read_text()
DESKTOP, EDITOR = (json.loads(code) for code in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("mcp") / ".antiphon", "--drain-s", "0")
    yield running
    assert running.stop() == 0


def test_the_program_runs_as_typed(server: ServerProcess) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    env = os.environ | {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    length = len("".join(f"w{n} " for n in range(1, 201)))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"answered {length}\n", "")


async def test_the_command_of_the_configuration_serves_a_client(server: ServerProcess) -> None:
    (entry,) = DESKTOP["mcpServers"].values()
    args = [str(server.data) if arg.startswith("/") else arg for arg in entry["args"]]
    command = Path(sys.executable).with_name(entry["command"])
    started: dict[str, Any] = {"command": str(command), "args": args, "env": {"PATH": os.environ["PATH"]}}
    async with Client(stdio_client(StdioServerParameters(**started))) as client:
        done = await client.call_tool("start_chat", {"text": "/say hello"})
        assert done.structured_content is not None
        assert done.structured_content["answer"] == "hello"


def test_the_page_names_the_address_the_tools_and_the_resources() -> None:
    assert EDITOR["servers"]["antiphon"]["url"].endswith(":8414/mcp")
    for name in (*(tool.name for tool in TOOLS), *AnswerStatus, *(one["uriTemplate"] for one in TEMPLATES)):
        assert f"`{name}`" in PAGE, name
