"""`antiphon tui` on a real server, driven by keys and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.command import CommandInput, CommandList

from antiphon.client import AsyncClient
from client.servers import ServerProcess, script
from support.waiting import wait_until

from .windows import Window, open_window

pytestmark = pytest.mark.anyio

APP = '''
from antiphon import Agent, tool

@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b

@tool
def change() -> str:
    """Change a file."""
    return "--- a/x.py\\n+++ b/x.py\\n@@ -1 +1 @@\\n-old\\n+new\\n"

@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"

agent = Agent(tools=[add, change, pay])
'''
ASKING = """
FORM = {"type": "object", "required": ["name"], "properties": {
    "name": {"type": "string", "title": "Your name"}, "age": {"type": "integer"}, "news": {"type": "boolean"},
    "colour": {"enum": ["red", "blue"]}}}

async def agent(turn):
    if turn.text == "yes or no":
        yield f"You said {await turn.ask('Really?', {'type': 'boolean'})}."
    elif turn.text == "which":
        yield f"You said {await turn.ask('Which?', {'enum': ['red', 'blue']})}."
    elif turn.text == "form":
        yield f"You said {await turn.ask('Who are you?', FORM)}."
    else:
        yield f"You said {await turn.ask('How many?', {'type': 'integer'}) + 1}."
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("window")
    (directory / "app.py").write_text(APP)
    return directory


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(home / ".antiphon", str(home / "app.py") + ":agent", "--drain-s", "0")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Another server, whose agent asks."""
    directory = tmp_path_factory.mktemp("asking")
    (directory / "app.py").write_text(ASKING)
    running = ServerProcess(directory / ".antiphon", str(directory / "app.py") + ":agent", "--drain-s", "0")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other server of this machine is listed."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.chdir(tmp_path)


async def test_an_answer_with_tools_thoughts_and_markdown_is_shown_and_unfolds(
    server: ServerProcess, tmp_path: Path
) -> None:
    async with open_window(tmp_path, server.data) as window:
        await window.shows("Type a message below", "connected", "No chats yet")
        await window.send(script("/think Let me see", "/say **Hello** \x1b[31mthere", '/call add {"a": 1, "b": 2}'))
        shown = await window.shows("▸ add(1, 2) → 3", "Hello there", "▸ Thought", "demo model")
        assert "Let me see" not in shown.split("▸ Thought")[1]
        await window.press("ctrl+t")
        await window.shows("│ Let me see")
        await window.press("ctrl+o")
        await window.shows('│   "b": 2', "│ 3")
        await window.press("ctrl+o")
        await window.shows_no('│   "b": 2')
        await window.answered()
        await window.send("/call change {}")
        await window.shows("▸ change() → a diff, +1 −1")
        await window.press("f1")
        await window.shows("send; Ctrl+J (in many")
        await window.send("/retry")
        await window.until(lambda: window.talk.chat.turn_id is None)
        await window.send("/fail invalid_request")
        await window.shows("The answer failed:", "/retry tries it again")
        window.app.action_switch_theme()
        assert (tmp_path / "theme").read_text() == "antiphon-light"


async def test_approvals_are_given_by_button_by_word_and_with_other_arguments(
    server: ServerProcess, tmp_path: Path
) -> None:
    async with open_window(tmp_path, server.data) as window:
        await window.send('/call pay {"amount": 5}')
        await window.shows("Allow pay(amount=5)?", "Edit arguments", "waits for you")
        await window.click("#allow")
        await window.shows("pay(5) → paid 5", "(allowed: pay(amount=5))")
        await window.send('/call pay {"amount": 6}')
        await window.click("#edit")
        await window.shows("Arguments", "Enter allows the call with them")
        window.app.pane.composer.set_text("no JSON")
        await window.press("enter")
        await window.shows("The arguments are not JSON")
        window.app.pane.composer.set_text('{"amount": 7}')
        await window.press("enter")
        await window.shows("pay(7) → paid 7")
        await window.send('/call pay {"amount": 8}')
        await window.click("#deny")
        await window.shows("Why not?")
        await window.send("too much")
        await window.shows("pay(8) failed: denied", "(denied: pay(amount=8))")
        await window.answered()
        await window.send('/call pay {"amount": 9}')
        await window.shows("Allow pay(amount=9)?")
        async with AsyncClient(server.url, server.token) as client:
            assert "too much" in str(await client.messages(window.chat_id))
            call = (await client.chat(window.chat_id))["open_calls"][0]
            await client.approve(window.chat_id, call["tool_call_id"], always=True)
        await window.shows("(allowed in another window, always in this chat: pay(amount=9))")
        await window.shows_no("Edit arguments")


async def test_questions_are_answered_by_choice_by_text_and_as_a_form(asking: ServerProcess, tmp_path: Path) -> None:
    async with open_window(tmp_path, asking.data) as window:
        await window.send("yes or no")
        await window.shows("Really?")
        await window.click("#choice-0")
        await window.shows("You said True.")
        await window.send("which")
        await window.click("#choice-1")
        await window.shows("You said blue.")
        await window.send("number")
        await window.shows("Type a whole number.")
        await window.send("many")
        await window.shows("The answer must be a whole number.")
        window.app.pane.composer.set_text("41")
        await window.press("enter")
        await window.shows("You said 42.")
        await window.send("form")
        await window.shows("Who are you?", "Your name *")
        await window.click("#answer")
        await window.shows("Your name is needed.")
        await window.click(".field Input")
        await window.press(*"Ada", "tab", *"36")
        await window.click("Checkbox")
        await window.click("#answer")
        await window.shows("You said {'age': 36, 'name': 'Ada', 'news': True}.")


async def test_what_waits_is_edited_moved_sent_next_and_removed(server: ServerProcess, tmp_path: Path) -> None:
    async with open_window(tmp_path, server.data) as window:
        await window.send("/rate 20\n/tokens 4000")
        await window.shows("w3", "Enter: wait · Shift+Tab changes it")
        for text in ("/say one", "/say two", "/say three", "/say four"):
            await window.send(text)
        await window.shows("waiting: /say one", "waiting: /say four")
        queued = window.talk.chat.transcript.view
        panel = window.app.pane.query_one("#queue")
        panel.focus()
        await window.press("home", "shift+down")
        await window.until(lambda: [text_of(item) for item in queued.queued_messages][:2] == ["/say two", "/say one"])
        await window.press("d")
        await window.until(lambda: len(queued.queued_messages) == 3)
        await window.press("home", "e")
        await window.shows("Enter replaces the message")
        await window.type("!")
        await window.press("enter")
        await window.until(lambda: any(text_of(item).endswith("!") for item in queued.queued_messages))
        panel.focus()
        await window.press("end", "n")
        await window.shows("▌ /say four", "four")
        await window.answered()
        await window.send("/rate 20\n/tokens 4000")
        await window.until(lambda: window.talk.chat.turn_id)
        await window.press("shift+tab")
        await window.shows("Enter: add to this answer")
        await window.press("shift+tab")
        await window.shows("Enter: interrupt")
        await window.press("shift+tab")
        await window.send("/rate 20\n/tokens 4001")
        await window.send("/say never")
        await window.shows("waiting: /say never")
        await window.press("escape", "escape")
        await window.shows("removed 1 waiting")
        await window.answered()
        await window.press("up")
        assert window.app.pane.composer.text == "/say never"


def text_of(item: dict[str, Any]) -> str:
    return item["content"][0]["text"]


async def test_chats_of_two_servers_are_searched_pinned_renamed_and_deleted_and_texts_are_kept(
    server: ServerProcess, asking: ServerProcess, tmp_path: Path
) -> None:
    async with AsyncClient(server.url, server.token) as client:
        for title in ("Release notes", "A plan for the offsite", "Needle in a haystack"):
            await client.create_chat(title=title)
        notes = (await client.chats(title="Release notes"))["chats"][0]["id"]
        async with open_window(tmp_path, server.data, asking.data) as window:
            app = window.app
            await window.shows("Release notes", "A plan for the offsite", "asking")
            await window.type("half a thought")
            await window.press("ctrl+f", *"needle")
            await window.shows_no("Release notes")
            await window.press("enter", "enter")
            await window.shows("Needle in a haystack")
            await window.until(lambda: window.talk.chat.chat_id)
            assert app.pane.composer.text == ""
            await window.press("ctrl+n")
            await window.until(lambda: app.pane.composer.text == "half a thought")
            await window.press("ctrl+f", "escape")
            await window.shows("Release notes")
            app.open_chat(app.server, notes)
            await window.until(lambda: window.chat_id == notes)
            await choose(window, "Pin or unpin")
            await window.shows("Pinned")
            await choose(window, "Rename chat")
            await window.shows("The title of the chat")
            await window.press("end", *" 2", "enter")
            await window.shows("Release notes 2")
            await choose(window, "Archive chat")
            await window.until(lambda: notes not in app.server.chats)
            await choose(window, "Show archived chats")
            await window.shows("Archived")
            await choose(window, "Fork chat")
            await choose(window, "Delete chat")
            await window.shows("Cancel")
            await window.press("escape")
            assert (await client.chat(notes))["title"] == "Release notes 2"
            await choose(window, "Delete chat")
            await window.click("#yes")
            await window.shows("(the chat was deleted; this is a new one)")
            app.open_server(app.server_of(str(asking.data.resolve())))
            await window.send("yes or no")
            await window.shows("Really?")
            await choose(window, "Servers")
            await window.shows("window0  connected", "asking0  connected")


async def choose(window: Window, command: str) -> None:
    """A command of the palette."""
    await window.press("ctrl+p")
    await window.until(lambda: window.app.screen.query(CommandInput), "the palette is open")
    window.app.screen.query_one(CommandInput).value = command
    found = window.app.screen.query_one(CommandList)
    await window.until(lambda: 0 < found.option_count < 5 and command in str(found.options[0].prompt))
    await window.press("enter")
    await window.until(lambda: not window.app.screen.query(CommandInput), "the palette is closed")


@pytest.mark.slow
async def test_five_thousand_messages_open_at_their_end_and_load_on_scrolling_while_tokens_stream(
    server: ServerProcess, tmp_path: Path
) -> None:
    async with AsyncClient(server.url, server.token) as client:
        chat_id = (await client.create_chat(title="Long"))["id"]
        for number in range(2_500):
            await client.send(chat_id, f"/say answer {number}", when_busy="queue")
            if number % 50 == 49:
                await wait_until(lambda: is_idle(client, chat_id))
    async with open_window(tmp_path, server.data, which=chat_id) as window:
        await window.shows("answer 2499")
        transcript = window.app.pane.transcript
        assert len(transcript._entries) < 1_000
        await window.send("/rate 2000\n/tokens 20000")
        await window.until(lambda: window.talk.chat.turn_id)
        begun = window.app.frames
        while len(window.talk.window.messages(window.talk.chat.transcript.view)) < 5_000:
            transcript.scroll_home(animate=False)
            await window.pilot.pause(0.02)
        await window.shows("▌ /say answer 0")
        await window.answered()
        assert window.app.frames - begun > 1
        assert transcript.drawn_count < 2_000
        await window.press("ctrl+end")
        await window.shows("w20000")


async def is_idle(client: AsyncClient, chat_id: str) -> bool:
    return (await client.chat(chat_id))["status"] == "waiting"
