"""Talking: what the transcript and the composer show and do, in the web UI of a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from system.server_process import ServerProcess

from .conftest import Visits
from .file_app import png
from .visit import Tab

pytestmark = pytest.mark.anyio

APP = '''
import asyncio
from antiphon import Agent, ToolContext, tool

@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b

@tool
def read(path: str) -> str:
    """Read."""
    raise ValueError(f"there is no file {path}")

@tool
async def slow(context: ToolContext) -> str:
    """Take a while."""
    context.progress("half of it")
    await asyncio.sleep(0.6)
    return "all of it"

agent = Agent(tools=[add, read, slow])
'''


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("talk")
    (folder / "app.py").write_text(APP)
    running = ServerProcess(folder / "data", app=f"{folder / 'app.py'}:agent")
    await running.start()
    yield running
    await running.kill()


async def test_a_tool_call_is_one_row_and_several_fold(tab: Tab) -> None:
    await tab.start_chat('/think Hm\n/call add {"a": 1, "b": 2}\n/call read {"path": "x.txt"}\n/say done')
    calls = tab.page.get_by_test_id("tool-call")
    await expect(calls).to_have_count(2)
    await tab.wait_idle()
    await expect(calls.nth(0).locator(".call-line")).to_have_text("add(1, 2) → 3")
    await expect(calls.nth(1).locator(".call-line")).to_contain_text("→ there is no file x.txt")
    await expect(calls.nth(1)).to_contain_text("failed")
    await calls.nth(0).locator("summary").click()
    await expect(calls.nth(0).locator("pre").first).to_have_text('{\n  "a": 1,\n  "b": 2\n}')
    foot = tab.page.get_by_test_id("foot")
    await expect(foot).to_contain_text("demo model")
    await expect(foot.get_by_test_id("tokens")).to_contain_text("tokens")

    await tab.send("\n".join(['/call add {"a": 1, "b": 2}'] * 5) + "\n/call slow {}\n/say end")
    await expect(tab.page.get_by_test_id("progress")).to_have_text("half of it")
    await tab.message("assistant", "end").wait_for()
    await expect(tab.page.get_by_test_id("tool-calls").last.locator("summary").first).to_contain_text("6 tool calls")


async def test_versions_are_kept_shown_and_continued(tab: Tab) -> None:
    chat_id = await tab.start_chat("/say one")
    await tab.wait_idle()
    await tab.composer.press("ArrowUp")  # in the empty composer: edit the last question
    editor = tab.page.get_by_label("Text")
    await expect(editor).to_be_focused()
    await editor.fill("/say two")
    await tab.button("Send again").click()
    await tab.message("assistant", "two").wait_for()
    await tab.wait_idle()
    await tab.button("Try again").click()
    pagers = tab.page.get_by_test_id("versions")
    await expect(pagers).to_have_text(["2/2", "2/2"])
    await tab.wait_idle()
    await tab.button("Earlier version").first.click()
    line = tab.page.get_by_test_id("version-line")
    await expect(line).to_contain_text("This is an earlier version.")
    assert [text for _, _, text in await tab.shown()] == ["/say one", "one"]
    await expect(tab.button("Edit")).to_have_count(0)
    await tab.button("Back to the newest").click()
    await expect(tab.message("assistant", "two")).to_be_visible()
    await tab.button("Earlier version").first.click()
    await tab.button("Continue from here").click()
    await expect(tab.page).not_to_have_url(f"{tab.visit.url}/#/chat/{chat_id}")
    await tab.message("assistant", "one").wait_for()
    await tab.send("/say three")
    await tab.message("assistant", "three").wait_for()
    forked = tab.chat_id
    await tab.wait_idle()
    await tab.button("Fork from here").first.click()
    await expect(tab.page).not_to_have_url(f"{tab.visit.url}/#/chat/{forked}")
    await expect(tab.messages).to_have_count(1)


GIVE_FILE = """(area, way) => {
    const data = new DataTransfer();
    data.items.add(new File([way], `${way}.txt`, { type: 'text/plain' }));
    const fields = { bubbles: true, cancelable: true };
    const event = way === 'paste' ? new ClipboardEvent(way, { ...fields, clipboardData: data })
                                  : new DragEvent(way, { ...fields, dataTransfer: data });
    area.dispatchEvent(event);
}"""


async def test_files_are_attached_survive_a_reload_and_are_sent(tab: Tab, server: ServerProcess) -> None:
    await tab.start_chat("/say here")
    await tab.wait_idle()
    files = tab.page.get_by_test_id("files")
    await files.set_input_files(
        [
            {"name": "cat.png", "mimeType": "image/png", "buffer": png(40, 30)},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"},
            {"name": "wrong.png", "mimeType": "image/png", "buffer": b"no image"},
        ]
    )
    tab.visit.expected.append("422")
    attached = tab.page.get_by_test_id("attachments").locator("li")
    await expect(attached.nth(2)).to_contain_text("The server refuses this file")
    await expect(tab.page.get_by_test_id("send")).to_be_disabled()
    await tab.button("Remove wrong.png").click()
    await expect(attached).to_have_count(2)
    for way in ("paste", "drop"):
        await tab.composer.evaluate(GIVE_FILE, way)
    await expect(attached).to_have_count(4)
    await expect(attached.nth(3)).to_contain_text("drop.txt")
    await expect(tab.page.get_by_test_id("attachments").locator("[data-state=ready]")).to_have_count(4)
    await tab.button("Remove paste.txt").click()
    await tab.button("Remove drop.txt").click()
    await tab.composer.fill("/say thanks")
    await tab.page.reload()
    await expect(attached).to_have_count(2)
    await expect(tab.composer).to_have_value("/say thanks")
    await tab.composer.press("Enter")
    await tab.message("assistant", "thanks").wait_for()
    await expect(tab.message("user").get_by_role("img", name="cat.png")).to_be_visible()
    await expect(tab.message("user").get_by_test_id("download")).to_contain_text("notes.txt")
    await expect(attached).to_have_count(0)


async def test_stop_everything_gives_the_waiting_texts_back(tab: Tab) -> None:
    await tab.start_chat("/rate 20\n/tokens 2000")
    await tab.preview.wait_for()
    top = await tab.page.locator(".composer-box").bounding_box()
    await tab.send("first")
    await tab.page.get_by_text("Add to this answer", exact=True).click()
    await tab.send("second")
    await tab.send("third")
    await expect(tab.queue.locator(".tag")).to_have_text(["Joins this answer", "Waits", "Waits"])
    await tab.button("Move down", of=tab.queue.nth(1)).focus()
    await tab.page.keyboard.press("Alt+ArrowDown")
    await expect(tab.queue.locator(".queued-text")).to_have_text(["second", "third", "first"])
    await tab.queue.nth(2).drag_to(tab.queue.nth(1))
    await expect(tab.queue.locator(".queued-text")).to_have_text(["second", "first", "third"])
    await tab.composer.fill("typed")
    await tab.button("Stop everything").click()
    await tab.wait_idle()
    await expect(tab.composer).to_have_value("second\n\nfirst\n\nthird\n\ntyped")
    await expect(tab.queue).to_have_count(0)
    await tab.composer.fill("")
    bottom = await tab.page.locator(".composer-box").bounding_box()
    assert top == bottom, "the composer keeps its place and size when an answer ends"


async def test_a_model_is_chosen_for_the_next_messages(visits: Visits, server: ServerProcess) -> None:
    body = {"name": "fast", "model": "rehearsal"}
    assert (await server.ask("POST", "/model-configs", body))[0] == 201
    visit = await visits(f"http://127.0.0.1:{server.port}", server.token)
    tab = await visit.open()
    await tab.page.get_by_test_id("model").select_option("fast")
    await tab.start_chat("/say here")
    await tab.wait_idle()
    posted = next(each for each in visit.requests if each.method == "POST" and each.url.endswith("/chats"))
    assert (posted.post_data_json or {})["model"] == "fast"
