"""The commands on a server that implements only the reference protocol."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.zmq.reference_server import STARTED_AT, ReferenceServer
from support.waiting import DEADLINE_S

from .conftest import COMMAND, environment, run_in
from .terminals import Terminal


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReferenceServer]:
    """Announced in the user's runtime directory, as the reference protocol defines it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with ReferenceServer(without=("state.sync",)) as running:
        folder = tmp_path / "antiphon" / "instances"
        folder.mkdir(parents=True, mode=0o700)
        announcement = {
            "instance_id": running.instance_id,
            "pid": os.getpid(),
            "role": "primary",
            "version": "0.302.0",
            "project_id": running.project_id,
            "data": running.project_id,
            "started_at": STARTED_AT,
            "pub_endpoint": running.pub_endpoint,
            "rpc_endpoint": running.rpc_endpoint,
        }
        (folder / f"{running.instance_id}.json").write_text(json.dumps(announcement))
        yield running


def both(server: ReferenceServer) -> str:
    return f"{server.pub_endpoint},{server.rpc_endpoint}"


def test_ps_lists_the_server_with_its_reported_state(server: ReferenceServer, tmp_path: Path) -> None:
    server.add_session("One")
    (shown,) = run_in(tmp_path, "ps", "--json").lines
    assert (shown["is_silent"], shown["uptime"], shown["sessions"]) == (False, "1m5s", 1)


def test_ping_measures_a_server_given_by_its_endpoints(server: ReferenceServer, tmp_path: Path) -> None:
    done = run_in(tmp_path, "ping", "--endpoints", both(server), "--json")
    assert done.json["instance_id"] == server.instance_id


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:1", "a,b", "tcp://127.0.0.1:1,http://x", ""])
def test_invalid_endpoints_are_refused(tmp_path: Path, text: str) -> None:
    done = run_in(tmp_path, "ping", "--endpoints", text)
    assert done.code == 1
    assert "two addresses" in done.err


def test_an_endpoint_without_a_server_is_a_missing_instance(tmp_path: Path) -> None:
    assert run_in(tmp_path, "ping", "--endpoints", "ipc:///nowhere/a,ipc:///nowhere/b").code == 3


def say_when_heard(server: ReferenceServer, say: Callable[[], None]) -> threading.Thread:
    """Publish once a peer has subscribed."""

    def run() -> None:
        for _ in range(int(DEADLINE_S * 100)):
            if server.subscriptions > 0:
                say()
                return
            threading.Event().wait(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_events_shows_the_published_events(server: ReferenceServer, tmp_path: Path) -> None:
    session_id = server.add_session("One")
    saying = say_when_heard(server, lambda: server.answer(session_id, "wor", "ds"))
    with subprocess.Popen(
        [*COMMAND, "events", "--endpoints", both(server), "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline()) for _ in range(4)]
        process.kill()
    saying.join()
    assert [event["topic"] for event in seen] == ["llm.start", "llm.token", "llm.token", "llm.end"]


def test_attach_follows_a_session_sends_and_warns_that_lost_events_are_not_recovered(
    server: ReferenceServer, tmp_path: Path
) -> None:
    session_id = server.add_session("One")
    server.add_message(session_id, "user", "said before")
    server.on_send = lambda session, content: server.answer(session, "the ", "answer")
    with Terminal(tmp_path, "attach") as terminal:
        terminal.wait_for("lost events are not recovered")
        terminal.wait_for("said before")
        terminal.type("from here\r")
        terminal.wait_for("the answer")
        terminal.type("\x04")
        assert terminal.process.wait(DEADLINE_S) == 0
    assert [message["content"] for message in server.messages[session_id]] == [
        "said before",
        "from here",
        "the answer",
    ]


def test_attach_as_json_marks_the_events(server: ReferenceServer, tmp_path: Path) -> None:
    session_id = server.add_session("One")
    with subprocess.Popen(
        [*COMMAND, "attach", session_id, "--endpoints", both(server), "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
        process.kill()
    assert (event["type"], event["may_have_gaps"], event.get("cursor")) == ("resync", True, None)


def test_attach_interrupts_a_running_answer(server: ReferenceServer, tmp_path: Path) -> None:
    session_id = server.add_session("One")

    def begin(session: str, content: str) -> None:
        server.say("llm.start", session, {"session_id": session})
        server.say("llm.token", session, {"session_id": session, "token": "and so on"})

    server.on_send = begin
    with Terminal(tmp_path, "attach") as terminal:
        terminal.wait_for("not recovered")
        terminal.type("go\r")
        terminal.wait_for("and so on")
        terminal.type("\x1b")
        for _ in range(int(DEADLINE_S * 100)):
            if server.interrupted:
                break
            threading.Event().wait(0.01)
        assert server.interrupted == [session_id]
