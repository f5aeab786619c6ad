"""Tool calls that are waiting for approval, answered by a command and at the terminal, and what is shown
meanwhile."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client import Client
from client.servers import ServerProcess, script
from support.waiting import wait_until_sync

from .conftest import COMMAND, Run, environment, run_in
from .terminals import Terminal

PROMPT = "\n›"
APP = '''
import threading
from antiphon import Agent, tool

@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"

@tool
def wait_for_ever() -> str:
    """Never ends."""
    threading.Event().wait(60)
    return "done"

agent = Agent(tools=[pay, wait_for_ever])
'''
PAY = '/call pay {"amount": 5}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("approve")
    (directory / "app.py").write_text(APP)
    return directory


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(home / ".antiphon", str(home / "app.py") + ":agent", "--drain-s", "0")
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, server.token) as opened:
        yield opened


def results(client: Client, chat_id: str) -> list[object]:
    messages = client.messages(chat_id)["messages"]
    parts = [part for message in messages for part in message.get("content", [])]
    return [part["result"] for part in parts if part["type"] == "tool-result"]


def asked(client: Client, chat_id: str) -> list[str]:
    messages = client.messages(chat_id)["messages"]
    return [message["content"][0]["text"] for message in messages if message["role"] == "user"]


def waiting_chat(client: Client, content: str = PAY) -> str:
    chat_id = client.create_chat(content)["id"]
    wait_until_sync(lambda: client.chat(chat_id)["status"] == "requires_action")
    return chat_id


# --- `antiphon approve`


def test_one_answer_says_how_to_approve_and_approve_runs_the_call(run: Run, client: Client) -> None:
    done = run("chat", PAY)
    assert (done.code, done.out) == (1, "")
    (command,) = [words for words in done.err.split("`") if words.startswith("antiphon approve ")]
    approved = run(*command.split()[1:])
    assert (approved.code, approved.out) == (0, 'Approved: pay({"amount": 5})\n')
    chat = run("show", command.split()[2], "--json").json["chat"]
    wait_until_sync(lambda: client.chat(chat["id"])["status"] == "waiting")
    assert results(client, chat["id"]) == ["paid 5"]


def test_a_call_is_denied_with_a_reason_for_the_model(run: Run, client: Client) -> None:
    chat_id = waiting_chat(client)
    assert set(run("approve", chat_id, "pay", "--deny", "--reason", "too much", "--json").json) == {"seq"}
    wait_until_sync(lambda: client.chat(chat_id)["status"] == "waiting")
    (result,) = results(client, chat_id)
    assert "too much" in str(result)


def test_one_of_several_waiting_calls_must_be_named(run: Run, client: Client) -> None:
    chat_id = waiting_chat(client, script(PAY, '/call pay {"amount": 7}'))
    unclear = run("approve", chat_id)
    assert unclear.code == 1
    assert 'pay({"amount": 5})' in unclear.err
    assert 'pay({"amount": 7})' in unclear.err
    assert run("approve", chat_id, "nothing").code == 1
    for call in client.chat(chat_id)["open_calls"]:
        assert run("approve", chat_id, call["tool_call_id"]).code == 0
    wait_until_sync(lambda: client.chat(chat_id)["status"] == "waiting")
    assert results(client, chat_id) == ["paid 5", "paid 7"]


def test_approve_reports_that_no_call_is_waiting(run: Run, client: Client) -> None:
    chat_id = client.create_chat(title="idle")["id"]
    done = run("approve", chat_id)
    assert done.code == 1
    assert "waiting for approval" in done.err
    assert run("approve", chat_id, "--reason", "x").code == 2


# --- at a terminal


def test_y_and_n_answer_the_shown_call(home: Path, client: Client, server: ServerProcess) -> None:
    with Terminal(home, "chat", "--title", "decide") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(f'\x1b[200~{PAY}\n/call pay {{"amount": 7}}\x1b[201~\r')
        terminal.wait_for("Allow pay(amount=5)?")
        terminal.type("y\r")
        terminal.wait_for("(allowed: pay(amount=5))")
        terminal.wait_for("Allow pay(amount=7)?")
        terminal.type("no too much\r")
        terminal.wait_for("(denied: pay(amount=7))")
        chat_id = client.chats(title="decide")["chats"][0]["id"]
        wait_until_sync(lambda: client.chat(chat_id)["status"] == "waiting")
        found = results(client, chat_id)
        assert len(found) == 2
        assert "paid 5" in found
        assert "paid 7" not in found
        assert "too much" in str(found)
        terminal.type("y\r")
        wait_until_sync(lambda: "y" in asked(client, chat_id), what="`y` is a message where nothing is asked")


def test_a_continued_chat_asks_and_arguments_can_be_edited_and_the_first_answer_wins(
    home: Path, client: Client, server: ServerProcess
) -> None:
    chat_id = waiting_chat(client)
    with Terminal(home, "chat", "--chat", chat_id) as terminal:
        terminal.wait_for("Allow pay(amount=5)?")
        terminal.type("e\r")
        terminal.wait_for("arguments › {")
        terminal.type("\x1b[A\x05\x7f9\r")
        terminal.wait_for("pay(9) → paid 9")
        assert "Allow" not in terminal.text
        chat = client.create_chat(PAY)
        terminal.type(f"/open {chat['id']}\r")
        terminal.wait_for("Allow pay(amount=5)?")
        client.approve(chat["id"], client.chat(chat["id"])["open_calls"][0]["tool_call_id"])
        terminal.wait_for("(allowed in another window: pay(amount=5))")


def test_a_running_tool_is_shown_by_its_name(home: Path, client: Client, server: ServerProcess) -> None:
    with Terminal(home, "chat", "--title", "tool") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("/call wait_for_ever {}\r")
        terminal.wait_for("running wait_for_ever")
        terminal.type("\x1b")
        terminal.wait_for("(interrupted)")


def test_an_answer_without_text_prints_no_empty_line_and_names_the_called_tools(run: Run) -> None:
    done = run("chat", "/call none {}")
    assert (done.code, done.out) == (0, "")
    assert done.err == "antiphon: the answer has no text; it called none\n"


@pytest.mark.parametrize("words", [["chat"], ["chat", "/stall 60"]], ids=["conversation", "one answer"])
def test_a_lost_server_is_shown_until_it_responds_again(tmp_path: Path, words: list[str]) -> None:
    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0")
    with Terminal(tmp_path, *words) as terminal:
        terminal.wait_for(PROMPT if words == ["chat"] else "waiting for the model")
        server.signal(signal.SIGSTOP)
        terminal.wait_for("the server has not responded for")
        server.signal(signal.SIGCONT)
        if words == ["chat"]:
            terminal.type("/say it is back\r")
        terminal.wait_for("it is back" if words == ["chat"] else "waiting for the model")
    server.kill()


def test_a_piped_question_reports_a_lost_server_once(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / ".antiphon", "--drain-s", "0")
    command = [*COMMAND, "chat", script("/say begun", "/stall 60")]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment(), text=True)  # fmt: skip
    with Client(server.url, server.token) as client:
        wait_until_sync(lambda: client.chats()["chats"] and client.chats()["chats"][0]["status"] == "running")
    server.signal(signal.SIGSTOP)
    assert process.stderr is not None
    assert process.stderr.readline() == "antiphon: the server does not respond; waiting for it\n"
    process.kill()
    process.communicate()
    server.kill()


# --- text as it was typed


TYPED = [
    "سلام می‌خواهم",  # ZWNJ
    "prix : 5 €, « oui »",  # no-break spaces
    "全角　空白",  # U+3000
    "👩‍👩‍👧 family",  # ZWJ
    "क्‍ष",  # ZWJ
    "\u200fمرحبا\u200e end",  # direction marks
    "soft\u00adhyphen\u2060joiner",
]


@pytest.mark.parametrize("typed", TYPED)
def test_typed_text_is_sent_unchanged(home: Path, client: Client, server: ServerProcess, typed: str) -> None:
    with Terminal(home, "chat", "--title", f"typed {TYPED.index(typed)}") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(f"{typed}\r")
        found = wait_until_sync(lambda: client.chats(title=f"typed {TYPED.index(typed)}")["chats"])
    (sent, *_) = client.messages(found[0]["id"])["messages"]
    assert sent["content"][0]["text"] == typed
    assert run_in(home, "show", found[0]["id"], "--json").json["messages"][0]["content"][0]["text"] == typed
