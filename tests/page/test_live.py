"""The web UI with a real server in its own process, in a real browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from support.waiting import DEADLINE_S
from system.server_process import ServerProcess

from .visit import NO_CHAT, NO_SERVER, NO_SESSION, Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]


async def stored(server: ServerProcess, chat_id: str) -> dict[str, Any]:
    """The chat's messages and queue as the API gives them."""
    status, answer = await server.ask("GET", f"/chats/{chat_id}/messages?limit=1000")
    assert status == 200
    return answer


def text_of(message: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in message["content"]).strip()


async def said(server: ServerProcess, chat_id: str) -> list[tuple[int, str, str]]:
    """The expected content of the tab at the end: (id, role, text) of each message but the results of calls."""
    messages = (await stored(server, chat_id))["messages"]
    return [(message["id"], message["role"], text_of(message)) for message in messages if message["role"] != "tool"]


def words(first: int, last: int) -> str:
    return " ".join(f"w{n}" for n in range(first, last + 1))


# --- signing in -------------------------------------------------------------------------------------


async def test_the_token_of_the_address_signs_in_and_is_removed_from_it(visit: Visit, server: ServerProcess) -> None:
    tab = await visit.open()
    await tab.wait_live()
    assert tab.page.url == f"{visit.url}/"
    [cookie] = await visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    kept = "document.cookie + JSON.stringify({...localStorage, ...sessionStorage}) + location.href"
    assert server.token not in await tab.page.evaluate(kept)
    await tab.page.reload()
    await tab.wait_live()


async def test_a_wrong_token_is_refused_and_the_right_one_signs_in(visit: Visit, server: ServerProcess) -> None:
    visit.expected.append(NO_SESSION)
    tab = await visit.open(is_signed_in=False)
    await tab.page.get_by_label("Token").wait_for()
    await tab.page.goto(f"{visit.url}/#token=wrong")  # the open page does not load again
    await tab.page.get_by_text("This token is not valid.").wait_for()
    assert "wrong" not in tab.page.url
    await tab.page.get_by_label("Token").fill(server.token)
    await tab.page.keyboard.press("Enter")
    await tab.wait_live()


async def test_signing_out_lasts_over_a_reload(visit: Visit, tab: Tab) -> None:
    visit.expected.append(NO_SESSION)
    await tab.button("Sign out").click()
    await tab.page.get_by_label("Token").wait_for()
    assert await visit.context.cookies() == []
    await tab.page.reload()
    await tab.page.get_by_label("Token").wait_for()


# --- answers ----------------------------------------------------------------------------------------


async def test_a_new_chat_streams_its_answer_and_ends(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/rate 40\n/tokens 60")
    await tab.preview.get_by_text("w10").wait_for()
    await tab.stop.wait_for()
    await expect(tab.chat_list.locator(f"[data-chat-id='{chat_id}'] .status")).to_have_text("answering")
    assert words(1, 60).startswith(await tab.answer_so_far())
    await tab.wait_idle()
    assert await tab.shown() == await said(server, chat_id)
    assert (await tab.shown())[-1][2] == words(1, 60)
    await expect(tab.preview).to_have_count(0)
    await expect(tab.chat_list.locator("[aria-current=page] .status")).to_have_count(0)
    await expect(tab.page).to_have_title(re.compile(r"^(\(\d+\) )?/rate 40 · Antiphon$"))


async def test_two_tabs_show_the_same_words_at_every_moment(visit: Visit, tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/rate 150\n/tokens 10000")
    other = await visit.open(chat_id)
    await other.preview.wait_for()
    seen = set()
    while len(seen) < 10:
        one, two = await tab.answer_so_far(), await other.answer_so_far()
        assert one.startswith(two) or two.startswith(one)
        seen.add(two)
    await other.stop.click()
    await tab.wait_idle()
    await other.wait_idle()
    assert await tab.shown() == await other.shown() == await said(server, chat_id)


async def test_a_reload_during_an_answer_loses_nothing(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/rate 80\n/tokens 120")
    await tab.preview.get_by_text("w30").wait_for()
    await tab.composer.fill("typed, not sent")
    before = await tab.answer_so_far()
    await tab.page.reload()
    await expect(tab.page.locator("article.assistant")).to_contain_text(before)
    await expect(tab.composer).to_have_value("typed, not sent")
    await tab.wait_idle()
    assert await tab.shown() == await said(server, chat_id)
    assert (await tab.shown())[-1][2] == words(1, 120)


async def test_after_a_kill_during_an_answer_the_stream_resumes_by_its_cursor(visits: Visits, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        visit = await visits(f"http://127.0.0.1:{server.port}", server.token)
        visit.expected.append(NO_SERVER)
        tab = await visit.open()
        chat_id = await tab.start_chat("/rate 40\n/tokens 100")
        await tab.preview.get_by_text("w20").wait_for()
        await server.kill()
        await tab.page.get_by_text("Reconnecting…").wait_for()
        assert (await tab.answer_so_far()).startswith(words(1, 20)), "what was seen stays in sight"
        await tab.send("/say sent while it was away")
        await tab.page.get_by_text("The server cannot be reached. Trying again…").wait_for()
        await server.start()
        await tab.wait_live()
        await tab.message("assistant", "sent while it was away").wait_for()
        await tab.wait_idle()
        assert await tab.shown() == await said(server, chat_id)
        texts = [text for _, _, text in await tab.shown()]
        assert texts[-3:] == [words(1, 100), "/say sent while it was away", "sent while it was away"]
        streams = [request for request in visit.requests if request.url.endswith(f"{chat_id}/stream")]
        cursors = [request.headers.get("last-event-id") for request in streams]
        assert cursors[0] is None
        assert len(cursors) > 1
        assert all(cursors[1:])
    finally:
        await server.kill()


async def test_stop_keeps_the_partial_answer_and_marks_it(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/rate 50\n/tokens 1000")
    await tab.preview.get_by_text("w15").wait_for()
    await tab.stop.click()
    await tab.wait_idle()
    await tab.message("assistant").get_by_test_id("interrupted").wait_for()
    shown = await tab.shown()
    assert shown == await said(server, chat_id)
    assert words(1, 1000).startswith(shown[-1][2])
    assert shown[-1][2].startswith(words(1, 15))


async def test_a_failed_answer_shows_the_reason_and_can_be_retried(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/fail auth\n/say well")
    failure = tab.page.get_by_test_id("error")
    await failure.get_by_text("asked it to (auth)").wait_for()
    await expect(tab.chat_list.locator(f"[data-chat-id='{chat_id}'] .status")).to_have_text("failed")
    await tab.page.reload()  # the failure is stored, not only in this tab
    await failure.get_by_text("asked it to (auth)").wait_for()
    await tab.button("Try again", of=failure).click()
    await tab.message("assistant", "well").wait_for()
    await expect(failure).to_have_count(0)
    await tab.wait_idle()
    assert await tab.shown() == await said(server, chat_id)


async def test_a_scheduled_retry_shows_its_reason(tab: Tab, server: ServerProcess) -> None:
    # Three retries: a wait may be short by chance, but not all of them.
    chat_id = await tab.start_chat("/fail overloaded 3\n/say fine")
    waiting = tab.page.get_by_test_id("waiting")
    waits = re.compile(r"The model is overloaded, retrying.*\(try [234]\)", re.DOTALL)
    await waiting.filter(has_text=waits).wait_for()
    await tab.message("assistant", "fine").wait_for()
    await tab.wait_idle()
    await expect(waiting).to_have_count(0)
    assert await tab.shown() == await said(server, chat_id)


async def test_reasoning_and_tool_calls_are_collapsed(tab: Tab, server: ServerProcess) -> None:
    await tab.start_chat('/think Let me see\n/call nothing {"a": [1, 2]}\n/say so it was')
    await tab.message("assistant", "so it was").wait_for()
    thoughts = tab.page.get_by_test_id("reasoning")
    await expect(thoughts.locator(".markdown")).to_have_count(0)
    await thoughts.locator("summary").click()
    await expect(thoughts.locator(".markdown")).to_have_text("Let me see")
    call = tab.page.get_by_test_id("tool-call")
    await expect(call.locator("summary")).to_contain_text("nothing([1,2]) → ")
    await expect(call.locator("summary")).to_contain_text("failed")


# --- what a person does -----------------------------------------------------------------------------


async def test_the_queue_is_edited_moved_deleted_and_promoted(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/rate 20\n/tokens 2000")
    await tab.preview.wait_for()
    for text in ("/say one", "/say two", "/say three", "/say four"):
        await tab.send(text)
    await expect(tab.queue.locator(".queued-text")).to_have_text(["/say one", "/say two", "/say three", "/say four"])
    await tab.button("Edit", of=tab.queue.nth(0)).click()
    await tab.queue.get_by_label("Text").fill("/say first")
    await tab.button("Save", of=tab.queue.nth(0)).click()
    await expect(tab.queue.locator(".queued-text")).to_have_text(
        ["/say first", "/say two", "/say three", "/say four"]
    )
    await tab.button("Move down", of=tab.queue.nth(0)).click()
    await expect(tab.queue.locator(".queued-text")).to_have_text(
        ["/say two", "/say first", "/say three", "/say four"]
    )
    await tab.button("Move up", of=tab.queue.nth(3)).click()
    await expect(tab.queue.locator(".queued-text")).to_have_text(
        ["/say two", "/say first", "/say four", "/say three"]
    )
    await expect(tab.button("Move up", of=tab.queue.nth(0))).to_be_disabled()
    await tab.button("Delete", of=tab.queue.nth(1)).click()
    await expect(tab.queue.locator(".queued-text")).to_have_text(["/say two", "/say four", "/say three"])
    queued = (await stored(server, chat_id))["queued_messages"]
    assert [text_of(message) for message in queued] == ["/say two", "/say four", "/say three"]
    await tab.button("Send now", of=tab.queue.nth(2)).click()
    await tab.message("assistant", "four").wait_for()
    await tab.wait_idle()
    await expect(tab.queue).to_have_count(0)
    assert await tab.shown() == await said(server, chat_id)
    texts = [text for _, _, text in await tab.shown()]
    assert texts[2:] == ["/say three", "three", "/say two", "two", "/say four", "four"]
    await expect(tab.page.get_by_test_id("interrupted")).to_have_count(1)


async def test_a_steering_message_joins_the_answer(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/rate 25\n/tokens 60\n/call nothing {}")
    await tab.preview.wait_for()
    await tab.page.get_by_text("Add to this answer", exact=True).click()
    await tab.page.wait_for_function("document.activeElement?.id === 'composer-text'")
    await tab.page.keyboard.type("/say this way")
    await tab.page.keyboard.press("Enter")
    await expect(tab.queue).to_contain_text(["Joins this answer"])
    await expect(tab.page.get_by_label("Wait", exact=True)).to_be_checked()  # a choice applies to one message
    await tab.message("assistant", "this way").wait_for()
    await tab.wait_idle()
    assert await tab.shown() == await said(server, chat_id)
    messages = (await stored(server, chat_id))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert len({message["turn_id"] for message in messages}) == 1


async def test_the_choice_of_when_busy_is_reset_after_the_answer(tab: Tab) -> None:
    await tab.start_chat("/rate 50\n/tokens 1000")
    await tab.page.get_by_text("Interrupt", exact=True).click()
    await tab.stop.click()
    await tab.wait_idle()
    await tab.send("/rate 50\n/tokens 1000")
    await expect(tab.page.get_by_label("Wait", exact=True)).to_be_checked()
    await tab.stop.click()
    await tab.wait_idle()


async def test_an_edited_message_replaces_what_followed(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/say one")
    await tab.message("assistant", "one").wait_for()
    await tab.send("/say two")
    await tab.message("assistant", "two").wait_for()
    await tab.wait_idle()
    first = tab.messages.first
    await first.hover()
    await tab.button("Edit", of=first).click()
    await tab.page.get_by_label("Text").fill("/say another")
    await tab.button("Send again").click()
    await tab.message("assistant", "another").wait_for()
    await tab.wait_idle()
    assert [text for _, _, text in await tab.shown()] == ["/say another", "another"]
    assert await tab.shown() == await said(server, chat_id)


async def test_a_chat_is_renamed_archived_and_deleted(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/say here")
    await tab.message("assistant", "here").wait_for()
    await tab.wait_idle()
    item = tab.chat_list.locator(f"[data-chat-id='{chat_id}']")
    await tab.act("Rename")
    await tab.page.get_by_label("Title").fill("A better name")
    await tab.page.keyboard.press("Enter")
    await expect(item.locator(".title")).to_have_text("A better name")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("A better name")
    await expect(tab.page).to_have_title(re.compile(r"^(\(\d+\) )?A better name · Antiphon$"))

    await tab.act("Archive")
    await expect(item).to_have_count(0)
    await tab.page.locator(".head .tag").get_by_text("Archived").wait_for()
    await tab.button("Archived").click()
    await expect(item).to_have_text("A better name")
    await tab.act("Restore from the archive")
    await expect(item).to_have_count(0)
    await tab.button("Back to chats").click()
    await expect(item).to_have_count(1)

    tab.visit.expected.append(NO_CHAT)  # of a notification that the page marks as read while the chat is deleted
    await tab.act("Delete")
    await expect(item).to_have_count(0)
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()
    await tab.button("Dismiss").click()
    async with asyncio.timeout(DEADLINE_S):
        while (await server.ask("GET", f"/chats/{chat_id}"))[0] != 404:
            await asyncio.sleep(0.05)


async def test_a_chat_deleted_by_another_client_is_reported(visit: Visit, tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("/say here")
    await tab.wait_idle()
    await server.ask("DELETE", f"/chats/{chat_id}")
    await tab.page.get_by_role("heading", name="Chat not found").wait_for()
    await expect(tab.chat_list.locator(f"[data-chat-id='{chat_id}']")).to_have_count(0)
    await tab.button("New chat", of=tab.page.get_by_role("main")).click()
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()
