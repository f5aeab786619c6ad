"""`antiphon answer` and `antiphon approve`, with the agent of the tutorial that asks a person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client import Client
from client.servers import ServerProcess
from support.waiting import wait_until_sync

from .conftest import Run, run_in
from .terminals import Terminal

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
(ORDER,) = re.findall(r"^```python\n# order\.py\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("answer")
    (directory / "order.py").write_text(ORDER)
    return directory


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(home / ".antiphon", str(home / "order.py") + ":agent", "--drain-s", "0")
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, server.token) as opened:
        yield opened


def waiting_for(client: Client, chat_id: str, needs: str) -> None:
    wait_until_sync(lambda: [call["needs"] for call in client.chat(chat_id)["open_calls"]] == [needs])


def last_words(client: Client, chat_id: str) -> str:
    wait_until_sync(lambda: client.chat(chat_id)["status"] == "waiting")
    return str(client.messages(chat_id)["messages"][-1]["content"][0]["text"])


def test_the_order_of_the_tutorial_is_answered_and_approved(run: Run, client: Client) -> None:
    chat_id = client.create_chat("go")["id"]
    waiting_for(client, chat_id, "answer")
    shown = run("show", chat_id)
    assert "Which size?" in shown.out
    answered = run("answer", chat_id, "M")
    assert (answered.code, answered.out) == (0, 'Answered: "M"\n')
    waiting_for(client, chat_id, "approval")
    approved = run("approve", chat_id, "pay", "--args", '{"amount": 7}', "--json")
    assert approved.code == 0
    assert json.loads(approved.out)["seq"] > 0
    assert last_words(client, chat_id).startswith("Size M. ")
    messages = client.messages(chat_id)["messages"]
    assert "Paid 7." in json.dumps(messages)
    assert json.dumps(messages).count("One question first.") == 1


def test_a_tool_that_is_always_allowed_is_not_asked_for_again(run: Run, client: Client) -> None:
    chat_id = client.create_chat("go")["id"]
    for always in (True, False):
        waiting_for(client, chat_id, "answer")
        run("answer", chat_id, "S")
        if always:
            waiting_for(client, chat_id, "approval")
            assert run("approve", chat_id, "--always").code == 0
        assert last_words(client, chat_id) == "Size S. Paid 120."
        client.send(chat_id, "again")


def test_answer_refuses_error_for_a_question_and_an_unknown_call(run: Run, client: Client) -> None:
    chat_id = client.create_chat("go", tools=[{"name": "pay", "description": "", "parameters": {}}])["id"]
    waiting_for(client, chat_id, "answer")
    wrong = run("answer", chat_id, "M", "--error")
    assert (wrong.code, "--error is for the result of a tool" in wrong.err) == (2, True)
    nothing = run("answer", chat_id, "M", "--call", "other")
    assert nothing.code == 1
    assert "no call matches" in nothing.err


@pytest.mark.parametrize(
    "words",
    [("--deny", "--always"), ("--deny", "--args", "{}"), ("--args", "no JSON"), ("--reason", "x")],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_refused(run: Run, client: Client, words: tuple[str, ...]) -> None:
    chat_id = client.create_chat("go")["id"]
    waiting_for(client, chat_id, "answer")
    done = run("approve", chat_id, *words)
    assert done.code in (1, 2)
    assert "Traceback" not in done.err


def test_a_question_is_answered_in_the_terminal(home: Path, client: Client) -> None:
    with Terminal(home, "chat") as terminal:
        terminal.wait_for("\n›")
        terminal.type("go\r")
        terminal.wait_for("Type a number, or the choice itself.")
        terminal.type("XXL\r")
        terminal.wait_for("Choose one of")
        terminal.type("\x15L\r")
        terminal.wait_for("Allow pay(")
        terminal.type("y\r")
        terminal.wait_for("Size L. Paid 120.")


def test_answer_reports_that_no_call_is_open(run: Run, home: Path, client: Client) -> None:
    chat_id = client.create_chat()["id"]
    done = run("answer", chat_id, "x")
    assert (done.code, "call waiting for an answer" in done.err) == (1, True)
    assert run_in(home, "answer").code == 2
