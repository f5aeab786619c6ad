"""Calls that wait, answered in the web UI of a real server: approvals, questions and results of clients' tools."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import expect

from support.forked import run_command
from support.waiting import DEADLINE_S, wait_until
from system.server_process import ServerProcess

from .conftest import Visits
from .visit import Tab

pytestmark = pytest.mark.anyio

APP = '''
from antiphon import ToolCall, tool

@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"

FORM = {"type": "object", "required": ["name", "age"], "properties": {
    "name": {"type": "string", "title": "Name"}, "age": {"type": "integer", "title": "Age", "minimum": 18},
    "meal": {"enum": ["fish", "soup"], "title": "Meal"}, "vegan": {"type": "boolean", "title": "Vegan"},
    "days": {"type": "array", "title": "Days", "items": {"enum": ["Mon", "Tue", "Wed"]}},
    "at": {"type": "object", "title": "Address", "properties": {"city": {"type": "string", "title": "City"}}},
}}

async def agent(turn):
    if turn.text == "delegate":
        answers = await turn.spawn("which", "number")
        yield " ".join(answer.text for answer in answers)
    elif turn.text == "pay":
        result = await turn.call(ToolCall("pay", {"amount": 100}))
        yield f"Result: {result.result}"
    elif turn.text == "yes or no":
        yield f"You said {await turn.ask('Really?', {'type': 'boolean'})}."
    elif turn.text == "number":
        yield f"You said {await turn.ask('How many?', {'type': 'integer'}) + 1}."
    elif turn.text == "which":
        yield f"You said {await turn.ask('Which?', {'enum': ['red', 'blue']})}."
    elif turn.text == "form":
        yield f"You said {await turn.ask('Who comes?', FORM)}."
    elif turn.text == "pick":
        result = await turn.call(ToolCall("pick", {}))
        yield f"Picked {result.result}."
    else:
        yield f"You said {await turn.ask('Who are you?')}."
'''


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("open-calls")
    (folder / "app.py").write_text(APP)
    running = ServerProcess(folder / "data", app=f"{folder / 'app.py'}:agent")
    await running.start()
    yield running
    await running.kill()


@pytest.fixture
async def tab(visits: Visits, server: ServerProcess) -> Tab:
    visit = await visits(f"http://127.0.0.1:{server.port}", server.token)
    return await visit.open()


async def test_a_call_is_approved_with_other_arguments(tab: Tab) -> None:
    await tab.start_chat("pay")
    await tab.page.get_by_role("button", name="Edit arguments").click()
    editor = tab.page.get_by_role("textbox", name="Arguments")
    await editor.fill("no JSON")
    await tab.page.get_by_role("button", name="Allow with these").click()
    await expect(tab.page.get_by_role("alert").filter(has_text="This is not JSON")).to_be_visible()
    await editor.fill('{"amount": 5}')
    await tab.page.get_by_role("button", name="Allow with these").click()
    await expect(tab.message("assistant").last).to_contain_text("paid 5")


async def test_a_call_that_the_page_shows_is_approved_in_a_terminal(tab: Tab, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("pay")
    await expect(tab.page.get_by_test_id("approval")).to_be_visible()
    command = ["approve", chat_id, "--data", str(server.data)]
    code, out, _ = await asyncio.to_thread(
        run_command, command, cwd=server.data.parent, env=dict(os.environ), timeout=DEADLINE_S
    )
    assert (code, out.decode()) == (0, 'Approved: pay({"amount": 100})\n')
    await expect(tab.message("assistant").last).to_contain_text("paid 100")
    await expect(tab.page.get_by_test_id("approval")).to_have_count(0)
    await expect(tab.page.get_by_test_id("decided")).to_have_text("Allowed in another window.")


async def test_a_tool_is_allowed_for_the_chat(tab: Tab) -> None:
    await tab.start_chat("pay")
    await tab.page.get_by_role("button", name="Always allow in this chat").click()
    await expect(tab.message("assistant").last).to_contain_text("paid 100")
    await tab.send("pay")
    await expect(tab.message("assistant").last).to_contain_text("paid 100")
    await tab.wait_idle()
    assert await tab.page.get_by_test_id("approval").count() == 0


CHOICES = [("yes or no", "Yes", "True"), ("yes or no", "No", "False"), ("which", "blue", "blue")]


@pytest.mark.parametrize(("asked", "button", "said"), CHOICES)
async def test_a_question_with_choices_is_answered_by_a_button(tab: Tab, asked: str, button: str, said: str) -> None:
    await tab.start_chat(asked)
    await tab.page.get_by_test_id("question").get_by_role("button", name=button, exact=True).click()
    await expect(tab.message("assistant").last).to_contain_text(f"You said {said}.")


@pytest.mark.parametrize(("asked", "typed", "said"), [("open", "Ada", "Ada"), ("number", "41", "42")])
async def test_a_question_is_answered_by_text_or_a_number(tab: Tab, asked: str, typed: str, said: str) -> None:
    await tab.start_chat(asked)
    field = tab.page.get_by_role("textbox", name="Answer")
    if asked == "number":
        await field.fill("many")
        await field.press("Enter")
        await expect(tab.page.get_by_text("This is not a number.")).to_be_visible()
    await field.fill(typed)
    await field.press("Enter")
    await expect(tab.message("assistant").last).to_contain_text(f"You said {said}.")


async def test_a_call_is_denied_with_a_reason(tab: Tab) -> None:
    await tab.start_chat("pay")
    await expect(tab.page.get_by_test_id("approval")).to_contain_text("Waits until")
    await tab.button("Deny").click()
    await tab.page.get_by_role("textbox", name="Reason").fill("too much")
    await tab.button("Deny").click()
    await expect(tab.message("assistant").last).to_contain_text("too much")


async def test_a_question_with_a_schema_is_a_form(tab: Tab) -> None:
    await tab.start_chat("form")
    form = tab.page.get_by_test_id("question")
    await tab.button("Send answer", of=form).click()
    await expect(form.get_by_text("Please fill this in.")).to_have_count(2)
    await expect(form.get_by_label("Name")).to_be_focused()
    await form.get_by_label("Name").fill("Ada")
    await form.get_by_label("Age").fill("7")
    await tab.button("Send answer", of=form).click()
    await expect(form.get_by_text("At least 18, please.")).to_be_visible()
    await form.get_by_label("Age").fill("36")
    await form.get_by_label("Meal").select_option("soup")
    await form.get_by_label("Vegan").check()
    await form.get_by_label("Tue").check()
    await form.get_by_label("City").fill("Paris")
    await tab.button("Send answer", of=form).click()
    said = "{'age': 36, 'at': {'city': 'Paris'}, 'days': ['Tue'], 'meal': 'soup', 'name': 'Ada', 'vegan': True}"
    await expect(tab.message("assistant").last).to_contain_text(f"You said {said}.")


async def test_the_first_answer_wins_and_every_tab_shows_it(tab: Tab, visits: Visits, server: ServerProcess) -> None:
    chat_id = await tab.start_chat("yes or no")
    await tab.page.get_by_test_id("question").wait_for()
    visit = await visits(f"http://127.0.0.1:{server.port}", server.token)
    other = await visit.open(chat_id)
    await other.page.get_by_role("button", name="No", exact=True).click()
    await expect(tab.page.get_by_test_id("decided")).to_have_text("Answered in another window.")
    await expect(other.page.get_by_test_id("decided")).to_have_text("Answered.")
    for each in (tab, other):
        await expect(each.message("assistant").last).to_contain_text("You said False.")
        assert await each.page.get_by_test_id("question").count() == 0


async def test_the_result_of_a_clients_tool_is_entered(tab: Tab, server: ServerProcess) -> None:
    body: dict[str, Any] = {"content": "pick", "tools": [{"name": "pick", "description": "Pick a file."}]}
    _, chat = await server.ask("POST", "/chats", body)
    path = f"/chats/{chat['id']}"
    await wait_until(lambda: server.ask("GET", path), accept=lambda it: it[1]["status"] == "requires_action")
    await tab.page.goto(f"{tab.page.url.partition('#')[0]}#/chat/{chat['id']}")
    await tab.page.get_by_role("button", name="Enter the result").click()
    await tab.page.get_by_role("textbox", name="Result").fill('"a.txt"')
    await tab.page.get_by_role("button", name="Send result").click()
    await expect(tab.message("assistant").last).to_contain_text("Picked a.txt.")


async def test_child_chats_are_shown_under_their_calls_and_answered_on_their_own(tab: Tab) -> None:
    chat_id = await tab.start_chat("delegate")
    children = tab.page.get_by_test_id("children")
    await expect(children).to_contain_text(["waits for you", "waits for you"])
    child_id = (await children.get_by_role("link", name="number").get_attribute("href") or "").rpartition("/")[2]
    await expect(tab.page.locator(f"a[data-chat-id='{child_id}']")).to_have_count(0)
    await expect(tab.page.locator(f"a[data-chat-id='{chat_id}']")).to_have_count(1)
    await tab.page.reload()
    await children.get_by_role("link", name="number").click()
    await tab.page.get_by_role("textbox", name="Answer").fill("1")
    await tab.page.get_by_role("textbox", name="Answer").press("Enter")
    await expect(tab.message("assistant").last).to_contain_text("You said 2.")
    await tab.page.get_by_test_id("parent").click()
    await expect(children).to_contain_text(["waits for you", "ended"])
    await children.get_by_role("link", name="which").click()
    await tab.page.get_by_role("button", name="red", exact=True).click()
    await tab.page.get_by_test_id("parent").click()
    await expect(tab.message("assistant").last).to_contain_text("You said red. You said 2.")
    assert tab.page.url.endswith(chat_id)


async def test_the_inbox_leads_to_a_chat_that_waits(tab: Tab, server: ServerProcess) -> None:
    _, chat = await server.ask("POST", "/chats", {"content": "pay", "title": "Rent"})
    await tab.page.get_by_test_id("to-inbox").click()
    waiting = tab.page.get_by_test_id("waiting-chats").locator("li").filter(has_text="Rent")
    await expect(waiting).to_contain_text("Allow or deny pay.")
    await waiting.get_by_role("link").click()
    await expect(tab.page).to_have_url(re.compile(chat["id"]))
    await tab.page.get_by_test_id("approval").wait_for()
    await server.ask("DELETE", f"/chats/{chat['id']}")
