"""Reading without the server: the files and what was read last are kept in the browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from support.waiting import wait_until
from system.server_process import ServerProcess

from .conftest import Visits
from .visit import NO_SERVER, NO_SESSION, Tab

pytestmark = pytest.mark.anyio

KEPT = """async () => {
    if (!(await indexedDB.databases()).length) return [];
    return new Promise((resolve) => {
        const opening = indexedDB.open('antiphon');
        opening.onsuccess = () => {
            const reading = opening.result.transaction('kept').objectStore('kept').getAllKeys();
            reading.onsuccess = () => { opening.result.close(); resolve(reading.result); };
        };
    });
}"""
HAS_FILES = "async () => (await caches.keys()).length === 1 && Boolean(navigator.serviceWorker.controller)"


async def keeps(tab: Tab, *names: str) -> bool:
    return set(names) <= set(await tab.page.evaluate(KEPT))


async def test_what_was_read_last_is_shown_without_the_server(visits: Visits, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    visit = await visits(f"http://127.0.0.1:{server.port}", server.token, service_workers="allow")
    visit.expected += [NO_SERVER, NO_SESSION, "The server cannot be reached."]
    tab = await visit.open()
    chat_id = await tab.start_chat("/say An answer that was **read**")
    await tab.wait_idle()
    shown = await tab.shown()
    await wait_until(lambda: tab.page.evaluate(HAS_FILES))
    await wait_until(lambda: keeps(tab, "list", f"chat {chat_id}"))
    await server.kill()
    await tab.page.reload()
    kept = tab.page.get_by_test_id("kept")
    await expect(kept).to_contain_text("The server cannot be reached. This is what you read last")
    assert await tab.shown() == shown
    assert await tab.page.get_by_role("alert").count() == 0
    await expect(tab.chat_list).to_contain_text("An answer that was")
    await tab.send("/say sent later")
    await expect(tab.page.get_by_test_id("pending")).to_have_count(1)
    await server.start()
    await tab.wait_live()
    await expect(tab.message("assistant", "sent later")).to_be_visible()
    await expect(kept).to_have_count(0)
    await tab.wait_idle()
    async with tab.page.expect_navigation():
        await tab.button("Sign out").click()
    await tab.page.get_by_test_id("sign-in").wait_for()
    assert await tab.page.evaluate(KEPT) == []
    await server.kill()
