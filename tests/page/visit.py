"""A visit: one browser profile at one server. Whatever the browser complains of, and every request that leaves the
server's origin, is a problem, and a visit with problems fails its test."""

from __future__ import annotations

import re

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Locator, Page, Request, WebError, expect

NO_SESSION = r"Failed to load resource: .* 401 \(Unauthorized\)"
NO_CHAT = r"Failed to load resource: .* 404 \(Not Found\)"
NO_WORKER = "Service Worker registration blocked by Playwright"  # as the tests ask for; the browser reports it
NO_SERVER = r"Failed to load resource: net::ERR_|net::ERR_INCOMPLETE_CHUNKED_ENCODING"

SHOWN = """elements => elements.map(element => [
    Number(element.dataset.id), element.dataset.role,
    (element.querySelector('.bubble, .markdown')?.textContent ?? '').trim(),
])"""
"""The messages that a tab shows: [id, role, text]."""


class Visit:
    """Its tabs share a cookie. `expected` are the problems (regular expressions) that the test expects."""

    def __init__(self, context: BrowserContext, url: str, token: str) -> None:
        self.context = context
        self.url = url
        self.token = token
        self.expected = [NO_WORKER]
        self.requests: list[Request] = []
        self._problems: list[str] = []
        context.on("request", self._on_request)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)

    async def open(self, chat_id: str = "", *, is_signed_in: bool = True) -> Tab:
        """A new tab; the first one signs in with the token of the address."""
        page = await self.context.new_page()
        tab = Tab(self, page)
        if is_signed_in and not await self.context.cookies(self.url):
            await page.goto(f"{self.url}/#token={self.token}")
            await tab.composer.wait_for()
        if chat_id or not is_signed_in or page.url == "about:blank":
            await page.goto(f"{self.url}/#/chat/{chat_id}" if chat_id else f"{self.url}/")
        return tab

    def check(self) -> None:
        problems = [line for line in self._problems if not any(re.search(words, line) for words in self.expected)]
        assert problems == [], problems

    def _on_request(self, request: Request) -> None:
        self.requests.append(request)
        if not request.url.startswith((f"{self.url}/", "data:")):
            self._problems.append(f"left the origin: {request.url}")

    def _on_console(self, line: ConsoleMessage) -> None:
        if line.type in {"error", "warning", "assert"} or "Content Security" in line.text:
            self._problems.append(f"{line.text} {line.location.get('url', '')}".strip())

    def _on_error(self, error: WebError) -> None:
        self._problems.append(str(error.error))

    async def _on_dialog(self, dialog: Dialog) -> None:
        self._problems.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()


class Tab:
    """The web UI in one tab, by the names that a person or a screen reader gets."""

    def __init__(self, visit: Visit, page: Page) -> None:
        self.visit = visit
        self.page = page
        self.composer = page.get_by_label("Message", exact=True)
        self.stop = page.get_by_test_id("stop")
        self.preview = page.get_by_test_id("preview")
        self.queue = page.get_by_test_id("queue").locator("li")
        self.chat_list = page.get_by_test_id("chat-list")
        self.messages = page.get_by_test_id("message")

    @property
    def chat_id(self) -> str:
        return self.page.url.partition("#/chat/")[2]

    def message(self, role: str, text: str = "") -> Locator:
        """The last message of a role (that contains a text)."""
        return self.page.locator(f"[data-testid=message][data-role={role}]").filter(has_text=text).last

    def button(self, name: str, *, of: Locator | None = None) -> Locator:
        return (of or self.page).get_by_role("button", name=name, exact=True)

    async def act(self, action: str) -> None:
        """Choose an action for the shown chat."""
        await self.button("Actions for this chat").click()
        await self.page.get_by_role("menuitem", name=action).click()

    async def send(self, text: str) -> None:
        await self.composer.fill(text)
        if await self.page.evaluate("matchMedia('(hover: none) and (pointer: coarse)').matches"):
            await self.page.get_by_test_id("send").tap()  # on a touch screen Enter makes a new line
        else:
            await self.composer.press("Enter")

    async def start_chat(self, text: str) -> str:
        """Create a chat with a first message. Returns its id when the server has it."""
        await self.page.get_by_test_id("new-chat").click()
        await self.send(text)
        await self.message("user").wait_for()
        return self.chat_id

    async def wait_idle(self, timeout_s: float = 20) -> None:
        """Wait until the chat has caught up and is idle."""
        await expect(self.page.get_by_test_id("transcript")).to_have_attribute("aria-busy", "false")
        await expect(self.page.get_by_test_id("pending")).to_have_count(0)
        await expect(self.stop).to_have_count(0, timeout=timeout_s * 1000)

    async def wait_live(self) -> None:
        await expect(self.page.get_by_test_id("connection")).to_have_attribute("data-state", "live", timeout=20_000)

    async def shown(self) -> list[tuple[int, str, str]]:
        return [tuple(message) for message in await self.messages.evaluate_all(SHOWN)]

    async def answer_so_far(self) -> str:
        """The text of the last answer or, while it is written, of its preview."""
        answers = "[data-role=assistant]:is([data-testid=message], [data-testid=preview]) .markdown"
        texts: list[str] = await self.page.locator(answers).all_text_contents()
        return texts[-1].strip() if texts else ""
