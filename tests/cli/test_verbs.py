"""The verbs on a real instance."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from antiphon.client import Client
from antiphon.core.events import Resync
from antiphon.core.view import View
from antiphon.wire.stream import decode_event
from client.servers import ServerProcess, script

from .conftest import Run

SLOW = script("/rate 20", "/tokens 4000")


@pytest.fixture
def client(server: ServerProcess):
    with Client(server.url, server.token) as opened:
        yield opened


@pytest.fixture
def answered(client: Client) -> str:
    """A chat with one question and its answer."""
    chat_id = client.create_chat("/say **Hello** \x1b[31mred", title="A title")["id"]
    assert list(client.watch(chat_id, until_idle=True))
    return chat_id


@pytest.fixture
def busy(client: Client):
    chat_id = client.create_chat(SLOW)["id"]
    yield chat_id
    client.interrupt(chat_id, 2, clear_queue=True)


def test_chats_are_listed(run: Run, answered: str) -> None:
    line = run("ls").out.splitlines()[0]
    assert line.startswith(answered[:8] + "  waiting")
    assert line.endswith("A title")
    page = run("ls", "--json", "--limit", "1").json
    assert page["chats"][0]["id"] == answered
    assert run("ls", "--json", "--title", "no such title").json == {"chats": [], "next": None}


def test_a_chat_is_exported_to_a_file(run: Run, answered: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    done = run("export", answered, "-o", str(file))
    assert (done.code, done.out) == (0, "")
    assert json.loads(file.read_text())["chat"]["id"] == answered
    assert run("export", answered, "-o", str(tmp_path / "none" / "chat.json")).code == 1
    assert run("export", answered, "--md", "--json").code == 2


def test_a_chat_is_shown_without_the_models_escapes(run: Run, answered: str) -> None:
    done = run("show", answered[:13])
    assert done.code == 0
    assert done.out.startswith(f"{answered}  waiting  A title\n")
    assert "--- assistant #4" in done.out
    assert "**Hello** red\n" in done.out
    assert "\x1b" not in done.out
    exported = run("export", answered[:13], "--md")
    assert exported.out.startswith("# A title\n")
    assert "**Hello** \x1b[31mred" in exported.out, "a file has what the model wrote"
    shown = run("show", answered, "--json").json
    assert run("export", answered).json["messages"] == shown["messages"]
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    assert shown["chat"]["id"] == answered


def test_a_chat_may_be_named_by_the_beginning_of_its_id_or_last(run: Run, client: Client) -> None:
    first, second = (client.create_chat(id="abcdef12-" + str(uuid.uuid4())[9:])["id"] for _ in "12")
    assert run("show", first, "--json").json["chat"]["id"] == first
    assert run("show", "last", "--json").json["chat"]["id"] == second
    client.update_chat(second, archived=True)
    assert run("show", second[:16].upper(), "--json").json["chat"]["id"] == second
    ambiguous = run("show", "abcdef12")
    assert ambiguous.code == 1
    assert first in ambiguous.err
    assert second in ambiguous.err
    assert run("show", "0123456789").code == 1
    assert run("show", str(uuid.uuid4())).code == 1
    assert run("show", "a chat").err == "antiphon: CHAT: an id, the beginning of an id, or `last`\n"


def test_messages_are_sent_and_queued(run: Run, client: Client, answered: str, busy: str) -> None:
    assert run("send", answered, "/say more").out.startswith("Sent as #")
    sent = run("send", answered, "-", "--json", "--client-id", "mine", stdin="/say piped\n").json
    again = run("send", answered, "/say piped", "--json", "--client-id", "mine").json
    assert sent == again
    assert run("send", answered, "/say other", "--client-id", "mine").code == 1
    assert run("send", busy, "/say later").out.startswith("Queued as #")
    refused = run("send", busy, "now", "--when-busy", "reject", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "busy")


def test_files_are_sent_with_a_message(run: Run, client: Client, answered: str, tmp_path: Path) -> None:
    (tmp_path / "a ü.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "notes.txt").write_text("notes")
    files = [item for name in ("a ü.png", "notes.txt") for item in ("--file", str(tmp_path / name))]
    sent = run("send", answered, "/say seen", *files, "--json").json
    first, *references = sent["message"]["content"]
    assert first == {"type": "text", "text": "/say seen"}
    assert [client.download(part["file_id"]) for part in references] == [b"\x89PNG\r\n\x1a\n", b"notes"]
    assert "[file a ü.png, 8 B]" in run("show", answered).out
    assert len(run("send", answered, "", *files, "--json").json["message"]["content"]) == 2
    missing = run("send", answered, "x", "--file", str(tmp_path / "missing"))
    assert missing.code == 2
    (tmp_path / "wrong.png").write_text("not an image")
    refused = run("send", answered, "x", "--file", str(tmp_path / "wrong.png"))
    assert (refused.code, refused.err) == (1, "antiphon: content-type: the bytes are not image/png\n")


def test_a_chat_is_followed_from_a_cursor_until_it_is_idle(run: Run, client: Client, answered: str) -> None:
    done = run("tail", answered, "--after", "0", "--until-idle", "--json")
    assert done.code == 0
    view = View()
    for line in done.out.splitlines():
        view.apply(decode_event(line.encode()))
    assert view.messages == client.messages(answered)["messages"]
    assert done.lines[-1] == {"type": "bye", "reason": "idle"}
    assert [event["cursor"] for event in done.lines if event.get("seq") == 5] == ["5.0"]
    from_now = run("tail", answered, "--until-idle", "--json").lines
    assert isinstance(decode_event(json.dumps(from_now[0]).encode()), Resync)
    text = run("tail", answered, "--after", "1", "--until-idle").out
    assert "    2  message_appended         user: /say **Hello** red\n" in text
    assert "\x1b" not in text
    assert run("tail", answered, "--after", "999").code == 1
    assert run("tail", answered, "--after", "x").code == 1


def test_text_is_printed_as_it_is_streamed(run: Run, client: Client) -> None:
    chat_id = client.create_chat(script("/rate 100", "/tokens 40"))["id"]
    text = run("tail", chat_id, "--after", "0", "--until-idle").out
    assert "w1 w2 w3 " in text
    assert text.count("w40 ") <= 2


def test_a_turn_is_interrupted(run: Run, busy: str, answered: str) -> None:
    assert run("interrupt", busy, "--turn", "99").out == "Turn #99 is not running.\n"
    assert run("interrupt", busy).out == "Interrupted turn #2.\n"
    assert run("interrupt", answered).out == "No turn is running.\n"
    assert run("interrupt", answered, "--json").json["interrupted"] is False


def test_the_queue_is_shown_and_changed(run: Run, client: Client, busy: str) -> None:
    ids = [str(client.send(busy, f"/say {name}")["queued_message"]["id"]) for name in "abc"]
    assert run("queue", busy, "edit", ids[0], "/say A").code == 0
    assert run("queue", busy, "move", ids[0]).code == 0
    assert run("queue", busy, "move", ids[2], "--before", ids[1]).code == 0
    assert run("queue", busy, "delete", ids[1]).code == 0
    listed = run("queue", busy, "--json").json["queued_messages"]
    assert [message["content"][0]["text"] for message in listed] == ["/say c", "/say A"]
    assert run("queue", busy).out == f"#{ids[2]} (queue)  /say c\n#{ids[0]} (queue)  /say A\n"
    assert run("queue", busy, "promote", ids[0], "--json").json["seq"] > int(ids[2])
    late = run("queue", busy, "edit", ids[0], "too late", "--json")
    assert (late.code, late.json["error"]["code"]) == (1, "already_delivered")
    for args in (["edit", "1"], ["delete"], ["delete", "x"], ["list", "1"], ["delete", "1", "--before", "2"]):
        assert run("queue", busy, *args).code == 2


def test_usage_is_shown_by_day_and_model(run: Run, answered: str) -> None:
    shown = run("usage", "--json").json
    (row,) = shown["rows"]
    assert (row["day"], row["model"], row["cost_micros"]) == (shown["last_day"], "rehearsal", None)
    line, total = run("usage", "--days", "1").out.splitlines()
    assert line.startswith(shown["last_day"])
    assert line.endswith("?  rehearsal")
    assert total.startswith("all")
    assert run("usage", "--owner", "missing").code == 1
    assert run("usage", "--days", "401").code == 2


def test_tokens_are_made_listed_and_revoked(run: Run, run_alone: Run, server: ServerProcess) -> None:
    made = run("token", "create", "--owner", "bob")
    secret = made.out.strip()
    assert run_alone("ls", "--url", server.url, ANTIPHON_TOKEN=secret).code == 0
    assert run_alone("token", "list", "--url", server.url, ANTIPHON_TOKEN=secret).code == 1
    token_id = next(t["id"] for t in run("token", "list", "--json").json["tokens"] if t["owner"] == "bob")
    assert token_id in made.err
    assert run("token", "revoke", token_id).out == "Revoked.\n"
    assert run_alone("ls", "--url", server.url, ANTIPHON_TOKEN=secret).code == 1
    assert f"{token_id}  user   revoked" in run("token", "list").out
    assert run("token", "revoke", "nonsense").code == 1
    admin = run("token", "create", "--owner", "eve", "--admin", "--json").json
    assert run_alone("token", "list", "--url", server.url, ANTIPHON_TOKEN=admin["token"]).code == 0
