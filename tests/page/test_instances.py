"""The view of the instances: the list of this machine, and the events and commands of another instance."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Locator, expect

from antiphon.local.discovery import Announcement, announce, withdraw
from api.http.neighbour import open_neighbour
from support.waiting import DEADLINE_S
from system.server_process import ServerProcess

from .faults import FAULTS, NO_SIDEWAYS, NOTHING, REMAINS
from .visit import NO_SERVER, Tab, Visit

pytestmark = pytest.mark.anyio

Visits = Callable[..., Awaitable[Visit]]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
NOT_AVAILABLE = r"Failed to load resource: .* 503 \(Service Unavailable\)"
NOT_FOUND = r"Failed to load resource: .* 404 \(Not Found\)"
HOSTILE = '<img src=x onerror="window.pwned=1"> \x1b[31mred \u202egnp.exe'
SHOWN = "⟨U+001B⟩[31mred ⟨U+202E⟩gnp.exe"


class Machine(NamedTuple):
    """Two instances that see only each other; `home` serves the web UI."""

    home: ServerProcess
    next: ServerProcess
    runtime: str

    async def next_id(self) -> str:
        found = (await ask(self.home, "GET", "/instances"))["instances"]
        (instance_id,) = [item["instance_id"] for item in found if item["data"] == str(self.next.data)]
        return str(instance_id)

    async def start_chat(self, title: str, content: str = "/say hello") -> str:
        """In the other instance."""
        return str((await ask(self.next, "POST", "/chats", {"title": title, "content": content}))["id"])


@pytest.fixture(scope="module")
async def machine(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    runtime = str(tmp_path_factory.mktemp("run"))
    home, neighbour = (
        ServerProcess(tmp_path_factory.mktemp(name) / "data", XDG_RUNTIME_DIR=runtime) for name in ("home", "next")
    )
    await asyncio.gather(home.start(), neighbour.start())
    yield Machine(home, neighbour, runtime)
    await home.kill()
    await neighbour.kill()


@pytest.fixture
async def visit(visits: Visits, machine: Machine) -> Visit:
    return await visits(f"http://127.0.0.1:{machine.home.port}", machine.home.token)


async def ask(server: ServerProcess, method: str, path: str, body: Any = None) -> Any:
    status, answer = await server.ask(method, path, body)
    assert status < 300, answer
    return answer


async def open_next(tab: Tab, machine: Machine) -> str:
    """The view of the other instance, whose events arrive, and one of its chats."""
    chat_id = await machine.start_chat("Recorder")
    instance_id = await machine.next_id()
    await tab.page.goto(f"{tab.visit.url}/#/instances/{instance_id}")
    await wait_heard(tab, machine, instance_id, chat_id)
    return chat_id


async def wait_heard(tab: Tab, machine: Machine, instance_id: str, chat_id: str) -> None:
    """Wait until events of the instance arrive: a new subscription takes effect after a moment."""
    await tab.page.get_by_test_id("log-state").filter(has_text="Live").wait_for()
    async with asyncio.timeout(DEADLINE_S):
        while not await lines(tab, "session.activated").count():
            await ask(machine.home, "POST", f"/instances/{instance_id}/activate", {"session_id": chat_id})
            await asyncio.sleep(0.1)


def lines(tab: Tab, topic: str) -> Locator:
    return tab.page.get_by_test_id("instance-log").locator(f"[data-topic='{topic}']")


def session(tab: Tab, chat_id: str) -> Locator:
    return tab.page.get_by_test_id("sessions").locator(f"[data-session-id='{chat_id}']")


async def test_another_instance_is_found_watched_and_commanded_by_keyboard(tab: Tab, machine: Machine) -> None:
    keyboard = tab.page.keyboard
    other = await machine.start_chat("Another chat")
    chat_id = await machine.start_chat("Sums")
    await tab.page.get_by_role("link", name="Settings").focus()
    await keyboard.press("Enter")
    await tab.page.get_by_role("link", name="Servers").focus()
    await keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", level=2)).to_have_text("Servers")
    items = tab.page.get_by_test_id("instances").locator("[data-instance-id]")
    await expect(items).to_have_count(2)
    await expect(items.filter(has_text="this one")).to_contain_text(str(machine.home.data.parent))
    item = items.filter(has_text=str(machine.next.data.parent))
    await expect(item).to_contain_text("in charge")
    await expect(item).to_contain_text("2 chats")
    await item.focus()
    await keyboard.press("Enter")
    await wait_heard(tab, machine, await machine.next_id(), other)

    newest = tab.page.get_by_test_id("sessions").locator("button")
    await expect(newest).to_have_count(2)
    await expect(newest.first).to_have_attribute("data-session-id", chat_id)
    await expect(session(tab, other)).to_contain_text("active")
    await session(tab, chat_id).focus()
    await keyboard.press("Enter")
    await expect(session(tab, chat_id)).to_have_attribute("aria-pressed", "true")
    await tab.button("Activate").focus()
    await keyboard.press("Enter")
    await expect(session(tab, chat_id)).to_contain_text("active")
    await expect(item).to_contain_text("Active: Sums")
    await lines(tab, "session.activated").filter(has_text="Sums").wait_for()
    await expect(tab.button("Activate")).to_be_disabled()

    await tab.page.get_by_label("Message to this chat").focus()
    await keyboard.type("/rate 50")
    await keyboard.press("Shift+Enter")
    await keyboard.type("/tokens 3000")
    await keyboard.press("Enter")
    await expect(tab.page.get_by_test_id("outcome")).to_have_text("Sent.")
    await expect(tab.page.get_by_label("Message to this chat")).to_have_value("")
    await expect(tab.page.get_by_label("Message to this chat")).to_be_focused()
    growing = lines(tab, "llm.token").filter(has_text="w10 w11")
    await growing.wait_for()
    await tab.button("Interrupt").focus()
    await keyboard.press("Enter")
    await lines(tab, "llm.end").wait_for()
    await expect(tab.button("Interrupt")).to_be_focused()
    assert await growing.count() == 1
    assert (await ask(machine.next, "GET", f"/chats/{chat_id}"))["status"] == "waiting"
    assert await tab.page.evaluate(REMAINS) == NOTHING


async def test_hostile_titles_tokens_and_messages_stay_text(tab: Tab, machine: Machine) -> None:
    await open_next(tab, machine)
    chat_id = await machine.start_chat(HOSTILE, f"{HOSTILE}\n/say {HOSTILE}\n/call {HOSTILE.split()[0]} {{}}\n")
    await ask(machine.home, "POST", f"/instances/{await machine.next_id()}/activate", {"session_id": chat_id})
    for topic in ("llm.token", "message.append"):
        await lines(tab, topic).filter(has_text=SHOWN).first.wait_for()
    await session(tab, chat_id).click()
    await expect(tab.page.get_by_test_id("controls").get_by_role("heading")).to_contain_text("<img src=x onerror=")
    await expect(tab.page.locator("[aria-current=page] .active-title")).to_contain_text("<img src=x onerror=")
    assert await tab.page.locator("[data-testid=instances] img").count() == 0
    text = await tab.page.get_by_test_id("instances").inner_text()
    assert not {"\x1b", "\u202e"} & set(text)
    assert await tab.page.evaluate(REMAINS) == NOTHING


async def test_a_refusal_is_shown_as_a_sentence_and_the_typed_text_stays(tab: Tab, machine: Machine) -> None:
    tab.visit.expected.append(NOT_FOUND)
    chat_id = await machine.start_chat("Soon gone")
    await open_next(tab, machine)
    await session(tab, chat_id).click()
    await tab.page.get_by_label("Message to this chat").fill("hello?")
    await tab.page.route("**/messages", lambda route: route.continue_(post_data={"session_id": "x", "content": "y"}))
    await tab.button("Send").click()
    await expect(tab.page.get_by_test_id("outcome")).to_have_text("There is no such chat.")
    await expect(tab.page.get_by_label("Message to this chat")).to_have_value("hello?")
    await ask(machine.next, "DELETE", f"/chats/{chat_id}")
    await expect(session(tab, chat_id)).to_have_count(0)
    await expect(tab.page.get_by_test_id("controls")).to_have_count(0)  # nothing else is chosen in its place


async def test_names_sizes_and_contrasts_are_right_also_of_instances_that_do_not_respond(
    tab: Tab, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", machine.runtime)
    for role, endpoint in (("standby", ""), ("primary", f"ipc://{machine.runtime}/missing")):
        announce(announcement(role, endpoint))
    try:
        await session(tab, await open_next(tab, machine)).click()
        await tab.page.get_by_text("does not respond").wait_for()
        standby = tab.page.locator("li.instance").filter(has_text="/somewhere/standby")
        await expect(standby).to_contain_text("day")
        await expect(standby.get_by_role("link")).to_have_count(0)
        await check_both_schemes(tab)
        await tab.page.goto(f"{tab.visit.url}/#/instances")
        await expect(tab.page.get_by_test_id("instance")).to_have_count(0)
        await check_both_schemes(tab)
    finally:
        for role in ("standby", "primary"):
            withdraw(announcement(role, "").instance_id)


def announcement(role: str, endpoint: str) -> Announcement:
    return Announcement(
        instance_id=f"00000000-0000-4000-8000-00000{role}",
        pid=os.getpid(),
        role=role,
        version="0.0.0",
        project_id=f"/somewhere/{role}",
        data=f"/somewhere/{role}/data",
        started_at="2026-01-01T00:00:00Z",
        pub_endpoint=endpoint,
        rpc_endpoint=endpoint,
    )


async def check_both_schemes(tab: Tab) -> None:
    for scheme in ("dark", "light"):
        await tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await tab.page.evaluate(FAULTS) == []


async def test_on_a_phone_nothing_scrolls_sideways(visits: Visits, machine: Machine) -> None:
    visit = await visits(f"http://127.0.0.1:{machine.home.port}", machine.home.token, **PHONE)
    tab = await visit.open()
    chat_id = await machine.start_chat(f"A title without end {'x' * 200}")
    await tab.button("List of chats").tap()
    await tab.page.get_by_test_id("to-settings").tap()
    await tab.page.get_by_role("link", name="Servers").tap()
    await expect(tab.page.get_by_role("navigation", name="Chats")).to_be_hidden()
    assert await tab.page.evaluate(NO_SIDEWAYS)
    await tab.page.locator(f"[data-instance-id='{await machine.next_id()}']").tap()
    await expect(tab.page.get_by_role("heading", level=2).last).to_be_focused()
    await wait_heard(tab, machine, await machine.next_id(), chat_id)
    await session(tab, chat_id).tap()
    await tab.page.get_by_label("Message to this chat").fill(f"/say {'verylongword' * 40}")
    await tab.button("Send").tap()
    await lines(tab, "llm.end").first.wait_for()
    assert await tab.page.evaluate(NO_SIDEWAYS)
    assert await tab.page.evaluate(FAULTS) == []
    await tab.page.get_by_role("link", name="All servers").tap()
    await expect(tab.page.locator("[data-instance-id]").first).to_be_visible()


async def test_only_an_admin_sees_the_instances(visits: Visits, machine: Machine) -> None:
    made = await ask(machine.home, "POST", "/tokens", {"owner": "other"})
    visit = await visits(f"http://127.0.0.1:{machine.home.port}", made["token"])
    tab = await visit.open()
    await tab.wait_live()
    await tab.page.goto(f"{visit.url}/#/instances/{await machine.next_id()}")
    await tab.page.get_by_text("Only an admin can see this section.").wait_for()
    await expect(tab.page.get_by_role("link", name="Servers")).to_have_count(0)
    assert [request.url for request in visit.requests if "/api/v1/instances" in request.url] == []


async def test_an_instance_that_ends_is_removed_and_its_events_stay(
    tab: Tab, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tab.visit.expected.append(NOT_FOUND)
    monkeypatch.setenv("XDG_RUNTIME_DIR", machine.runtime)
    async with open_neighbour(tmp_path / "data") as (instance_id, chat_id):
        await tab.page.goto(f"{tab.visit.url}/#/instances/{instance_id}")
        await wait_heard(tab, machine, instance_id, chat_id)
        await session(tab, chat_id).filter(has_text="other instance").wait_for()
    await tab.page.get_by_text("This server is no longer running.").wait_for()
    await expect(tab.page.get_by_test_id("log-state")).to_have_text("Closed")
    await expect(tab.page.locator(f"[data-instance-id='{instance_id}']")).to_have_count(0)
    await expect(lines(tab, "session.activated").first).to_be_visible()


@pytest.mark.slow
async def test_after_a_reconnect_the_log_says_that_events_may_be_missing(tab: Tab, machine: Machine) -> None:
    tab.visit.expected += [NO_SERVER, NOT_AVAILABLE]
    await open_next(tab, machine)
    await machine.home.kill()
    await tab.page.get_by_test_id("log-state").filter(has_text="Reconnecting").wait_for()
    await tab.page.get_by_role("alert").filter(has_text="The server cannot be reached.").first.wait_for()
    await machine.home.start()
    await tab.page.get_by_test_id("log-state").filter(has_text="Live").wait_for()
    await lines(tab, "page").filter(has_text="events published meanwhile are missing").wait_for()
    await expect(tab.page.get_by_role("alert")).to_have_count(0)
