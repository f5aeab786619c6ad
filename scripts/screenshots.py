"""Makes the screenshots in docs/images from the real web UI: light, dark and narrow.

Run it: ./dev exec python scripts/screenshots.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from antiphon.client import Client

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.server import BenchServer

IMAGES = Path(__file__).parent.parent / "docs" / "images"
AGENT = str(Path(__file__).parent / "screenshot_agent.py") + ":agent"
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
DESK = ViewportSize(width=1280, height=820)
PHONE = ViewportSize(width=390, height=844)
OTHERS = ("Plan for the offsite", "Why is the queue slow?", "Notes on billing", "Rewrite the onboarding e-mail")
SLOW = "Why is this query slow? SELECT * FROM orders WHERE customer_id = 7"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with BenchServer(options=(AGENT,)) as server, sync_playwright() as playwright:
        url = f"http://127.0.0.1:{server.port}"
        with Client(url, server.token) as client:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
            chats = _make_chats(client)
            themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
            for theme in themes:
                with _page(browser, url, server.token, theme=theme) as page:
                    _open(page, url, chats["slow"])
                    _shoot(page, f"chat-{theme}")
            with _page(browser, url, server.token, theme="dark", size=PHONE) as page:
                _open(page, url, chats["deploy"])
                _shoot(page, "approval-phone")
            with _page(browser, url, server.token, size=PHONE) as page:
                _open(page, url, chats["slow"])
                _shoot(page, "chat-phone")
            with _page(browser, url, server.token) as page:
                _open(page, url, chats["steps"])
                _shoot(page, "diagram")
                page.keyboard.press("Control+k")
                page.get_by_role("combobox", name="Find a chat or a command").fill("plan")
                _shoot(page, "palette")
                page.keyboard.press("Escape")
                for section in ("models", "usage"):
                    page.goto(f"{url}/#/settings/{section}")
                    page.get_by_role("heading", level=2).first.wait_for()
                    _shoot(page, f"settings-{section}")
            with BenchServer() as first, _page(browser, f"http://127.0.0.1:{first.port}", first.token) as page:
                _shoot(page, "start")
            browser.close()


def _make_chats(client: Client) -> dict[str, str]:
    """The chats of the screenshots by name; the others fill the list."""
    for title in OTHERS:
        client.create_chat(title=title, labels={"team": "shop"} if "billing" in title else None)
    chats = {
        "steps": client.create_chat("Show me the steps of a deployment", title="Steps of a deployment")["id"],
        "deploy": client.create_chat("Please deploy checkout 2.4.1", title="Deploy checkout 2.4.1")["id"],
        "release": client.create_chat("Prepare the release notes", title="Release notes")["id"],
        "slow": client.create_chat(SLOW, title="A slow query")["id"],
    }
    for chat_id in chats.values():
        list(client.watch(chat_id, until_idle=True))
    client.update_chat(chats["steps"], pin_order=1)
    return chats


@contextmanager
def _page(
    browser: Browser, url: str, token: str, *, theme: Literal["light", "dark"] = "light", size: ViewportSize = DESK
) -> Iterator[Page]:
    is_phone = size is PHONE
    context = browser.new_context(
        viewport=size, device_scale_factor=2 if is_phone else 1.5, color_scheme=theme, has_touch=is_phone,
        is_mobile=is_phone, reduced_motion="reduce", service_workers="block",
    )  # fmt: skip
    page = context.new_page()
    page.goto(f"{url}/#token={token}")
    page.get_by_label("Message", exact=True).wait_for()
    yield page
    context.close()


def _open(page: Page, url: str, chat_id: str) -> None:
    page.goto(f"{url}/#/chat/{chat_id}")
    page.locator("[data-testid=message][data-role=assistant]").first.wait_for()
    page.locator("[data-testid=diagram][data-state=drawing]").first.wait_for(state="detached")


def _shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(900)  # fonts, mathematics and diagrams
    page.screenshot(path=str(IMAGES / f"{name}.png"))


if __name__ == "__main__":
    main()
