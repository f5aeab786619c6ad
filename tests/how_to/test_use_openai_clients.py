"""The programs of the page run as they stand there, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.api.openai.protocol import ROUTES
from client.servers import ServerProcess

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-openai-clients.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PRINTED = (f"{len(''.join(f'w{n} ' for n in range(1, 201)))} True\n", "two three\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("home") / ".antiphon", "--drain-s", "0")
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_each_program_runs_as_typed(server: ServerProcess, number: int) -> None:
    env = os.environ | {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAMS[number]],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED[number], "")


def test_the_page_names_every_route() -> None:
    page = PAGE.read_text().replace("{response_id}", "{id}")
    for operation in ROUTES:
        path = re.sub(r"\{(response|conversation)_id\}", "{id}", operation.full_path)
        assert f"{path}`" in page, operation.full_path
