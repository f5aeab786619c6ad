"""`antiphon serve`: its options, its address and its shutdown."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from antiphon.client import Client
from antiphon.local.lock import read_instance_file
from client.servers import ServerProcess
from support.ports import free_port
from support.waiting import DEADLINE_S

from .conftest import COMMAND, Run, environment
from .terminals import Terminal


def test_at_a_terminal_the_web_uis_address_is_printed_with_the_token(tmp_path: Path) -> None:
    with Terminal(tmp_path, "serve", "--port", "0", columns=200) as terminal:
        terminal.wait_for("Antiphon is ready")
        terminal.wait_for("Ctrl-C stops it.")
        found = read_instance_file(tmp_path / ".antiphon")
        assert found is not None
        assert f"{found.http_url}/#token={found.token}\n" in terminal.text
        terminal.type("\x03")
        assert terminal.wait_end() == 0
    assert read_instance_file(tmp_path / ".antiphon") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_no_token_is_printed_and_a_signal_ends_the_server(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json", "--drain-s", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    found = read_instance_file(tmp_path / ".antiphon")
    assert found is not None
    assert f'"http_url":"{found.http_url}"' in ready
    with Client(found.http_url, found.token) as client:
        assert client.healthz()["instance_id"] == found.instance_id
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert found.token not in ready + out + err


def test_the_model_and_the_port_are_chosen(tmp_path: Path) -> None:
    port = free_port()
    server = ServerProcess(tmp_path / "data", "--model", "rehearsal", "--concurrency", "2", port=port)
    try:
        assert server.url == f"http://127.0.0.1:{port}"
    finally:
        assert server.stop() == 0


def test_a_custom_agent_answers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("async def agent(turn):\n    yield 'Always this.'\n")
    server = ServerProcess(tmp_path / "data", str(tmp_path / "app.py:agent"))
    try:
        with Client(server.url, server.token) as client:
            chat_id = client.create_chat("Hello?")["id"]
            list(client.watch(chat_id, until_idle=True))
            assert client.messages(chat_id)["messages"][-1]["content"] == [{"type": "text", "text": "Always this."}]
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["--port", "70000"], 2, "--port"),
        (["--port", "x"], 2, "--port"),
        (["--concurrency", "0"], 2, "--concurrency"),
        (["--drain-s", "-1"], 2, "--drain-s"),
        (["--tls-cert", "missing.pem"], 2, "--tls-cert"),
        (["--tls-cert", "empty.pem"], 2, "require each other"),
        (["--host", "0.0.0.0", "--port", "0"], 1, "reachable from other machines"),
        (["missing.py:agent", "--port", "0"], 1, "missing.py"),
        (["--limit", "tool_s"], 2, "NAME=VALUE"),
        (["--limit", "tools=3", "--port", "0"], 1, "unknown limit 'tools'; the limits are message_bytes"),
        (["--data", "/proc/nowhere", "--port", "0"], 1, "/proc/nowhere: No such file or directory"),
        (["--data", "empty.pem/data", "--port", "0"], 1, "empty.pem/data: Not a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_invalid_options_are_reported(
    run_alone: Run, tmp_path: Path, args: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "empty.pem").touch()
    done = run_alone("serve", *args)
    assert done.code == code
    assert sentence in done.err
    assert "Traceback" not in done.err


def test_a_port_has_one_server(run_alone: Run, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / ".antiphon")
    try:
        same_port = run_alone("serve", "--data", "other", "--port", str(server.port))
        assert same_port.code == 1
        assert f"port {server.port}" in same_port.err
    finally:
        server.stop()


def test_the_files_of_a_data_directory_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    try:
        assert stat.S_IMODE(os.stat(server.data).st_mode) == 0o700
        for name in ("instance.json", "token", "antiphon.db"):
            assert stat.S_IMODE(os.stat(server.data / name).st_mode) == 0o600
    finally:
        server.stop()
