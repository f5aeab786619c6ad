"""The page for everyone: by keyboard alone, on a phone, in light and dark, with names for whoever listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .visit import NO_SESSION, Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}

WIDE = f"""/say {"verylongword" * 30} and `{"code" * 60}`
/say  and https://example.org/{"path/" * 40} |a|b| {"<b>" * 50}
"""

FAULTS = """() => {
    const faults = [];
    const isSeen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('.hidden');
    const all = (selector) => [...document.querySelectorAll(selector)];
    const nameOf = (element) => [
        element.getAttribute('aria-label'),
        ...(element.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean)
            .map((id) => document.getElementById(id)?.textContent ?? ''),
        ...[...(element.labels ?? [])].map((label) => label.textContent),
        ['BUTTON', 'A', 'SUMMARY'].includes(element.tagName) ? element.textContent : '',
    ].join('').trim();
    const show = (element) => element.outerHTML.slice(0, 120);

    for (const element of all('button, a, input, textarea, select, summary, dialog, [role=log]'))
        if (!nameOf(element)) faults.push('no name: ' + show(element));
    for (const image of all('img')) if (!image.hasAttribute('alt')) faults.push('no alt: ' + show(image));
    const ids = all('[id]').map((element) => element.id);
    if (new Set(ids).size !== ids.length) faults.push('an id twice: ' + ids);
    for (const element of all('[aria-describedby], [aria-labelledby], label[for]'))
        for (const name of ['aria-describedby', 'aria-labelledby', 'for'])
            for (const id of (element.getAttribute(name) ?? '').split(' ').filter(Boolean))
                if (!document.getElementById(id)) faults.push('no such id: ' + id);
    if (!document.documentElement.lang) faults.push('no language');
    if (!document.title) faults.push('no title');
    if (all('main').length !== 1) faults.push('not one main');
    const levels = all('h1, h2, h3').filter((h) => isSeen(h) && !h.closest('.markdown')).map((h) => Number(h.tagName[1]));
    if (levels.filter((level) => level === 1).length !== 1) faults.push('not one h1');
    for (const element of all('[tabindex]')) if (element.tabIndex > 0) faults.push('tabindex: ' + show(element));
    for (const element of all('button, summary, .chat-list a')) {
        const { width, height } = element.getBoundingClientRect();
        if (isSeen(element) && (width < 24 || height < 24)) faults.push(`${width} × ${height}: ${show(element)}`);
    }

    // text against what lies behind it, as WCAG 2 counts
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3]));
    const light = (color) => color.slice(0, 3).map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
    const behind = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
        return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
    };
    for (const element of all('#app *')) {
        const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!hasText || !isSeen(element) || element.closest(':disabled, .actions')) continue;
        const ground = behind(element);
        const [one, two] = [light(over(rgba(getComputedStyle(element).color), ground)), light(ground)].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (two + 0.05);
        if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${show(element)}`);
    }
    return faults;
}"""  # noqa: E501
"""What a checker of accessibility would find: names, references, headings, sizes, contrasts."""

FOCUSED = """() => {
    const element = document.activeElement;
    const style = getComputedStyle(element.id === 'composer-text' ? element.parentElement : element);
    const text = element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.innerText;
    return { name: text.trim(), tag: element.tagName, isMarked: style.boxShadow !== 'none' };
}"""

NO_SIDEWAYS = """() => [...document.querySelectorAll('html, main, .transcript, .queue, .composer')]
    .every((element) => element.scrollWidth <= element.clientWidth)"""


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


async def test_everything_is_reached_by_tab_in_the_order_of_sight_and_is_marked(tab: Tab) -> None:
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
    fixed = ["Antiphon", "Sign out", "New chat", "/say the only answer", "Archived", "Rename", "Archive", "Delete",
             "Messages", "Edit", "Try again", "Message"]  # fmt: skip
    assert [name for name in names if name in fixed] == fixed
    assert (await press_tab(tab, "Shift+Tab"))["name"] == "Try again"
    await expect(tab.button("Try again").locator("..")).to_have_css("opacity", "1")


async def test_a_whole_conversation_goes_by_keyboard_alone(tab: Tab) -> None:
    keyboard = tab.page.keyboard
    assert (await tab.page.evaluate(FOCUSED))["name"] == "Message"
    await keyboard.type("/rate 50")
    await keyboard.press("Shift+Enter")
    await keyboard.type("/tokens 1000")
    await keyboard.press("Enter")
    await tab.preview.wait_for()
    assert await tab.message("user").locator(".bubble").text_content() == "/rate 50\n/tokens 1000"
    await keyboard.press("Shift+Tab")
    await keyboard.press("ArrowRight")  # from Queue to Steer, and the focus stays there
    await expect(tab.page.get_by_label("Steer", exact=True)).to_be_focused()
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

    await tab.button("Rename").focus()
    await keyboard.press("Enter")
    await expect(tab.page.get_by_label("Title")).to_be_focused()
    await keyboard.press("Escape")
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    await expect(tab.button("Rename")).to_be_focused()


async def test_on_a_phone_nothing_scrolls_sideways_and_the_composer_is_in_sight(
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
    await tab.page.get_by_role("heading", name="What is it about?").wait_for()
    await expect(tab.page.get_by_role("navigation")).to_be_hidden()
    assert await in_sight(tab, ".composer-box")


async def test_the_checker_finds_what_is_planted(tab: Tab) -> None:
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
    await tab.button("Rename").click()
    await check()
    await tab.page.keyboard.press("Escape")
    await tab.button("Delete").click()
    await check()
    await tab.page.keyboard.press("Escape")
    background = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
