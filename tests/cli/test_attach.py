"""`antiphon attach`: join a chat of a running instance."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from antiphon.client import Client
from antiphon.client.local import Endpoints
from antiphon.local.lock import read_instance_file
from client.servers import ServerProcess
from support.waiting import DEADLINE_S

from .conftest import COMMAND, Run, environment, run_in
from .terminals import Terminal


def local_client(server: ServerProcess) -> Client:
    found = read_instance_file(server.data)
    assert found is not None
    endpoints = Endpoints.of(found.pub_endpoint, found.rpc_endpoint, found.keys)
    assert endpoints is not None
    return Client.local(endpoints)


def test_attach_shows_a_chat_and_sends_typed_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = ServerProcess(tmp_path / "one" / ".antiphon", "--drain-s", "0")
    second = ServerProcess(tmp_path / "two" / ".antiphon", "--drain-s", "0")
    try:
        with local_client(second) as client:
            client.create_chat("/say of the second", title="older")
            chat = client.create_chat("/say it began before", title="newer")
        nowhere = run_in(tmp_path, "attach", "--json")
        assert nowhere.code == 1
        assert "choose one of 2" in nowhere.err + nowhere.out
        with Terminal(tmp_path, "attach") as terminal:
            terminal.wait_for("two/.antiphon")
            terminal.type("2\r")
            terminal.wait_for("newer")
            terminal.type("1\r")
            terminal.wait_for("it began before")
            terminal.type("/say from the terminal\r")
            terminal.wait_for("from the terminal")
            terminal.type("\x04")
            assert terminal.process.wait(DEADLINE_S) == 0
        with local_client(second) as client:
            texts = [
                m["content"][0]["text"] for m in client.messages(chat["id"])["messages"] if m["role"] == "assistant"
            ]
        assert texts == ["it began before", "from the terminal"]
        here = subprocess.Popen(
            [*COMMAND, "attach", "last", "--json"],
            cwd=tmp_path / "two",
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert here.stdout is not None
        event = json.loads(here.stdout.readline())
        assert (event["type"], event["chat"]["id"]) == ("resync", chat["id"])
        here.kill()
        here.wait()
        here.stdout.close()
    finally:
        first.stop()
        second.stop()


def test_attach_reports_that_no_instance_is_running(run_alone: Run, tmp_path: Path) -> None:
    done = run_alone("attach", XDG_RUNTIME_DIR=str(tmp_path))
    assert done.code == 3
    assert "antiphon serve" in done.err
