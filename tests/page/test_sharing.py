"""A chat leaves the page: by a link that anyone reads, as a file, and on paper."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .faults import NOTHING, REMAINS
from .visit import NO_SESSION, Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]
HOSTILE = '<img src=x onerror="window.pwned=1">'


async def test_a_link_shows_the_chat_to_anyone_until_it_is_revoked(
    tab: Tab, visits: Visits, server: ServerProcess
) -> None:
    chat_id = await tab.start_chat(f"{HOSTILE}\n/think quietly\n/say **bold** {HOSTILE}")
    await tab.wait_idle()
    await tab.act("Share…")
    await tab.button("Make a link").click()
    link = await tab.page.get_by_label("Link to this chat").input_value()

    reader = await visits(tab.visit.url, "")
    reader.expected.append(NO_SESSION)
    page = await reader.context.new_page()
    await page.goto(link)
    await page.locator("strong").get_by_text("bold").wait_for()
    await expect(page.get_by_role("article", name="Question")).to_contain_text(HOSTILE)
    assert await page.evaluate(REMAINS) == NOTHING
    assert await page.get_by_role("textbox").count() == 0
    paths = {request.url.partition("/api/v1")[2] for request in reader.requests if "/api/v1" in request.url}
    assert paths == {"/shared?limit=100"}, "a reader without a session asks for nothing else"
    await server.ask("POST", f"/chats/{chat_id}/messages", {"content": "/say later"})
    await tab.message("assistant", "later").wait_for()
    await page.reload()
    await page.get_by_text("later", exact=True).wait_for()

    await tab.button("Revoke").click()
    await expect(tab.button("Revoke")).to_have_count(0)
    await expect(tab.button("Make a link")).to_be_focused()
    await page.reload()
    await page.get_by_role("alert").get_by_text("This link is not valid.").wait_for()


async def test_a_chat_is_exported_and_printed(tab: Tab) -> None:
    await tab.start_chat("/say to keep")
    await tab.message("assistant", "to keep").wait_for()
    await tab.wait_idle()
    for action, suffix in (("Export as Markdown", ".md"), ("Export as JSON", ".json")):
        async with tab.page.expect_download() as download:
            await tab.act(action)
        file = await download.value
        assert file.suggested_filename.endswith(suffix)
        text = (await file.path()).read_text()
        assert "to keep" in text
        if suffix == ".json":
            assert len(json.loads(text)["messages"]) == 2
    await tab.page.emulate_media(media="print")
    for hidden in (tab.composer, tab.page.get_by_role("navigation"), tab.button("Actions for this chat")):
        await expect(hidden).to_be_hidden()
    await expect(tab.message("assistant")).to_be_visible()
    await expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
