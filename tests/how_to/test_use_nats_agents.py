"""The program and the permissions of the page work as they stand there, with the protocol's own client."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from client.servers import ServerProcess
from programs import needs_program
from support.nats import NatsServer
from support.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-nats-agents.md"
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
ADDRESS = "127.0.0.1:4222"
INBOX = "_INBOX.agents"
"""Where the client library listens, too."""

pytestmark = [pytest.mark.anyio, needs_program("nats-server")]


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    config = "\n".join(line for line in BLOCKS["conf"].splitlines() if not line.startswith("listen"))
    server = NatsServer(tmp_path / "nats", config=config)
    server.start()
    yield server
    server.stop()


def here(text: str, server: NatsServer) -> str:
    return text.replace(ADDRESS, f"127.0.0.1:{server.port}")


async def is_found(caller: Client) -> bool:
    try:
        await caller.request("$SRV.PING.agents", timeout=1)
    except nats.errors.Error:
        return False
    return True


async def test_the_program_runs_as_typed_and_may_do_nothing_else(nats_server: NatsServer, tmp_path: Path) -> None:
    serve = next(line for line in here(BLOCKS["sh"], nats_server).splitlines() if line.startswith("antiphon"))
    options = shlex.split(serve.removesuffix(" &"))[2:]
    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0", *options)
    refused: list[Exception] = []

    async def note(error: Exception) -> None:
        refused.append(error)

    caller = await nats.connect(
        here(f"nats://caller:public@{ADDRESS}", nats_server), error_cb=note, inbox_prefix=INBOX
    )
    await caller.subscribe("chat:config_change")
    await caller.publish("chat:config_change", b"{}")
    await wait_until(lambda: len(refused) == 2, "both are refused")
    await wait_until(lambda: is_found(caller), "the agent is registered")
    await caller.close()
    found = await asyncio.to_thread(run_python, here(BLOCKS["python"], nats_server))
    assert found == (0, "".join(f"w{n} " for n in range(1, 21)), "")
    assert server.stop() == 0


def run_python(program: str) -> tuple[int, str, str]:
    """The exit code of a program, and what it prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr
