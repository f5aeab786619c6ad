"""Which instance a command uses, and what it reports if there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from antiphon.local.lock import INSTANCE_NAME, claim_data, read_instance_file
from client.servers import ServerProcess
from support.ports import free_port

from .conftest import Run, environment

CLIENT_VERBS = [
    "ls",
    "show last",
    "send last x",
    "tail last",
    "interrupt last",
    "queue last",
    "token list",
    "token create --owner x",
    "token revoke x",
]


@pytest.mark.parametrize("words", CLIENT_VERBS)
def test_every_command_says_how_to_start_an_instance_if_none_is_running(run_alone: Run, words: str) -> None:
    done = run_alone(*words.split())
    assert (done.code, done.out) == (3, "")
    assert "no instance runs on .antiphon; start one with `antiphon serve`" in done.err


def test_a_missing_instance_is_reported_as_json(run_alone: Run) -> None:
    done = run_alone("ls", "--json")
    assert (done.code, done.err) == (3, "")
    assert done.json["error"]["code"] == "unavailable"


def test_a_command_uses_the_instance_of_the_current_directory(run: Run, server: ServerProcess) -> None:
    assert run("ls").code == 0


def test_a_command_uses_the_instance_of_data(run_alone: Run, server: ServerProcess) -> None:
    assert run_alone("ls", "--data", str(server.data)).code == 0
    assert run_alone("ls", "--data", "missing").err.endswith("start one with `antiphon serve --data missing`.\n")


def test_url_is_used_with_the_token_of_the_environment(run_alone: Run, server: ServerProcess) -> None:
    assert run_alone("ls", "--url", server.url, ANTIPHON_TOKEN=server.token).code == 0
    assert run_alone("ls", "--url", server.url, ANTIPHON_TOKEN="wrong").code == 1
    assert run_alone("ls", "--url", server.url).code == 2
    assert run_alone("ls", "--url", server.url, "--data", ".", ANTIPHON_TOKEN="x").code == 2
    assert run_alone("ls", "--url", "nowhere", ANTIPHON_TOKEN="x").code == 1
    unreachable = run_alone("send", "last", "x", "--url", f"http://127.0.0.1:{free_port()}", ANTIPHON_TOKEN="x")
    assert unreachable.code == 3


def test_a_killed_instance_counts_as_missing(run_alone: Run, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / ".antiphon")
    server.kill()
    assert (server.data / INSTANCE_NAME).exists()
    done = run_alone("ls")
    assert done.code == 3
    assert "does not respond" in done.err
    assert "antiphon serve" in done.err


def test_another_instance_at_the_same_address_counts_as_missing(
    run_alone: Run, tmp_path: Path, server: ServerProcess
) -> None:
    found = read_instance_file(server.data)
    assert found is not None
    stale = msgspec.structs.replace(found, instance_id="00000000-0000-4000-8000-000000000000")
    with claim_data(tmp_path / ".antiphon", instance_id=stale.instance_id):
        (tmp_path / ".antiphon" / INSTANCE_NAME).write_bytes(msgspec.json.encode(stale))
        done = run_alone("ls")
    assert done.code == 3
    assert "another one uses its address" in done.err


def test_a_copy_of_the_data_directory_has_no_instance(run_alone: Run, tmp_path: Path, server: ServerProcess) -> None:
    shutil.copytree(server.data, tmp_path / ".antiphon", ignore=shutil.ignore_patterns("run"))
    done = run_alone("send", "last", "to the copy")
    assert done.code == 3
    assert "does not respond" in done.err


# --- instances announced on this machine


def serve(data: Path, runtime_dir: Path) -> ServerProcess:
    return ServerProcess(data, "--drain-s", "0", env={"XDG_RUNTIME_DIR": str(runtime_dir)})


@pytest.mark.parametrize("words", ["ls", "chat hello", "ping", "token list", "config models list"])
def test_a_command_uses_the_only_announced_instance_and_names_it(
    run_alone: Run, tmp_path: Path, runtime_dir: Path, words: str
) -> None:
    server = serve(tmp_path / "my-chats", runtime_dir)
    try:
        done = run_alone(*words.split())
        assert (done.code, done.err) == (0, f"antiphon: using the instance on {server.data} ({server.url})\n")
        assert not (tmp_path / ".antiphon").exists()
    finally:
        server.stop()


def test_the_instance_of_the_current_directory_precedes_an_announced_one(
    run_alone: Run, tmp_path: Path, runtime_dir: Path
) -> None:
    servers = [serve(tmp_path / name, runtime_dir) for name in (".antiphon", "other")]
    try:
        done = run_alone("ping", "--json")
        assert (done.err, done.json["instance_id"]) == ("", servers[0].instance_id)
    finally:
        for server in servers:
            server.stop()


def test_several_announced_instances_are_listed_and_none_is_chosen(
    run_alone: Run, tmp_path: Path, runtime_dir: Path
) -> None:
    servers = [serve(tmp_path / name, runtime_dir) for name in ("one", "two words")]
    try:
        done = run_alone("chat", "hello")
        assert done.code == 1
        assert f"--data {servers[0].data}, --data '{servers[1].data}'" in done.err
        assert not (tmp_path / ".antiphon").exists()
    finally:
        for server in servers:
            server.stop()


def test_an_announced_instance_that_was_killed_is_not_used(run_alone: Run, tmp_path: Path, runtime_dir: Path) -> None:
    serve(tmp_path / "my-chats", runtime_dir).kill()
    assert run_alone("ls").code == 3
    done = run_alone("chat", "/say hello")
    assert (done.code, done.out) == (0, "hello\n")
    assert "started one on .antiphon" in done.err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_characters_missing_in_the_terminals_encoding_are_replaced(
    run: Run, server: ServerProcess, encoding: str
) -> None:
    done = run("chat", "/say 漢字 →", PYTHONIOENCODING=encoding)
    assert (done.code, done.err) == (0, "")
    assert "? ?" in done.out.replace("??", "?")


@pytest.mark.parametrize("redirect", [">&-", "<&-", ">/dev/full", ">&- 2>&-"])
def test_closed_or_full_standard_streams_cause_no_traceback(
    tmp_path: Path, server: ServerProcess, redirect: str
) -> None:
    for words in ("ls", "show last", "chat hi", "serve --data /proc/nowhere"):
        line = f"{sys.executable} -m antiphon.cli {words} {redirect}"
        done = subprocess.run(line, shell=True, cwd=server.data.parent, env=environment(), capture_output=True)
        assert done.returncode in (0, 1), words
        assert b"Traceback" not in done.stderr
