"""How answers are shown: images, code in lists, very long texts, directions of writing, sizes and contrasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from .test_browser import CHAT, ORIGIN, Server, browser, message, page, server

__all__ = ["browser", "page", "server"]

SVG = "%3Csvg xmlns='http://www.w3.org/2000/svg' width='400' height='3000'%3E%3C/svg%3E"
TALL = f"![tall](data:image/svg+xml,{SVG.replace(' ', '%20')})"


def show(page: Any, server: Server, *texts: str, parts: list[dict[str, Any]] | None = None) -> None:
    """Open the chat with an answer of these texts (or parts)."""
    answers = [message(3 + n, "assistant", text) for n, text in enumerate(texts)]
    if parts is not None:
        answers = [{"id": 3, "role": "assistant", "turn_id": 2, "content": parts}]
    server.messages = [message(2, "user", "hello"), *answers]
    server.streams = [server.resync()]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    page.locator("[data-testid=message][data-role=assistant]").last.wait_for()


def distance_to_bottom(page: Any) -> float:
    return float(page.get_by_test_id("transcript").evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight"))


@pytest.mark.parametrize("way", ["Markdown", "a file part"])
def test_the_transcript_stays_at_the_bottom_when_an_image_is_decoded(page: Any, server: Server, way: str) -> None:
    page.add_init_script("window.decoded = 0")
    if way == "Markdown":
        show(page, server, f"{TALL}\n\nthe end")
    else:
        png = page.evaluate(
            """() => { const c = Object.assign(document.createElement('canvas'), {width: 40, height: 3000});
                       return c.toDataURL('image/png').split(',')[1]; }"""
        )
        show(page, server, parts=[{"type": "file", "media_type": "image/png", "data": png},
                                  {"type": "text", "text": "the end"}])  # fmt: skip
    wait_sync(lambda: page.evaluate("document.querySelector('[data-testid=message] img')?.naturalHeight >= 2000"))
    wait_sync(lambda: distance_to_bottom(page) < 24)


def wait_sync(condition: Callable[[], Any]) -> None:
    """Wait for a condition of the page. (Its policy forbids that Playwright repeats one there.)"""
    for _ in range(300):
        if condition():
            return
        time.sleep(0.05)
    assert condition()


NESTED = """1. first

   ```python
   one = 1
   ```

2. second
   - deeper

     ```
     two
     ```

> quoted
>
> ```sh
> three
> ```
"""


def test_code_inside_lists_and_quotes_can_be_copied(page: Any, server: Server) -> None:
    page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => (window.copied = t)}})"
    )
    show(page, server, NESTED)
    buttons = page.locator(".block").get_by_role("button", name="Copy")
    assert buttons.count() == 3
    assert page.locator(".code-head span").all_inner_texts() == ["python", "text", "sh"]
    for number, code in enumerate(("one = 1", "two", "three")):
        buttons.nth(0).click()  # the clicked button says "Copied" for a moment
        page.wait_for_function("text => window.copied === text", arg=code)
        assert page.locator(".block").get_by_role("button", name="Copied").count() == number + 1


LINE = "This is **bold** line number {n}.\n\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_very_long_answer_is_markdown_to_its_end_and_its_start(page: Any, server: Server, end: str) -> None:
    """Carriage returns neither lose nor double text. Only what is around the viewport is in the document."""
    count = 20_000
    show(page, server, "".join(LINE.format(n=n) for n in range(count)).replace("\n", end))
    last = page.locator(".block").last
    wait_sync(lambda: last.count() and last.inner_text().strip() == f"This is bold line number {count - 1}.")
    assert page.locator(".block strong").count() < 1000
    assert distance_to_bottom(page) < 24
    page.get_by_test_id("transcript").evaluate("e => (e.scrollTop = 0)")
    first = page.locator(".block").first
    wait_sync(lambda: first.inner_text().strip() == "This is bold line number 0.")


def test_code_of_megabytes_is_shown_whole_and_copied_whole(page: Any, server: Server) -> None:
    page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => (window.copied = t)}})"
    )
    code = "".join(f"line {n} of many\n" for n in range(150_000))
    show(page, server, f"before **bold**\n\n```text\n{code}```\n\nafter *it*")
    wait_sync(lambda: page.locator(".block em").count() == 1)
    assert page.locator(".code pre").count() < 20
    page.get_by_test_id("code").get_by_role("button", name="Copy").evaluate("e => e.click()")
    page.wait_for_function("() => window.copied?.length > 0")
    assert page.evaluate("window.copied.length") == len(code) - 1


def test_right_to_left_text_is_right_to_left_and_code_is_not(page: Any, server: Server) -> None:
    show(page, server, "سلام دنیا\n\n- یک\n- `code`\n\nEnglish here\n\n```\nif (x) {}\n```")
    direction = "e => getComputedStyle(e).direction"
    blocks = page.locator("[data-role=assistant] .block")
    wait_sync(lambda: blocks.count() == 3)
    assert [block.evaluate(direction) for block in blocks.all()] == ["rtl", "rtl", "ltr"]
    assert page.locator(".code pre").evaluate(direction) == "ltr"
    composer = page.get_by_label("Message", exact=True)
    composer.fill("مرحبا")
    assert composer.evaluate(direction) == "rtl"
    composer.fill("hello")
    assert composer.evaluate(direction) == "ltr"


CALL = [
    {"type": "text", "text": "See: `inline`\n\n```python\nx = 1\n```\n\n1. a\n\n   ```\n   b\n   ```"},
    {"type": "tool-call", "tool_call_id": "c", "tool_name": "add", "args": {"a": 1}},
]


def test_code_is_at_least_thirteen_pixels_everywhere(page: Any, server: Server) -> None:
    show(page, server, parts=CALL)
    page.locator("details.tool summary").click()
    sizes = page.locator("code, pre, .glimpse").evaluate_all(
        "found => found.map(e => [e.className || e.tagName, parseFloat(getComputedStyle(e).fontSize)])"
    )
    assert len(sizes) >= 7
    assert [found for found in sizes if found[1] < 13] == []


def test_the_preview_of_a_tool_call_has_enough_contrast(page: Any, server: Server) -> None:
    show(page, server, parts=CALL)
    glimpse = page.locator(".glimpse").first
    assert glimpse.evaluate("e => getComputedStyle(e).opacity") == "1"
    assert glimpse.evaluate("e => getComputedStyle(e).color") == page.locator("details.tool summary").evaluate(
        "e => getComputedStyle(e).color"
    )


def test_open_calls_of_a_chat_that_is_opened_later_can_be_decided(page: Any, server: Server) -> None:
    server.messages = [message(2, "user", "hello"), {"id": 3, "role": "assistant", "turn_id": 2, "content": [
        {"type": "tool-call", "tool_call_id": "c1", "tool_name": "pay", "args": {"amount": 5}},
        {"type": "tool-call", "tool_call_id": "c2", "tool_name": "measure", "args": {}},
    ]}]  # fmt: skip
    calls = [
        {"tool_call_id": call_id, "tool_name": name, "args": {}, "needs": needs, "deadline": "2030-01-01T00:00:00Z"}
        for call_id, name, needs in (("c1", "pay", "approval"), ("c2", "measure", "result"))
    ]
    server.streams = [server.resync(status="requires_action", turn_id=2, open_calls=calls)]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    page.get_by_role("button", name="Allow", exact=True).wait_for()
    assert page.get_by_role("button", name="Allow", exact=True).count() == 1, "the other call is not a person's"
    assert page.get_by_text("Another program runs this tool").count() == 1


def test_the_value_of_a_structured_answer_is_shown_as_json_and_nothing_of_it_runs(page: Any, server: Server) -> None:
    hostile = {"type": "data", "data": {"sum": 3, "html": "<img src=x onerror=alert(1)>"}, "name": "<b>bill</b>"}
    show(page, server, parts=[{"type": "text", "text": "Here."}, hostile])
    shown = page.get_by_test_id("data")
    assert "<b>bill</b>" in shown.locator("summary").inner_text()
    assert '"sum": 3' in shown.locator("pre").inner_text()
    assert shown.locator("img").count() == 0


def test_two_texts_with_the_same_words_have_their_own_links(page: Any, server: Server) -> None:
    texts = [f"See [the page], a[constructor].\n\n[the page]: https://{name}.example/" for name in ("one", "two")]
    show(page, server, *texts)
    links = page.locator(".markdown a")
    assert [link.get_attribute("href") for link in links.all()] == ["https://one.example/", "https://two.example/"]
    assert page.locator(".markdown").first.inner_text().strip() == "See the page, a[constructor]."


def test_a_text_that_is_nested_too_deeply_is_shown_as_it_was_written(page: Any, server: Server) -> None:
    deep = ">" * 3000 + " the end"
    show(page, server, f"before\n\n{deep}", "after")
    assert "the end" in page.locator(".markdown").first.inner_text()
    assert page.locator(".markdown").last.inner_text().strip() == "after"


def test_all_that_is_held_is_printed_and_no_button(page: Any, server: Server) -> None:
    server.messages = [message(n, "user" if n % 2 == 0 else "assistant", f"word {n}\n\n" * 9) for n in range(2, 80)]
    server.messages[-1] = message(79, "assistant", "\n\n".join(f"line {n} " + "x " * 900 for n in range(20)))
    server.streams = [server.resync()]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    page.get_by_text("line 19").wait_for()
    shown = page.get_by_test_id("message")
    before = shown.count()
    assert before < 40
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.count() == 78
    text = page.get_by_test_id("transcript").inner_text()
    assert all(f"word {n}" in text for n in range(2, 79))
    assert all(f"line {n} " in text for n in range(20))
    assert page.locator("button:visible").all_inner_texts() == []
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    wait_sync(lambda: shown.count() < 40)
