"""The inbox of the web UI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .visit import Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]


@pytest.fixture
async def visit(visits: Visits, server: ServerProcess) -> Visit:
    return await visits(f"http://127.0.0.1:{server.port}", server.token)


async def test_an_unwatched_answer_makes_a_notification_that_can_be_read(visit: Visit, server: ServerProcess) -> None:
    tab = await visit.open()
    await tab.wait_live()
    _, chat = await server.ask("POST", "/chats", {"content": "/say <b>it</b> is done", "title": "Unwatched"})
    item = tab.chat_list.locator(f"[data-chat-id='{chat['id']}']")
    await expect(item).to_contain_text("unread")
    to_inbox = tab.page.get_by_test_id("to-inbox")
    await expect(to_inbox).to_contain_text("1")
    await to_inbox.click()
    notification = tab.page.get_by_test_id("inbox").locator("li")
    await expect(notification).to_have_count(1)
    await expect(notification).to_contain_text("Unwatched has an answer")
    await expect(notification).to_contain_text("<b>it</b> is done")
    await notification.get_by_role("link").click()
    await expect(tab.message("assistant")).to_contain_text("is done")
    await expect(to_inbox).not_to_contain_text("1")
    await expect(item).not_to_contain_text("unread")
    _, shown = await server.ask("GET", f"/chats/{chat['id']}")
    assert shown["has_unread"] is False
    _, inbox = await server.ask("GET", "/inbox")
    assert inbox["unread_count"] == 0


async def test_a_watched_answer_makes_no_unread_notification(visit: Visit, server: ServerProcess) -> None:
    tab = await visit.open()
    await tab.wait_live()
    await tab.send("/say here")
    await expect(tab.message("assistant")).to_contain_text("here")

    async def is_read() -> bool:
        _, chat = await server.ask("GET", f"/chats/{tab.chat_id}")
        return not chat["has_unread"]

    await tab.page.wait_for_timeout(0)
    for _ in range(200):
        if await is_read():
            break
        await tab.page.wait_for_timeout(50)
    assert await is_read()


async def test_all_notifications_are_marked_as_read_at_once(visit: Visit, server: ServerProcess) -> None:
    for number in range(3):
        await server.ask("POST", "/chats", {"content": f"/say {number}", "title": f"Numbered {number}"})
    tab = await visit.open()
    await tab.wait_live()
    await tab.page.get_by_test_id("to-inbox").click()
    unread = tab.page.get_by_test_id("inbox").locator("li.unread", has_text="Numbered")  # not of earlier tests' chats
    await expect(unread).to_have_count(3)
    await tab.button("Mark all as read").click()
    await expect(unread).to_have_count(0)
    await expect(tab.button("Mark all as read")).to_be_disabled()
