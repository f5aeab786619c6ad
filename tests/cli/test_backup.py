"""`antiphon backup` and `antiphon restore` on real instances, under load, on full disks, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from antiphon.client import Client
from client.servers import ServerProcess, script
from programs import PRIVILEGES
from support.forked import Forked
from support.waiting import DEADLINE_S, wait_until_sync

from .conftest import Run, environment, run_in

LARGE_BYTES = 12 * 1024 * 1024


@pytest.fixture(scope="module")
def large(server: ServerProcess) -> str:
    """A file that takes a while to be compressed; its id."""
    with Client(server.url, server.token) as client:
        chat_id = client.create_chat()["id"]
        file_id = client.upload(os.urandom(LARGE_BYTES), media_type="application/octet-stream")["file_id"]
        client.send(chat_id, [{"type": "text", "text": "/say Kept"}, {"type": "file-reference", "file_id": file_id}])
        assert list(client.watch(chat_id, until_idle=True))
    return file_id


class Load:
    """Clients that send messages and upload files until the load is stopped. `acked` are the acknowledged messages,
    as (chat, message id), and `files` the acknowledged files."""

    def __init__(self, server: ServerProcess) -> None:
        self.acked: list[tuple[str, int]] = []
        self.files: dict[str, bytes] = {}
        self._server = server
        self._stopped = threading.Event()

    def run(self, number: int) -> None:
        with Client(self._server.url, self._server.token) as client:
            count = 0
            while not self._stopped.is_set():
                count += 1
                content = f"{number} {count}".encode() * 1000
                file_id = client.upload(content, media_type="text/plain", name="n.txt")["file_id"]
                self.files[file_id] = content
                parts = [{"type": "text", "text": f"/say {count}"}, {"type": "file-reference", "file_id": file_id}]
                chat_id = client.create_chat()["id"]
                self.acked.append((chat_id, client.send(chat_id, parts)["message"]["id"]))

    def stop(self) -> None:
        self._stopped.set()


def test_a_backup_under_load_has_everything_that_was_acknowledged_and_the_restored_instance_continues(
    server: ServerProcess, run: Run, home: Path, large: str, tmp_path: Path
) -> None:
    load = Load(server)
    with ThreadPoolExecutor(2) as threads, Client(server.url, server.token) as client:
        running = client.create_chat(script("/rate 20", "/tokens 60"))["id"]
        jobs = [threads.submit(load.run, number) for number in range(2)]
        wait_until_sync(lambda: len(load.acked) > 10 or any(job.done() for job in jobs), what="the load runs")
        acked, files = list(load.acked), dict(load.files)
        try:
            done = run("backup", str(tmp_path / "b.tar.gz"), "--json")
        finally:
            load.stop()
        assert [job.result() for job in jobs] == [None, None], "no request failed during the backup"
        client.interrupt(running, 2)
    assert done.code == 0, done.err
    assert set(done.json) == {"file", "bytes", "chats", "files", "seconds"}
    assert (done.json["chats"] >= 4, done.json["files"] > len(files)) == (True, True)
    assert "the key that encrypts the secrets of providers" in done.err
    assert (tmp_path / "b.tar.gz").stat().st_size == done.json["bytes"]

    restored = tmp_path / "restored"
    assert run_in(tmp_path, "restore", "b.tar.gz", "--data", "restored").out.startswith("Restored ")
    assert run_in(tmp_path, "doctor", "--data", "restored").out.startswith("No damage found")
    again = ServerProcess(restored, "--drain-s", "0")
    with Client(again.url, again.token) as client:
        for chat_id, message_id in acked:
            assert client.messages(chat_id)["messages"][0]["id"] == message_id
        for file_id, content in files.items():
            assert client.download(file_id) == content
        assert list(client.watch(running, until_idle=True))
        types = [event.type for event in client.watch(running, after="0", until_idle=True)]
        assert types.count("attempt_lost") == 1
        assert client.messages(running)["messages"][-1]["role"] == "assistant"
    assert again.stop() == 0


def test_a_killed_backup_leaves_no_file_and_the_next_one_succeeds(run: Run, home: Path, large: str) -> None:
    partial = home / ".killed.tar.gz.antiphon-partial"

    def start() -> Forked:
        process = Forked(["backup", "killed.tar.gz"], cwd=home, env=environment())
        archive = partial / "archive"
        wait_until_sync(lambda: process.poll() is not None or archive.exists(), what="the archive is written")
        return process

    terminated = start()
    terminated.terminate()
    assert terminated.wait(DEADLINE_S) == 1
    assert not partial.exists()
    process = start()
    process.send_signal(signal.SIGSTOP)
    busy = run("backup", "killed.tar.gz")
    process.kill()
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    assert (busy.code, "another process is writing" in busy.err) == (1, True)
    assert partial.exists()
    assert not (home / "killed.tar.gz").exists()
    assert run("backup", "killed.tar.gz").code == 0
    assert not partial.exists()
    refused = run("backup", "killed.tar.gz")
    assert (refused.code, refused.err) == (
        1,
        "antiphon: FILE: killed.tar.gz exists; choose another name, or replace it with --force\n",
    )
    assert run("backup", "killed.tar.gz", "--force").code == 0


def test_a_killed_restore_leaves_no_database_and_the_next_one_succeeds(run: Run, home: Path, large: str) -> None:
    assert run("backup", "b.tar.gz", "--force").code == 0
    data = home / "restored"
    process = Forked(["restore", "b.tar.gz", "--data", "restored"], cwd=home, env=environment())
    folder = data / ".restoring"
    wait_until_sync(lambda: process.poll() is not None or folder.exists(), what="the unpacking begins")
    process.send_signal(signal.SIGSTOP)
    if folder.exists():
        busy = run("restore", "b.tar.gz", "--data", "restored")
        assert (busy.code, "in use" in busy.err) == (1, True)
    process.kill()
    process.wait(DEADLINE_S)
    if not (data / "antiphon.db").exists():  # otherwise it was faster than its end, and must be complete
        done = run("restore", "b.tar.gz", "--data", "restored", "--json")
        assert (done.code, done.json["files"] >= 1) == (0, True), done.err
    assert not folder.exists()
    assert run("doctor", "--data", "restored", "--json").json["is_sound"] is True


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{PRIVILEGES}a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_reported_and_left_as_it_was(run: Run, home: Path, large: str, small_disk: Path) -> None:
    assert run("backup", "whole.tar", "--force").code == 0
    for arguments in (("backup", f"{small_disk}/b.tar"), ("restore", "whole.tar", "--data", f"{small_disk}/data")):
        done = run(*arguments)
        assert (done.code, done.out) == (1, "")
        assert "cannot be written: the disk is full; free some space" in done.err
        assert list(small_disk.iterdir()) == []


def test_damage_is_found_before_a_backup_gets_its_name(run: Run, home: Path, large: str, tmp_path: Path) -> None:
    assert run("backup", "b.tar", "--force").code == 0
    assert run("restore", "b.tar", "--data", "damaged").code == 0
    stored = home / "damaged" / "files" / large
    stored.write_bytes(b"changed")
    with apsw.Connection(str(home / "damaged" / "antiphon.db")) as connection:
        connection.execute("DELETE FROM facts WHERE seq = 3 AND chat_id = (SELECT min(chat_id) FROM facts)")
    found = run("backup", "d.tar", "--data", "damaged")
    assert (found.code, found.out) == (1, "")
    assert f"the file {large} has 7 bytes instead of {LARGE_BYTES}" in found.err
    assert "No backup was written, because the data has damage" in found.err
    report = run("backup", "d.tar", "--data", "damaged", "--json")
    assert (report.code, len(report.json["error"]["findings"]) >= 2) == (1, True)
    assert not (home / "d.tar").exists()
    stored.unlink()
    assert run("backup", "d.tar", "--data", "damaged", "--no-check").code == 0
    assert run("restore", "d.tar", "--data", "damaged again").code == 0
    assert run("doctor", "--data", "damaged again").code == 1


def test_what_cannot_be_backed_up_or_restored_is_said(run: Run, home: Path, tmp_path: Path) -> None:
    for arguments, reason in {
        ("backup", "x.tar", "--store", "postgresql://me:sesame@127.0.0.1/x"): "pg_dump --format=custom",
        ("backup", "x.tar", "--data", "none"): "there is no database in none",
        ("backup", "none/x.tar"): "there is no directory none",
        ("backup", ".antiphon"): ".antiphon is a directory",
        ("backup", "x.tar", "--store", "sqlite:x", "--data", "y"): "give either --store or --data",
        ("restore", "server.txt", "--data", "new"): "it is not a backup, or it is damaged",
        ("restore", "server.txt"): ".antiphon is not empty",
    }.items():
        (home / "server.txt").write_text("no backup" * 100)
        done = run(*arguments)
        assert (done.code, done.out) == (1, ""), arguments
        assert reason in done.err
        assert "sesame" not in done.err
    assert run("restore", "none.tar").code == 2
    assert not [path for path in home.iterdir() if path.name in ("x.tar", "new", "none")]


UNPRIVILEGED = """
import os, sys
import antiphon.cli as cli
cli._import_structlog()
import antiphon.cli.backup, antiphon.store.backup.backup, antiphon.store.url, antiphon.local.lock, encodings.idna
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
cli.antiphon(sys.argv[1:])
"""


def test_missing_rights_are_reported(server: ServerProcess) -> None:
    """Another user may neither read the data nor write beside it."""
    if os.getuid():
        pytest.skip(f"{PRIVILEGES}another user is needed")
    with tempfile.TemporaryDirectory() as public:
        os.chmod(public, 0o777)
        for file in (f"{server.data}/b.tar", f"{public}/b.tar"):
            command = [sys.executable, "-c", UNPRIVILEGED, "backup", file, "--data", str(server.data)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("antiphon: ")
            assert done.stderr.endswith(": Permission denied.\n")
        assert os.listdir(public) == []
