"""Marking as read: on leaving a chat, and in an inbox longer than its list; and writing on a phone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .test_access import PHONE
from .visit import Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]


async def until(condition: Callable[[], Awaitable[bool]], visit: Visit, what: str) -> None:
    page = visit.context.pages[0]
    for _ in range(400):
        if await condition():
            return
        await page.wait_for_timeout(25)
    raise AssertionError(what)


def reads(visit: Visit, chat_id: str) -> list[int]:
    """The seqs up to which the web UI has marked the chat as read."""
    found = [r for r in visit.requests if r.method == "PUT" and r.url.endswith(f"/chats/{chat_id}/read")]
    return [int((r.post_data_json or {})["seq"]) for r in found]


@pytest.mark.parametrize("leave", ["another chat", "the inbox"])
async def test_a_chat_that_is_left_right_after_its_answer_is_read(
    visit: Visit, server: ServerProcess, leave: str
) -> None:
    tab = await visit.open()
    await tab.wait_live()
    chat_id = await tab.start_chat("/say here")
    await tab.message("assistant", "here").wait_for()
    await tab.wait_idle()
    assert reads(visit, chat_id) == [], "left before the page says by itself that it was read"
    await tab.page.get_by_test_id("new-chat" if leave == "another chat" else "to-inbox").click()

    async def is_read() -> bool:
        return not (await server.ask("GET", f"/chats/{chat_id}"))[1]["has_unread"]

    await until(is_read, visit, "the chat is read")
    item = tab.chat_list.locator(f"[data-chat-id='{chat_id}']")
    await expect(item).not_to_contain_text("unread")
    assert reads(visit, chat_id) == [(await server.ask("GET", f"/chats/{chat_id}"))[1]["seq"]]


async def test_an_answer_that_comes_after_the_chat_was_left_is_unread(visit: Visit, server: ServerProcess) -> None:
    tab = await visit.open()
    await tab.wait_live()
    chat_id = await tab.start_chat("/tokens 3\n/stall 5\n/say end")
    await tab.preview.wait_for()
    await tab.page.get_by_test_id("new-chat").click()
    await expect(tab.chat_list.locator(f"[data-chat-id='{chat_id}']")).to_contain_text("unread", timeout=30_000)


async def test_the_unread_count_decreases_for_a_notification_older_than_the_shown_list(
    visit: Visit, server: ServerProcess
) -> None:
    ids = []
    for number in range(56):
        body = {"content": f"/rate 0\n/say {number}", "title": f"Chat {number}"}
        _, chat = await server.ask("POST", "/chats", body)
        ids.append(chat["id"])

    async def inbox() -> dict[str, Any]:
        return dict((await server.ask("GET", "/inbox?unread=true&limit=200"))[1])

    async def are_all_listed() -> bool:
        listed = {target for item in (await inbox())["notifications"] for target in item["targets"]}
        return listed.issuperset(ids)

    tab = await visit.open()
    await until(are_all_listed, visit, "every answer is in the inbox")
    count = (await inbox())["unread_count"]
    await tab.page.reload()
    to_inbox = tab.page.get_by_test_id("to-inbox")
    await expect(to_inbox).to_contain_text(str(count))
    for opened in (ids[0], ids[-1]):
        await tab.page.goto(f"{visit.url}/#/chat/{opened}")
        await tab.message("assistant").wait_for()
        count -= 1
        await expect(to_inbox).to_contain_text(str(count))
    assert (await inbox())["unread_count"] == count


async def test_on_a_phone_enter_adds_a_new_line_and_the_button_sends(visits: Visits, server: ServerProcess) -> None:
    visit = await visits(f"http://127.0.0.1:{server.port}", server.token, **PHONE)
    tab = await visit.open()
    await tab.composer.fill("one")
    await tab.composer.press("End")
    await tab.composer.press("Enter")
    await tab.composer.press_sequentially("two")
    await expect(tab.composer).to_have_value("one\ntwo")
    assert await tab.composer.get_attribute("enterkeyhint") == "enter"
    await tab.page.get_by_test_id("send").tap()
    await tab.message("user").wait_for()
    _, page = await server.ask("GET", f"/chats/{tab.chat_id}/messages")
    assert page["messages"][0]["content"][0]["text"] == "one\ntwo"


async def test_with_a_keyboard_enter_sends(visit: Visit) -> None:
    tab = await visit.open()
    assert await tab.composer.get_attribute("enterkeyhint") == "send"
    await tab.composer.fill("hello")
    await tab.composer.press("Enter")
    await tab.message("user", "hello").wait_for()
