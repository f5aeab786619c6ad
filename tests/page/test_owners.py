"""Two owners in one browser: what one has written is neither sent nor shown as the other's."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Route, expect

from system.server_process import ServerProcess

from .visit import NO_CHAT, NO_SERVER, NO_SESSION, Tab, Visit

pytestmark = pytest.mark.anyio


async def member(server: ServerProcess, name: str) -> str:
    status, made = await server.ask("POST", "/tokens", {"owner": name, "admin": False})
    assert status == 201, made
    token: str = made["token"]
    return token


async def titles(server: ServerProcess, token: str) -> list[str]:
    _, found = await server.ask("GET", "/chats", token=token)
    return [chat["title"] for chat in found["chats"]]


async def refuse(route: Route) -> None:
    await (route.abort() if route.request.method == "POST" else route.continue_())


async def test_what_was_not_sent_yet_is_not_sent_by_the_next_owner(
    visit: Visit, tab: Tab, server: ServerProcess
) -> None:
    visit.expected += [NO_SERVER, NO_SESSION, NO_CHAT]
    token = await member(server, "bob")
    await tab.wait_live()
    await tab.page.route("**/api/v1/chats", refuse)
    await tab.send("a secret of the admin")
    await tab.page.get_by_test_id("pending").get_by_text("Trying again").wait_for()
    await tab.composer.fill("another secret")
    await visit.context.clear_cookies()
    await tab.page.reload()
    await tab.page.get_by_label("Token").fill(token)
    await tab.page.unroute("**/api/v1/chats")
    await tab.button("Sign in").click()
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()
    await tab.wait_live()
    await expect(tab.composer).to_have_value("")
    await expect(tab.page.get_by_text("secret")).to_have_count(0)
    assert "secret" not in str(await stored(tab))
    await tab.start_chat("mine")
    await tab.wait_idle()
    assert await titles(server, token) == ["mine"]


async def stored(tab: Tab) -> Any:
    return await tab.page.evaluate("({...sessionStorage})")


async def test_a_sign_in_in_another_tab_changes_who_the_open_tabs_are(
    visit: Visit, tab: Tab, server: ServerProcess
) -> None:
    visit.expected.append(NO_CHAT)
    token = await member(server, "eve")
    await tab.start_chat("a chat of the admin")
    await tab.wait_idle()
    await tab.composer.fill("a draft of the admin")
    other = await visit.open()
    await other.page.goto(f"{visit.url}/#token={token}")
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()
    await tab.wait_live()
    await expect(tab.chat_list.get_by_text("a chat of the admin")).to_have_count(0)
    await expect(tab.composer).to_have_value("")
    assert "draft" not in str(await stored(tab))
