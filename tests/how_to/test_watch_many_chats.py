"""The programs of the page run as they stand there, against a real server and in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from client.servers import ServerProcess
from page.chromium import launch_options
from programs import CHROMIUM, needs_program

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "watch-many-chats.md"


def program(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("home") / ".antiphon", "--drain-s", "0")
    yield running
    assert running.stop() == 0


def test_the_python_program_runs_as_typed(server: ServerProcess) -> None:
    env = os.environ | {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token}
    command = [sys.executable, "-W", "error", "-c", program("python")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    words = "".join(f"w{n} " for n in range(1, 21))
    assert (done.returncode, done.stdout, done.stderr) == (0, words, "")


def test_the_command_follows_two_chats(server: ServerProcess) -> None:
    ids = []
    for text in ("/say one", "/say two"):
        body = json.dumps({"content": text}).encode()
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{server.url}/api/v1/chats", body, headers)
        with urllib.request.urlopen(asked) as answer:
            ids.append(json.load(answer)["id"])
    env = {"ANTIPHON_URL": server.url, "ANTIPHON_TOKEN": server.token, "FIRST": ids[0], "SECOND": ids[1]}
    with subprocess.Popen(["bash", "-c", program("bash")], env=os.environ | env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ended: set[str] = set()
        for line in process.stdout:
            if b'"type":"turn_ended"' in line:
                ended.add(json.loads(line.removeprefix(b"data: "))["chat_id"])
            if ended == set(ids):
                break
        process.terminate()


@needs_program(*CHROMIUM)
def test_the_function_of_a_web_page_runs_in_a_browser(server: ServerProcess) -> None:
    async def run() -> Any:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(**launch_options())
            page = await browser.new_page()
            await page.goto(f"{server.url}/healthz")
            outcome = await page.evaluate(
                f"([url, token]) => {{ {program('js')} return ask(url, token, '/say hi'); }}",
                [server.url, server.token],
            )
            await browser.close()
            return outcome

    assert asyncio.run(run()) == "answered"
