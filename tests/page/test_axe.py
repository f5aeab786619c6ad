"""Every view of the web UI has no violation of axe-core's rules, in light and dark and on screens of all widths."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .axe import AXE_MARKS, violations_of
from .faults import NO_SIDEWAYS
from .visit import NO_SESSION, Tab, Visit

pytestmark = [pytest.mark.anyio, *AXE_MARKS]

Visits = Callable[..., Awaitable[Visit]]
SECTIONS = ("models", "prompt", "tools", "usage", "appearance", "members", "servers", "about")
CONTENT = '/think about it\n/say # Heading\n/say **bold** `code` [link](https://example.org)\n/call nothing {"a": 1}'


async def iter_views(tab: Tab, server: ServerProcess) -> AsyncIterator[str]:
    """Opens one view of the page after the other; yields its name."""
    page = tab.page
    await page.get_by_test_id("setup").wait_for()
    yield "a new chat, with the demo model"
    await page.get_by_role("button", name="Connect a model").click()
    yield "connecting a model"
    labels = {"work": "", "project": "apollo"}
    _, chat = await server.ask("POST", "/chats", {"content": CONTENT, "title": "A chat", "labels": labels})
    await page.goto(f"{tab.visit.url}/#/chat/{chat['id']}")
    await tab.message("assistant", "Heading").wait_for()
    await tab.wait_idle()
    yield "a chat"
    await tab.button("Actions for this chat").click()
    yield "the menu of a chat"
    await page.keyboard.press("Escape")
    await tab.act("Share…")
    await tab.button("Make a link").click()
    link = await page.get_by_label("Link to this chat").input_value()
    yield "sharing"
    await page.keyboard.press("Escape")
    await tab.act("Delete")
    await page.get_by_test_id("toast").get_by_text("was deleted").wait_for()
    yield "undo"
    await tab.button("Undo").click()
    await tab.message("assistant", "Heading").wait_for()
    await page.goto(f"{tab.visit.url}/#/inbox")
    await page.get_by_test_id("inbox").wait_for()
    yield "the inbox"
    for section in SECTIONS:
        await page.goto(f"{tab.visit.url}/#/settings/{section}")
        await (
            page.get_by_test_id("sections").locator("[aria-current=page]").filter(has_text=section.title()).wait_for()
        )
        await expect(page.get_by_text("Loading…")).to_have_count(0)
        yield section
    await page.keyboard.press("Control+k")
    await page.get_by_test_id("palette").get_by_role("option").first.wait_for()
    yield "the palette"
    await page.keyboard.press("Escape")
    await page.get_by_role("heading", level=1).focus()
    await page.keyboard.press("?")
    await page.get_by_test_id("shortcuts").wait_for()
    yield "the shortcuts"
    await page.keyboard.press("Escape")
    if await tab.button("List of chats").is_visible():
        await tab.button("List of chats").click()
        await expect(page.get_by_role("navigation", name="Chats")).to_be_in_viewport(ratio=1)
        yield "the list"
    await page.goto(link)
    await page.get_by_test_id("shared").get_by_role("heading", name="Heading").wait_for()
    yield "a shared chat"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1920])
async def test_no_view_violates_a_rule(visits: Visits, server: ServerProcess, width: int, scheme: str) -> None:
    visit = await visits(
        f"http://127.0.0.1:{server.port}",
        server.token,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    visit.expected.append(NO_SESSION)
    tab = await visit.open(is_signed_in=False)
    await tab.page.get_by_label("Token").wait_for()
    found = {"signing in": await violations_of(tab.page)}
    await tab.page.get_by_label("Token").fill(server.token)
    await tab.page.keyboard.press("Enter")
    async for view in iter_views(tab, server):
        found[view] = await violations_of(tab.page)
        if not await tab.page.evaluate(NO_SIDEWAYS):
            found[view] = [*found[view], "scrolls sideways"]
    problems = [f"{view}: {problem}" for view, problems in found.items() for problem in problems]
    assert problems == [], "\n".join(problems)
