"""Accessibility of the web UI: by keyboard, on a phone, in light and dark, and for screen readers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .faults import FAULTS, NO_SIDEWAYS
from .visit import NO_SESSION, Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}

WIDE = f"""/say {"verylongword" * 30} and `{"code" * 60}`
/say  and https://example.org/{"path/" * 40} |a|b| {"<b>" * 50}
"""

FOCUSED = """() => {
    const element = document.activeElement;
    const style = getComputedStyle(element.matches('#composer-text, #chat-search') ? element.parentElement : element);
    const text = element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.innerText;
    return { name: text.trim(), tag: element.tagName, isMarked: style.boxShadow !== 'none' };
}"""


async def press_tab(tab: Tab, key: str = "Tab") -> dict[str, Any]:
    await tab.page.keyboard.press(key)
    focused: dict[str, Any] = await tab.page.evaluate(FOCUSED)
    return focused


async def in_sight(tab: Tab, selector: str) -> bool:
    box = await tab.page.locator(selector).bounding_box()
    view = tab.page.viewport_size
    assert box is not None
    assert view is not None
    return box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= view["width"] and (
        box["y"] + box["height"] <= view["height"])  # fmt: skip


async def test_tab_reaches_every_control_in_visual_order_and_marks_it(tab: Tab) -> None:
    await tab.start_chat("/say the only answer")
    await tab.message("assistant", "the only answer").wait_for()
    await tab.wait_idle()
    await tab.page.keyboard.press("Escape")
    order = [await press_tab(tab)]
    while order[-1]["name"] != "Message":
        assert len(order) < 60
        order.append(await press_tab(tab))
    assert all(focused["isMarked"] for focused in order if focused["tag"] != "BODY"), order
    names = [focused["name"] for focused in order if focused["tag"] != "BODY"]
    fixed = ["Skip to the message box", "Antiphon", "Sign out", "New chat", "Search chats", "/say the only answer",
             "Archived", "Settings", "Actions for this chat", "Messages", "Edit",
             "Copy", "Fork from here", "Copy", "Try again", "Fork from here", "Message"]  # fmt: skip
    assert [name for name in names if name in fixed] == fixed
    assert (await press_tab(tab, "Shift+Tab"))["name"] == "Fork from here"
    await expect(tab.button("Try again").locator("..")).to_have_css("opacity", "1")


async def test_a_whole_conversation_works_by_keyboard(tab: Tab) -> None:
    keyboard = tab.page.keyboard
    assert (await tab.page.evaluate(FOCUSED))["name"] == "Message"
    await keyboard.type("/rate 50")
    await keyboard.press("Shift+Enter")
    await keyboard.type("/tokens 1000")
    await keyboard.press("Enter")
    await tab.preview.wait_for()
    assert await tab.message("user").locator(".bubble").text_content() == "/rate 50\n/tokens 1000"
    await tab.page.get_by_label("Wait", exact=True).focus()
    await keyboard.press("ArrowRight")  # the next choice, and the focus stays there
    await expect(tab.page.get_by_label("Add to this answer", exact=True)).to_be_focused()
    await tab.composer.focus()
    await keyboard.press("Enter")  # nothing to send
    await expect(tab.queue).to_have_count(0)
    await keyboard.press("Escape")
    await tab.message("assistant").get_by_test_id("interrupted").wait_for()
    await tab.wait_idle()

    await tab.button("Edit", of=tab.messages.first).focus()
    await keyboard.press("Enter")
    await expect(tab.page.get_by_label("Text")).to_be_focused()
    await keyboard.press("Escape")
    await expect(tab.page.get_by_label("Text")).to_have_count(0)
    await expect(tab.button("Edit", of=tab.messages.first)).to_be_focused()
    await keyboard.press("Enter")
    await keyboard.press("Control+a")
    await keyboard.type("/say edited")
    await keyboard.press("Control+Enter")
    await tab.message("assistant", "edited").wait_for()
    await tab.wait_idle()

    await tab.button("Actions for this chat").focus()
    await keyboard.press("Enter")
    await expect(tab.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await keyboard.press("Enter")
    await expect(tab.page.get_by_label("Title")).to_be_focused()
    await keyboard.press("Escape")
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    await expect(tab.button("Actions for this chat")).to_be_focused()


async def test_on_a_phone_nothing_scrolls_sideways_and_the_composer_is_visible(
    visits: Visits, server: ServerProcess
) -> None:
    visit = await visits(f"http://127.0.0.1:{server.port}", server.token, **PHONE)
    tab = await visit.open()
    assert await tab.page.evaluate(NO_SIDEWAYS)
    await expect(tab.page.get_by_role("navigation")).to_be_hidden()
    await tab.send(WIDE)
    await tab.message("assistant").wait_for()
    await tab.wait_idle()
    assert await tab.page.evaluate(NO_SIDEWAYS)
    await tab.send("/rate 20\n/tokens 1000")
    await tab.preview.wait_for()
    await tab.send(f"a message that waits and is too long for one line {'x' * 100}")
    await expect(tab.queue).to_have_count(1)
    assert await tab.page.evaluate(NO_SIDEWAYS)
    assert await in_sight(tab, ".composer-box")
    assert await in_sight(tab, "[data-testid=stop]")
    assert await tab.page.evaluate(FAULTS) == []
    await tab.stop.tap()
    await tab.message("assistant").wait_for()
    await tab.wait_idle()

    await tab.button("List of chats").tap()
    await expect(tab.page.get_by_role("navigation")).to_be_in_viewport(ratio=1)
    assert await tab.page.evaluate(NO_SIDEWAYS)
    await tab.page.get_by_test_id("new-chat").tap()
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()
    await expect(tab.page.get_by_role("navigation")).to_be_hidden()
    assert await in_sight(tab, ".composer-box")


async def test_the_checker_finds_planted_problems(tab: Tab) -> None:
    await tab.page.evaluate(
        """() => {
            const app = document.querySelector('#app');
            app.insertAdjacentHTML('beforeend', '<button></button><h1>two</h1><img src="data:,"><p id="app">p</p>');
            app.lastChild.style.color = '#999';
        }"""
    )
    found = "\n".join(await tab.page.evaluate(FAULTS))
    for fault in ("no name: <button>", "not one h1", "no alt: <img", "an id twice", "contrast 2."):
        assert fault in found


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_names_headings_sizes_and_contrasts_are_right(
    visits: Visits, server: ServerProcess, scheme: str
) -> None:
    visit = await visits(
        f"http://127.0.0.1:{server.port}", server.token, color_scheme=scheme, reduced_motion="reduce"
    )
    visit.expected.append(NO_SESSION)

    async def check() -> None:
        assert await tab.page.evaluate(FAULTS) == []

    tab = await visit.open(is_signed_in=False)
    await tab.page.get_by_label("Token").fill("wrong")
    await tab.page.keyboard.press("Enter")
    await tab.page.get_by_text("This token is not valid.").wait_for()
    await check()
    await tab.page.get_by_label("Token").fill(server.token)
    await tab.page.keyboard.press("Enter")
    await tab.wait_live()
    await check()
    await tab.start_chat('/think so\n/say **bold** `code` [link](https://example.org)\n/call nothing {"a": 1}')
    await tab.wait_idle()
    for fold in await tab.page.locator("summary").all():
        await fold.click()
    await check()
    await tab.send("/fail auth")
    await tab.page.get_by_test_id("error").wait_for()
    await check()
    await tab.send("/rate 20\n/tokens 1000")
    await tab.preview.wait_for()
    await tab.send("waits")
    await expect(tab.queue).to_have_count(1)
    await tab.button("Edit", of=tab.queue.first).click()
    await check()
    await tab.button("Cancel", of=tab.queue.first).click()
    await tab.button("Delete", of=tab.queue.first).click()
    await tab.stop.click()
    await tab.wait_idle()
    await check()
    await tab.act("Rename")
    await check()
    await tab.page.keyboard.press("Escape")
    await tab.button("Actions for this chat").click()
    await check()
    await tab.page.keyboard.press("Escape")
    background = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
