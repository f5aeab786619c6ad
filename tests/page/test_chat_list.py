"""The list of chats: search, groups, pins, labels, deletion with undo, and thousands of chats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from support.waiting import DEADLINE_S
from system.server_process import ServerProcess

from .visit import Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]
ELEMENTS_MAX = 600
"""Of the list in the page, however many chats there are."""

CREATE = """async ([count, title]) => {
    let made = 0;
    const create = async () => {
        while (made < count) {
            const body = JSON.stringify({ title: `${title} ${++made}` });
            await fetch('api/v1/chats', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
        }
    };
    await Promise.all(Array.from({ length: 4 }, create));
}"""

SCROLL = """async (step) => {
    const list = document.querySelector('.chat-list');
    const times = [];
    let elements = 0;
    let last = performance.now();
    const isWhole = () => !list.querySelector("[aria-setsize='-1']");
    for (let still = 0; still < 10 || !isWhole(); ) {
        const before = list.scrollTop;
        list.scrollTop += step;
        const now = await new Promise(requestAnimationFrame);
        times.push(now - last);
        last = now;
        elements = Math.max(elements, list.querySelectorAll('*').length);
        still = list.scrollTop === before ? still + 1 : 0;
    }
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.floor(times.length * share)];
    return { frames: times.length, median_ms: at(0.5), p99_ms: at(0.99), elements };
}"""
"""Scrolls to the end, also while more chats are loaded. Times between frames, and the most elements of the list."""


def row(tab: Tab, title: str) -> Locator:
    return tab.chat_list.get_by_role("link", name=title)


async def create(server: ServerProcess, title: str, **more: Any) -> str:
    status, chat = await server.ask("POST", "/chats", {"title": title, **more})
    assert status == 201
    return str(chat["id"])


async def is_deleted(server: ServerProcess, chat_id: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await server.ask("GET", f"/chats/{chat_id}"))[0] != 404:
            await asyncio.sleep(0.05)


async def test_chats_are_found_pinned_labelled_and_deleted_by_keyboard(tab: Tab, server: ServerProcess) -> None:
    page, keyboard = tab.page, tab.page.keyboard
    soup = await create(server, "Soup recipe", labels={"kitchen": ""})
    await create(server, "Tax return")
    await create(server, "Train tickets", labels={"trip": "Rome"})
    await row(tab, "Train tickets").wait_for()
    await expect(tab.chat_list.get_by_role("heading")).to_have_text(["Today"])

    # one stop of Tab, arrows move, the menu key opens the menu
    await page.get_by_label("Search chats").focus()
    await keyboard.press("ArrowDown")
    await expect(row(tab, "Train tickets")).to_be_focused()
    await keyboard.press("ArrowDown")
    await keyboard.press("ArrowDown")
    await expect(row(tab, "Soup recipe")).to_be_focused()
    await keyboard.press("Shift+F10")
    await expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await keyboard.press("p")
    await keyboard.press("Enter")
    await expect(tab.chat_list.get_by_role("heading")).to_have_text(["Pinned", "Today"])
    assert (await server.ask("GET", f"/chats/{soup}"))[1]["pin_order"] == 1
    await expect(tab.chat_list.get_by_role("link").first).to_contain_text("Soup recipe")

    # F2 renames, and a refusal keeps what was typed
    await row(tab, "Tax return").focus()
    await keyboard.press("F2")
    await expect(page.get_by_label("Title")).to_have_value("Tax return")
    await page.get_by_label("Title").fill("Tax return 2026")
    await keyboard.press("Enter")
    await expect(row(tab, "Tax return 2026")).to_be_focused()

    # labels: edited as text, shown in the row, and a filter
    await row(tab, "Tax return 2026").focus()
    await keyboard.press("Shift+F10")
    await page.get_by_role("menuitem", name="Labels…").click()
    await page.get_by_label("Labels, with commas").fill("money, : wrong")
    await keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("has no name before the colon")
    await page.get_by_label("Labels, with commas").fill("money, year: 2026")
    await keyboard.press("Enter")
    await expect(row(tab, "Tax return 2026")).to_contain_text("year: 2026")
    await tab.button("Show one label").click()
    await page.get_by_role("menuitem", name="trip: Rome").click()
    await expect(tab.chat_list.get_by_role("link")).to_have_count(1)
    await tab.button("Show chats without the label trip: Rome, too").click()
    await expect(tab.chat_list.get_by_role("link")).to_have_count(3)

    # search by title, as one types; nothing matches is said
    await page.get_by_label("Search chats").fill("tICK")
    await expect(tab.chat_list.get_by_role("link")).to_have_count(1)
    await page.get_by_label("Search chats").fill("no such chat")
    await page.get_by_text("No chat has this title or label.").wait_for()
    await page.get_by_label("Search chats").focus()
    await keyboard.press("Escape")
    await expect(tab.chat_list.get_by_role("link")).to_have_count(3)

    # Delete, undo by key; the focus stays in the list
    await row(tab, "Train tickets").focus()
    await keyboard.press("Delete")
    await expect(page.get_by_test_id("toast")).to_contain_text("“Train tickets” was deleted.")
    await expect(row(tab, "Train tickets")).to_have_count(0)
    await expect(tab.chat_list.locator(":focus")).to_have_count(1)
    await keyboard.press("Control+z")
    await expect(row(tab, "Train tickets")).to_have_count(1)
    await expect(page.get_by_test_id("toast")).to_have_text("")


async def test_a_deletion_is_sent_when_the_page_is_left(visit: Visit, server: ServerProcess) -> None:
    chat_id = await create(server, "To be deleted")
    tab = await visit.open(chat_id)
    await tab.wait_live()
    await tab.act("Delete")
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()
    await expect(tab.composer).to_be_focused()
    assert (await server.ask("GET", f"/chats/{chat_id}"))[0] == 200
    await tab.page.goto("about:blank")
    await is_deleted(server, chat_id)


async def test_older_chats_are_loaded_while_scrolling_and_few_rows_are_in_the_page(
    tab: Tab, server: ServerProcess
) -> None:
    await tab.page.evaluate(CREATE, [160, "Numbered"])
    await tab.page.reload()
    await tab.chat_list.get_by_role("link").first.wait_for()
    scrolled = await tab.page.evaluate(SCROLL, 300)
    assert scrolled["elements"] < ELEMENTS_MAX
    await row(tab, "Numbered 1").last.wait_for()
    await tab.chat_list.get_by_role("link").last.focus()
    await tab.page.keyboard.press("Home")
    await expect(tab.chat_list.locator("[aria-posinset='1'] a")).to_be_focused()
    await expect(tab.chat_list.locator("[aria-posinset='1'] a")).to_be_in_viewport()
    await tab.page.get_by_label("Search chats").fill("Numbered 15")
    await expect(tab.chat_list.get_by_role("link")).to_have_count(11)  # 15, and 150 to 159


@pytest.mark.slow
async def test_ten_thousand_chats_scroll_with_a_bounded_page(
    tab: Tab, record_property: Callable[[str, Any], None]
) -> None:
    await tab.page.evaluate(CREATE, [10_000, "Many"])
    await tab.page.reload()
    await tab.chat_list.get_by_role("link").first.wait_for()
    for name in ("while loading", "loaded"):
        await tab.page.evaluate("document.querySelector('.chat-list').scrollTop = 0")
        scrolled = await tab.page.evaluate(SCROLL, 1_000)
        record_property(name, scrolled)
        print(name, scrolled)
        assert scrolled["elements"] < ELEMENTS_MAX
    await row(tab, "Many 1").last.wait_for()
