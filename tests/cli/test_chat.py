"""`antiphon chat`: one answer, and conversations at a terminal."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client import Client
from client.servers import Proxy, ServerProcess, script
from support.waiting import DEADLINE_S, wait_until_sync

from .conftest import COMMAND, Run, environment
from .terminals import Terminal

SLOW = script("/rate 20", "/tokens 4000")
PROMPT = "\n›"


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url, server.token) as opened:
        yield opened


def said(client: Client, chat_id: str) -> list[str]:
    messages = client.messages(chat_id)["messages"]
    return ["".join(part.get("text", "") for part in message["content"]) for message in messages]


# --- one answer -------------------------------------------------------------------------------------


def test_a_piped_question_gets_its_answer_and_nothing_else(run: Run) -> None:
    done = run("chat", "-", stdin="/say The **answer**\n")
    assert done == (0, "The **answer**\n", "")
    assert run("chat", stdin="/say again").out == "again\n"
    assert run("chat", "/say by argument").out == "by argument\n"


def test_an_answer_is_printed_without_escapes(run: Run) -> None:
    assert run("chat", "/say a\x1b[31mb\x1b]0;t\x07c").out == "abc\n"


def test_a_chat_can_be_continued(run: Run, client: Client) -> None:
    first = run("chat", "/say one", "--json").json
    assert (first["outcome"], first["text"]) == ("answered", "one")
    second = run("chat", "/say two", "--chat", first["chat_id"][:18], "--json").json
    assert second["chat_id"] == first["chat_id"]
    assert second["turn_id"] > first["turn_id"]
    assert said(client, first["chat_id"]) == ["/say one", "one", "/say two", "two"]


def test_an_answer_waits_for_the_turn_before_it(run: Run, client: Client) -> None:
    chat_id = client.create_chat(script("/rate 200", "/tokens 60"))["id"]
    done = run("chat", "/say after", "--chat", chat_id, "--json").json
    assert done["text"] == "after"
    assert said(client, chat_id)[-2:] == ["/say after", "after"]


def test_a_failed_turn_is_a_failure(run: Run) -> None:
    done = run("chat", "/fail auth")
    assert (done.code, done.out) == (1, "")
    assert "failed" in done.err
    assert run("chat", "/fail auth", "--json").json["outcome"] == "failed"


def test_the_answer_of_a_retried_call_is_printed_once(run: Run) -> None:
    done = run("chat", script("/say begun ", "/fail overloaded 1", "/say ended"))
    assert (done.code, done.out) == (0, "begun ended\n")


def test_an_empty_message_is_a_usage_error(run: Run) -> None:
    assert run("chat", "-", stdin=" \n").code == 2


def test_ctrl_c_interrupts_the_turn_and_keeps_the_partial(server: ServerProcess, home: Path, client: Client) -> None:
    command = [*COMMAND, "chat", SLOW, "--title", "stop me"]
    process = subprocess.Popen(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    )
    chats = wait_until_sync(lambda: client.chats(title="stop me")["chats"])
    for event in client.watch(chats[0]["id"], after="0"):
        if getattr(event, "to", 0) > 6:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert out.startswith("w1 w2 ")
    assert "interrupted" in err
    assert client.chat(chats[0]["id"])["status"] == "waiting"


# --- without an instance ----------------------------------------------------------------------------


def test_without_an_instance_one_is_started_and_its_chats_are_kept(run_alone: Run, tmp_path: Path) -> None:
    first = run_alone("chat", "/say one", "--json")
    assert (first.code, first.json["text"]) == (0, "one")
    assert "no instance is running; started one on .antiphon until this command ends" in first.err
    assert not (tmp_path / ".antiphon" / "instance.json").exists()
    assert run_alone("chat", "/say two", "--chat", "last").out == "two\n"
    assert run_alone("ls").code == 3
    server = ServerProcess(tmp_path / ".antiphon")
    try:
        shown = run_alone("show", "last", "--json").json
        assert shown["chat"]["id"] == first.json["chat_id"]
        assert len(shown["messages"]) == 4
    finally:
        server.stop()


def test_no_instance_is_started_for_an_address(run_alone: Run) -> None:
    assert run_alone("chat", "hello", "--url", "http://127.0.0.1:1", ANTIPHON_TOKEN="x").code == 3


# --- at a terminal ----------------------------------------------------------------------------------


def test_a_conversation_at_a_terminal(home: Path, client: Client, server: ServerProcess) -> None:
    with Terminal(home, "chat", "--title", "talk one") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("/say Grüße **mit** \x7f🎶\r")
        terminal.wait_for("› /say Grüße **mit**🎶")
        terminal.wait_for("\nGrüße mit🎶")
        terminal.type("/say second\r")
        terminal.wait_for("\nsecond")
        terminal.type("\x04")
        assert terminal.wait_end() == 0
        chat = client.chats(title="talk one")["chats"][0]
        assert f"To continue this chat: antiphon chat --chat {chat['id']}\n" in terminal.text
        assert "\x1b[?2004l" in terminal.raw.decode()
    chat = client.chats(title="talk one")["chats"][0]
    assert said(client, chat["id"]) == ["/say Grüße **mit**🎶", "Grüße **mit**🎶", "/say second", "second"]


def test_esc_stops_the_answer_the_queued_message_is_next_and_ctrl_c_clears_the_line_and_leaves(
    home: Path, client: Client, server: ServerProcess
) -> None:
    with Terminal(home, "chat", "--title", "talk two") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("\x1b[200~/rate 20\n/tokens 4000\x1b[201~\r")
        terminal.wait_for("w5 ")
        terminal.type("/say typed while busy\r")
        terminal.wait_for("  waiting: /say typed while busy")
        terminal.wait_for("1 waiting")
        terminal.type("half a li")
        terminal.wait_for("› half a li")
        terminal.type("\x1b")
        terminal.wait_for("(interrupted)")
        terminal.wait_for("\n› /say typed while busy")
        terminal.wait_for("\ntyped while busy\n")
        terminal.wait_for("› half a li")
        terminal.type("\x03")
        chat_id = client.chats(title="talk two")["chats"][0]["id"]
        wait_until_sync(lambda: client.chat(chat_id)["status"] == "waiting")
        terminal.wait_until(lambda text: "half a li" not in text, "the line is cleared")
        terminal.type("\x03")
        terminal.wait_for("Ctrl+C again leaves")
        terminal.type("\x03")
        assert terminal.wait_end() == 0
    texts = said(client, chat_id)
    assert texts[1].startswith("w1 w2 w3 w4 w5 ")
    assert texts[2:] == ["/say typed while busy", "typed while busy"]


def test_ctrl_d_leaves_without_waiting_for_the_end_of_the_turn(
    home: Path, client: Client, server: ServerProcess
) -> None:
    with (
        Proxy(server.port) as proxy,
        Terminal(home, "chat", "--title", "talk three", "--url", proxy.url, ANTIPHON_TOKEN=server.token) as terminal,
    ):
        terminal.wait_for(PROMPT)
        terminal.type("\x1b[200~/rate 20\n/stall 3600\x1b[201~\r")
        terminal.wait_for("waiting for the model")
        chat_id = wait_until_sync(lambda: client.chats(title="talk three")["chats"])[0]["id"]
        proxy.holds_back = True
        terminal.type("\x1b")
        wait_until_sync(lambda: client.chat(chat_id)["status"] == "waiting")
        assert terminal.process.poll() is None
        assert terminal.quit() == 0


def test_quitting_does_not_interrupt_the_turn(home: Path, client: Client, server: ServerProcess) -> None:
    with Terminal(home, "chat", "--title", "talk four") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("\x1b[200~/rate 20\n/tokens 4000\x1b[201~\r")
        terminal.wait_for("w3 ")
        terminal.type("\x04")
        assert terminal.wait_end() == 0
    chat = client.chats(title="talk four")["chats"][0]
    assert chat["status"] == "running"
    client.interrupt(chat["id"], 2)


def test_a_conversation_shows_earlier_messages_and_those_of_other_clients(
    home: Path, client: Client, server: ServerProcess
) -> None:
    chat_id = client.create_chat("/say before")["id"]
    list(client.watch(chat_id, until_idle=True))
    with Terminal(home, "chat", "--chat", chat_id) as terminal:
        terminal.wait_for("› /say before")
        terminal.wait_for("\nbefore\n")
        client.send(chat_id, "/say from another client")
        terminal.wait_for("› /say from another client")
        terminal.wait_for("\nfrom another client")
        client.delete_chat(chat_id)
        assert terminal.wait_end() == 0


def test_a_failure_is_printed_and_the_conversation_continues(home: Path, server: ServerProcess) -> None:
    with Terminal(home, "chat") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("/fail auth\r")
        terminal.wait_for("The turn failed: ")
        terminal.type("/say fine\r")
        terminal.wait_for("› /say fine")
        terminal.wait_for("\nfine")
        terminal.type("\x04")
        assert terminal.wait_end() == 0


def test_a_conversation_starts_an_instance_that_other_commands_find(
    run_alone: Run, tmp_path: Path, runtime_dir: Path
) -> None:
    with Terminal(tmp_path, "chat", XDG_RUNTIME_DIR=str(runtime_dir)) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("/say Hello\r")
        terminal.wait_for("\nHello\n")
        assert "waiting" in run_alone("ls").out
        assert terminal.quit() == 0
    assert run_alone("ls").code == 3


def test_one_answer_at_a_terminal_is_markdown(home: Path, server: ServerProcess) -> None:
    with Terminal(home, "chat", "/say Some **bold** words") as terminal:
        assert terminal.wait_end() == 0
        assert "Some bold words" in terminal.text
        assert "\x1b[1mbold" in terminal.raw.decode()
