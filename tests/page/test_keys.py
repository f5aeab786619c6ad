"""Keys of the web UI: palette, shortcuts, moving between chats; and what a tab in the background shows."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from support.waiting import DEADLINE_S
from system.server_process import ServerProcess

from .visit import Tab, Visit

pytestmark = pytest.mark.anyio

HIDE = """isHidden => {
    Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""
RECORD = """() => {
    window.shown = [];
    window.Notification = new Proxy(Notification, { construct(target, [title, options]) {
        shown.push([title, options.body]);
        return new target(title, options);
    } });
}"""
"""Records the notifications that the page shows."""


async def create(server: ServerProcess, title: str, content: str | None = None) -> str:
    _, chat = await server.ask("POST", "/chats", {"title": title, "content": content})
    return str(chat["id"])


async def test_chats_and_commands_are_reached_by_keys_alone(tab: Tab, server: ServerProcess) -> None:
    page, keyboard = tab.page, tab.page.keyboard
    first, second = await create(server, "Garden plan"), await create(server, "Holiday")
    await tab.chat_list.get_by_role("link", name="Holiday").wait_for()

    await keyboard.press("Control+k")
    palette = page.get_by_test_id("palette")
    await expect(palette.get_by_role("combobox")).to_be_focused()
    await keyboard.type("grdpl")
    await expect(palette.get_by_role("option", selected=True)).to_contain_text("Garden plan")
    await keyboard.press("Enter")
    await expect(page).to_have_url(f"{tab.visit.url}/#/chat/{first}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Garden plan")
    await keyboard.press("Alt+ArrowUp")
    await expect(page).to_have_url(f"{tab.visit.url}/#/chat/{second}")
    await keyboard.press("Alt+ArrowDown")
    await expect(page).to_have_url(f"{tab.visit.url}/#/chat/{first}")

    await keyboard.press("Control+k")
    await keyboard.type("archive this")
    await keyboard.press("Enter")
    await expect(page.get_by_test_id("toast")).to_contain_text("“Garden plan” was archived.")
    await keyboard.press("Control+Shift+O")
    await page.get_by_role("heading", name="Start a chat").wait_for()
    await expect(tab.composer).to_be_focused()

    await keyboard.type("is this a ?")  # while one types, keys are text
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await tab.composer.fill("")
    await page.get_by_role("heading", level=1).focus()
    await keyboard.press("?")
    await page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    await keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await keyboard.press("/")
    await expect(page.get_by_label("Search chats")).to_be_focused()
    await tab.button("Skip to the message box").focus()
    await keyboard.press("Enter")
    await expect(tab.composer).to_be_focused()
    await keyboard.press("Control+,")
    await page.get_by_role("heading", level=1, name="Settings").wait_for()


async def test_a_tab_in_the_background_is_marked_and_notifies_if_wanted(visit: Visit, server: ServerProcess) -> None:
    await visit.context.grant_permissions(["notifications"])
    tab = await visit.open()
    page = tab.page
    await tab.wait_live()
    await page.evaluate(RECORD)
    await page.get_by_test_id("to-settings").click()
    await page.get_by_role("link", name="Appearance").click()
    await page.get_by_label("Notify me").check()
    await page.evaluate(HIDE, True)
    chat_id = await create(server, "Background", "/say it is secret")
    await expect(page).to_have_title("(1) Appearance · Settings · Antiphon")
    async with asyncio.timeout(DEADLINE_S):
        while not (shown := await page.evaluate("window.shown")):
            await asyncio.sleep(0.05)
    assert shown == [["Background has an answer", ""]]
    assert (await page.evaluate("document.querySelector('link[rel=icon]').href")).startswith("data:image/png")
    await page.evaluate(HIDE, False)
    await page.goto(f"{visit.url}/#/chat/{chat_id}")
    await expect(page).to_have_title("Background · Antiphon")
    assert (await page.evaluate("document.querySelector('link[rel=icon]').href")).endswith("icon.svg")


async def test_the_focus_is_kept_when_what_has_it_disappears_with_the_answer(tab: Tab) -> None:
    await tab.start_chat("/rate 20\n/tokens 1000")
    for text in ("next", "later"):
        await tab.send(text)
    await expect(tab.queue).to_have_count(2)
    await tab.button("Delete", of=tab.queue.last).press("Enter")
    await expect(tab.button("Delete", of=tab.queue.first)).to_be_focused()
    await tab.button("Edit", of=tab.queue.first).press("Enter")
    await tab.page.keyboard.press("Control+End")
    await tab.page.keyboard.type(" changed")
    await tab.stop.click()  # the message is sent while it is edited
    await tab.message("user", "next").wait_for()
    await expect(tab.composer).to_have_value("next changed")
    await expect(tab.page.get_by_text("sent before the change was saved")).to_be_visible()
    await tab.wait_idle()
    await expect(tab.composer).to_be_focused()
    await tab.button("Try again", of=tab.message("assistant")).press("Enter")
    await expect(tab.page.get_by_text("2/2")).to_be_visible()
    await expect(tab.composer).to_be_focused()


async def test_the_change_of_a_question_is_kept_and_opens_no_editor_in_another_chat(tab: Tab) -> None:
    other = await tab.start_chat("/say other")
    await tab.wait_idle()
    chat_id = await tab.start_chat("/say one")
    await tab.wait_idle()
    edit = tab.button("Edit", of=tab.message("user"))
    text = tab.page.get_by_label("Text", exact=True)
    await edit.click()
    await text.fill("/say two")
    await tab.page.goto(f"{tab.visit.url}/#/chat/{other}")
    await tab.message("assistant", "other").wait_for()
    await expect(text).to_have_count(0)
    await tab.page.goto(f"{tab.visit.url}/#/chat/{chat_id}")
    await tab.message("assistant", "one").wait_for()
    await tab.page.reload()
    await edit.click()
    await expect(text).to_have_value("/say two")
    await tab.button("Cancel").click()
    await edit.click()
    await expect(text).to_have_value("/say one")
    await tab.page.keyboard.press("Control+k")
    palette = tab.page.get_by_test_id("palette")
    await palette.get_by_role("combobox").fill("words")
    await tab.page.keyboard.press("Escape")
    await expect(palette).to_have_count(0)
