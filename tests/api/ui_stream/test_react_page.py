"""The example page: React and the AI SDK's `useChat` in a real browser, built as its first lines say."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from how_to.node import FOLDER, node, node_marks
from page.chromium import launch_options
from programs import CHROMIUM, needs_program
from support.waiting import DEADLINE_S

from ..http.api_client import ApiClient, open_api
from .conftest import pay

EXAMPLE = Path(__file__).parents[3] / "examples" / "use-chat"
PACKAGES = EXAMPLE / "package.json"
INTO = FOLDER.parent / "use-chat"

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs_program(*CHROMIUM), *node_marks(PACKAGES, INTO)]


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, on an origin of its own."""
    node(PACKAGES, INTO)
    folder = tmp_path_factory.mktemp("page")
    for name in ("app.jsx", "index.html", "package.json"):
        shutil.copy(EXAMPLE / name, folder)
    (folder / "node_modules").symlink_to(INTO / "node_modules")
    subprocess.run(["npm", "run", "build"], cwd=folder, check=True, capture_output=True, timeout=DEADLINE_S)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def test_the_page_chats_resumes_stops_and_approves(built: str, tmp_path: Path) -> None:
    opened = open_api(data=tmp_path / "data", tools=(pay,), allow_origin=(built,))
    async with opened as api, async_playwright() as driver:
        browser = await driver.chromium.launch(**launch_options())
        page = await browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        await page.goto(f"{built}/#url=http://127.0.0.1:{api.port}&token={api.token}")
        await use(page, api)
        assert problems == []
        await browser.close()


async def use(page: Page, api: ApiClient) -> None:
    answers = page.locator(".assistant")
    await say(page, "/think hm\n/tokens 5")
    await expect(answers.last).to_contain_text("w1 w2 w3 w4 w5")
    await expect(answers.last.locator(".reasoning")).to_have_text("hm")

    await say(page, "/tokens 400\n/rate 200")
    await expect(answers.nth(1)).to_contain_text("w20 ")
    await page.reload()  # the history is loaded, and the answer goes on
    await expect(answers).to_have_count(2)
    await expect(answers.nth(1)).to_contain_text("w1 w2 w3")
    await expect(answers.nth(1)).to_contain_text("w400")
    await expect(page.locator("[data-status=ready]")).to_be_visible()

    await say(page, "/call pay {}\n/say done")
    await page.get_by_role("button", name="Allow").click()
    await expect(answers.last).to_contain_text("paid 1")
    await expect(answers.last).to_contain_text("done")

    await say(page, "/say begun\n/stall 600")
    await expect(answers.last).to_contain_text("begun")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("button", name="Again")).to_be_visible()
    (chat,) = (await api.ask("GET", "/chats")).json["chats"]
    assert chat["status"] == "waiting"
    await page.reload()
    await expect(answers).to_have_count(4)
    await expect(answers.nth(2)).to_contain_text("paid 1")
