"""The web UI in a real browser. The test acts as the server: requests are answered inside the browser."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import antiphon

from .chromium import launch_options

playwright = pytest.importorskip("playwright.sync_api")

PAGE = Path(antiphon.__file__).parent / "page"
ORIGIN = "http://antiphon.test"
CHAT = "11111111-2222-4333-8444-555555555555"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HOSTILE = """<script>document.title = 'pwned'</script>

inline <img src=x onerror="document.title='pwned'"> and <a href="javascript:alert(1)">raw</a> and <style>*{display:none}</style>

[own](#token=theirs) [own](/#token=theirs) [own](http://antiphon.test/#token=theirs) [own](http:#token=theirs)

[a](javascript:alert(1)) [b](JaVaScRiPt&colon;alert(1)) [c](data:text/html,<script>1</script>) [d](vbscript:x) <javascript:alert(1)>

[good](https://example.org/page "title") ![remote](https://example.org/spy.png) ![own](/api/v1/chats) ![tiny](data:image/gif;base64,R0lGODlhAQABAAAAACw=)

`<b>code</b>` and **bold**

```html
<script>document.title = 'pwned'</script>
```
"""  # noqa: E501 - as a model would write it


def chat(**more: Any) -> dict[str, Any]:
    return {
        "id": CHAT, "title": "A chat", "status": "waiting", "last_error": None, "archived": False, "pin_order": 0,
        "updated_at": "2026-01-01T00:00:00Z", "has_unread": False, "seq": 3, "draft": 3, "turn_id": None,
        "model": "rehearsal", **more,
    }  # fmt: skip


def message(seq: int, role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": seq, "role": role, "turn_id": 2, "content": [{"type": "text", "text": text}], **more}


def sse(*events: tuple[str | None, dict[str, Any]]) -> str:
    lines = []
    for cursor, event in events:
        lines.append(f"id: {cursor}\n" if cursor else "")
        lines.append(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")
    return "".join(lines)


class Server:
    """Answers the page's requests. `streams` are the bodies of the chat's stream, one for each connection."""

    def __init__(self) -> None:
        self.is_signed_in = True
        self.messages = [message(2, "user", "hello"), message(3, "assistant", "hi")]
        self.streams: list[str] = []
        self.cursors: list[str | None] = []
        self.posted: list[tuple[str, Any]] = []
        self.foreign: list[str] = []

    def handle(self, route: Any) -> None:
        request = route.request
        if not request.url.startswith(ORIGIN):
            self.foreign.append(request.url)
            return route.abort()
        path = request.url.removeprefix(ORIGIN).partition("?")[0]
        if path.startswith("/api/v1"):
            return self._api(route, request.method, path.removeprefix("/api/v1"))
        file = PAGE / ("index.html" if path == "/" else path.removeprefix("/assets/"))
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        headers = {"Content-Security-Policy": CSP, "Content-Type": kind}
        return route.fulfill(status=200, body=file.read_bytes(), headers=headers)

    def _api(self, route: Any, method: str, path: str) -> None:
        body = route.request.post_data_json if method == "POST" else None
        if (method, path) == ("POST", "/session"):
            self.is_signed_in = body == {"token": "good"}
        if not self.is_signed_in:
            error = {"code": "unauthenticated", "message": "Not signed in."}
            return route.fulfill(status=401, json={"error": error})
        if method == "POST":
            self.posted.append((path, body))
        if path == "/feed":
            return self._stream(route, [sse((None, {"type": "resync"}))])
        if path == f"/chats/{CHAT}/stream":
            self.cursors.append(route.request.headers.get("last-event-id"))
            return self._stream(route, self.streams)
        answers = {
            "/session": {},
            "/models": {
                "default": "m",
                "models": [{"name": "m", "model": "m", "is_default": True, "is_demo": False}],
            },
            "/inbox": {"notifications": [], "unread_count": 0, "next": None},
            f"/chats/{CHAT}/read": {"seq": 3},
            "/chats": {"chats": [chat()], "next": None},
            f"/chats/{CHAT}/versions": {"versions": []},
            f"/chats/{CHAT}/messages": {"message": message(9, "user", ""), "seq": 9},
        }
        return route.fulfill(status=200, json=answers[path])

    def _stream(self, route: Any, bodies: list[str]) -> None:
        if bodies:  # without one the connection stays open and silent
            route.fulfill(status=200, body=bodies.pop(0), headers={"Content-Type": "text/event-stream"})

    def resync(self, *more: tuple[str, dict[str, Any]], **changes: Any) -> str:
        state = {
            "type": "resync", "reason": "start", "chat": chat(**changes), "messages": self.messages,
            "has_more": False, "queued_messages": [], "open_draft": {"draft": 3, "to": 0, "parts": []},
        }  # fmt: skip
        return sse(("3.0", state), ("3.0", {"type": "caught_up"}), *more)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = launch_options()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A page without errors: an exception of a script or a violation of the CSP fails the test."""
    context = browser.new_context()
    page = context.new_page()
    page.route("**/*", server.handle)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    yield page
    context.close()
    assert problems == []
    assert server.foreign == []


def test_what_a_model_writes_is_shown_and_never_run(page: Any, server: Server) -> None:
    server.messages[1] = message(3, "assistant", HOSTILE)
    server.streams = [server.resync()]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    answer = page.locator("[data-testid=message][data-role=assistant]")
    answer.locator("strong").wait_for()
    assert page.title() == "A chat · Antiphon"
    assert answer.locator("script, style, iframe, object, form, [onerror], [style]").count() == 0
    assert [image.get_attribute("src")[:10] for image in answer.locator("img").all()] == ["data:image"]
    links = answer.locator("a").all()
    assert [link.get_attribute("href") for link in links] == [
        "https://example.org/page", "https://example.org/spy.png"]  # fmt: skip
    assert {(link.get_attribute("rel"), link.get_attribute("target")) for link in links} == {
        ("noopener noreferrer", "_blank")
    }
    assert "<script>document.title = 'pwned'</script>" in answer.inner_text()


def test_a_message_that_cannot_be_shown_leaves_the_others_shown(page: Any, server: Server) -> None:
    """As one of a newer server may be."""
    broken = message(3, "assistant", "the text of it")
    broken["content"].append({"type": "text", "text": {"new": "form"}})
    server.messages = [message(2, "user", "hello"), broken, message(5, "user", "and now?")]
    server.streams = [server.resync()]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    page.get_by_text("This message could not be shown as it is meant.").wait_for()
    page.get_by_text("the text of it").wait_for()
    page.get_by_text("and now?").wait_for()


def test_the_token_is_removed_from_the_address_and_sent_once(page: Any, server: Server) -> None:
    server.is_signed_in = False
    page.goto(f"{ORIGIN}/#token=good")
    page.get_by_test_id("chat-list").get_by_text("A chat").wait_for()
    assert "token" not in page.url
    assert server.posted == [("/session", {"token": "good"})]


def test_without_a_session_a_form_asks_for_the_token(page: Any, server: Server) -> None:
    server.is_signed_in = False
    page.goto(ORIGIN)
    page.get_by_label("Token").fill("bad")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This token is not valid.").wait_for()
    page.get_by_label("Token").fill("good")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_test_id("chat-list").get_by_text("A chat").wait_for()


def test_a_lost_stream_resumes_by_its_cursor_and_the_message_takes_the_previews_place(
    page: Any, server: Server
) -> None:
    def delta(start: int, end: int, text: str) -> tuple[str, dict[str, Any]]:
        part = {"type": "text", "text": text}
        event = {"type": "delta", "draft": 3, "from": start, "to": end, "part_index": 0, "part": part}
        return f"3.{end}", event

    closing = {
        "type": "message_appended", "seq": 4, "at": "", "status": "running", "draft": 4, "more": True,
        "message": message(4, "assistant", "😀 one two"), "closes": {"draft": 3, "upto": 9},
    }  # fmt: skip
    ended = {"type": "turn_ended", "seq": 5, "at": "", "status": "waiting", "draft": 5, "turn_id": 2,
             "outcome": "answered"}  # fmt: skip
    server.messages.pop()
    server.streams = [
        server.resync(delta(0, 5, "😀 one"), status="running", turn_id=2),
        sse(delta(0, 9, "😀 one two")),
    ]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    page.get_by_test_id("preview").get_by_text("😀 one two", exact=True).wait_for()
    server.streams = [sse(("4.0", closing), ("5.0", ended), ("5.0", {"type": "caught_up"}))]
    page.evaluate("dispatchEvent(new Event('offline'))")
    page.locator("[data-testid=message][data-role=assistant][data-id='4']").wait_for(timeout=15_000)
    assert page.get_by_test_id("preview").count() == 0
    assert page.get_by_test_id("stop").count() == 0
    assert server.cursors[:3] == [None, "3.5", "3.9"]


def test_enter_sends_with_a_client_id_and_shift_enter_adds_a_line(page: Any, server: Server) -> None:
    server.streams = [server.resync(status="running", turn_id=2)]
    page.goto(f"{ORIGIN}/#/chat/{CHAT}")
    page.get_by_test_id("stop").wait_for()
    page.get_by_label("Message", exact=True).fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.get_by_text("Add to this answer", exact=True).click()
    with page.expect_response("**/messages"):
        page.get_by_label("Message", exact=True).press("Enter")
    page.get_by_test_id("pending").wait_for()
    path, body = server.posted[-1]
    assert path == f"/chats/{CHAT}/messages"
    assert (body["content"], body["when_busy"]) == ("one\ntwo", "steer")
    assert 1 <= len(body["client_message_id"]) <= 128
