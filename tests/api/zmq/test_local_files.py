"""The files by which an instance is found on its machine: other users, two data directories, long paths, invalid
files, and disks that cannot be written."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from antiphon.api.zmq.sockets import PAIRS_TRIED, open_ipc_sockets, open_tcp_sockets
from antiphon.cli import antiphon
from antiphon.client import Client
from antiphon.errors import Unauthenticated, Unavailable
from antiphon.local.lock import INSTANCE_NAME, LOCK_NAME, InstanceFile, claim_data, read_instance_file
from cli.conftest import Result, run_in
from client.servers import ServerProcess
from programs import PRIVILEGES
from support.waiting import DEADLINE_S, wait_until_sync

UNPRIVILEGED = 65534


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that every user may enter, with a runtime directory in it."""
    folder = Path(tempfile.mkdtemp(prefix="antiphon-place-"))
    folder.chmod(0o755)
    (folder / "runtime").mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "runtime"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def serving(data: Path, *options: str) -> Iterator[ServerProcess]:
    server = ServerProcess(data, "--drain-s", "0", *options)
    try:
        yield server
    finally:
        assert server.stop() == 0


# --- another user

PROBE = """
import os, socket, stat, sys
for path in sys.argv[1:]:
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            os.listdir(path)
        elif stat.S_ISSOCK(kind):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path, "rb").read(1)
    except OSError:
        continue
    print(path)
"""


def reachable_by_others(*paths: Path) -> set[Path]:
    """Those of these that another user can list, read or connect to."""
    become = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        [*become, python, "-I", "-S", "-c", PROBE, *map(str, paths)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"{PRIVILEGES}another user can run nothing here: {done.stderr.strip()[-200:]}")
    return {Path(line) for line in done.stdout.splitlines()}


@pytest.mark.skipif(os.geteuid() != 0, reason=f"{PRIVILEGES}only root can become another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is needed to become another user")
@pytest.mark.parametrize("is_deep", [pytest.param(False, marks=pytest.mark.slow), True])
def test_another_user_cannot_read_or_connect_even_in_an_open_folder(place: Path, is_deep: bool) -> None:
    data = place / ("d" * 150 if is_deep else "data")
    open_file, open_socket = place / "open", place / "open.sock"
    open_file.write_text("x")
    with socket.socket(socket.AF_UNIX) as listener, serving(data):
        listener.bind(str(open_socket))
        open_socket.chmod(0o777)
        listener.listen(1)
        found = read_instance_file(data)
        assert found is not None
        sockets = [Path(str(end).removeprefix("ipc://")) for end in (found.pub_endpoint, found.rpc_endpoint)]
        announced = place / "runtime" / "antiphon" / "instances"
        wait_until_sync(lambda: list(announced.glob("*.json")))
        secret_files = [data / "token", data / LOCK_NAME, data / INSTANCE_NAME, *announced.iterdir(), *sockets]
        secret_folders = [data, sockets[0].parent, announced, place / "runtime" / "antiphon"]
        assert len(secret_files) == 6
        assert [stat.S_IMODE(path.stat().st_mode) for path in secret_files] == [0o600] * 6
        assert [stat.S_IMODE(path.stat().st_mode) for path in secret_folders] == [0o700] * 4
        everything = (*secret_files, *secret_folders)
        assert reachable_by_others(open_file, open_socket, place, *everything) == {open_file, open_socket, place}
        for folder in secret_folders:
            folder.chmod(0o755)
        assert reachable_by_others(open_file, *everything) == {open_file, *secret_folders}


# --- side by side


def pinged(data: Path) -> str:
    done = run("ping", "--data", str(data), "--json")
    assert done.code == 0, done.err
    return str(done.json["instance_id"])


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.slow), ("--bus-tcp",)])
def test_two_data_directories_side_by_side_do_not_mix(place: Path, options: tuple[str, ...]) -> None:
    with serving(place / "one", *options) as one, serving(place / "two", *options) as two:
        assert [pinged(place / "one"), pinged(place / "two")] == [one.instance_id, two.instance_id]
        wait_until_sync(lambda: len(run("ps", "--json").lines) == 2)
        listed = run("ps", "--json").lines
        assert {item["instance_id"] for item in listed} == {one.instance_id, two.instance_id}
        assert not any(item["is_silent"] for item in listed)
        assert len({item["rpc_endpoint"] for item in listed}) == 2
        assert one.token != two.token
        with Client(one.url, two.token) as client, pytest.raises(Unauthenticated):
            client.chats()
        with Client(one.url, one.token) as client:
            client.create_chat("/say of one")
        assert "of one" in run("ls", "--data", str(one.data)).out
        assert run("ls", "--data", str(two.data)) == Result(0, "", "")
    assert run("ps", "--json").lines == []


def test_an_instance_with_a_path_of_150_bytes_is_found_through_the_runtime_directory(place: Path) -> None:
    data = place / ("d" * (149 - len(str(place))))
    assert len(str(data)) == 150
    ServerProcess(data).kill()
    with serving(data) as server:
        found = read_instance_file(data)
        assert found is not None
        assert str(found.rpc_endpoint).startswith(f"ipc://{place}/runtime/antiphon/")
        done = run_in(place, "ping", "--data", str(data), "--json")
        assert done.json["instance_id"] == server.instance_id


@pytest.mark.slow
def test_a_runtime_directory_with_a_path_too_long_is_reported(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("r" * 120)
    long.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    fails_with(run_in(place, "serve", "--port", "0", "--data", str(place / ("d" * 150))), "cannot be bound")


# --- files that are not what they should be


def run(*args: str) -> Result:
    """The command, in this process: what it does not foresee is raised here."""
    done = CliRunner().invoke(antiphon, args)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Result(done.exit_code, done.stdout, done.stderr)


def fails_with(done: Result, words: str = "", *, codes: tuple[int, ...] = (1, 3)) -> None:
    """The command failed with a sentence."""
    assert "Traceback" not in done.err, done.err[-2_000:]
    assert done.code in codes, done
    assert done.err.startswith("antiphon: ") or '"error"' in done.out, done
    assert words in done.err + done.out, done


def served(data: Path) -> Result:
    """The server, started and, if it is ready, stopped."""
    command = [sys.executable, "-m", "antiphon.cli", "serve", "--port", "0", "--json", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if '"instance_id"' in ready:
            process.terminate()
        out, err = process.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in err, err[-2_000:]
    return Result(process.returncode, ready + out, err)


def a_directory(path: Path) -> None:
    path.mkdir()
    (path / "with").write_text("something in it")


def holding(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def a_huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 64 * 1024 * 1024)


WHOLE = InstanceFile(
    instance_id="i",
    pid=os.getpid(),
    role="primary",
    version="0",
    http_url="http://127.0.0.1:1",
    token="t",
    started_at="2026-01-01T00:00:00Z",
    pub_endpoint="ipc:///nowhere/pub.sock",
    rpc_endpoint="ipc:///nowhere/rpc.sock",
)


def as_json(**other: Any) -> bytes:
    return msgspec.json.encode({name: getattr(WHOLE, name) for name in WHOLE.__struct_fields__} | other)


GARBAGE: dict[str, Callable[[Path], Any]] = {
    "empty": holding(b""),
    "half": holding(as_json()[:50]),
    "binary": holding(random.Random(1).randbytes(5_000)),
    "not UTF-8": holding(as_json().replace(b'"i"', b'"\xff"')),
    "nested": holding(as_json()[:-1] + b',"more":' + b"[" * 100_000),
    "of other types": holding(as_json(pid="x")),
    "a list": holding(b"[]"),
    "a directory": a_directory,
    "huge": a_huge_file,
}


def forms(*, always: tuple[str, ...] = tuple(GARBAGE), without: tuple[str, ...] = ()) -> list[Any]:
    """Every kind of garbage."""
    shown = []
    for name in [name for name in GARBAGE if name not in without]:
        marks = [] if name in always else [pytest.mark.slow]
        shown.append(pytest.param(name, marks=marks))
    return shown


@pytest.mark.parametrize("form", forms(always=("nested",)))
def test_an_invalid_instance_file_means_no_instance(tmp_path: Path, form: str) -> None:
    with claim_data(tmp_path / "data", instance_id="i"):
        GARBAGE[form](tmp_path / "data" / INSTANCE_NAME)
        for verb in ("ping", "events", "ls"):
            fails_with(run(verb, "--data", str(tmp_path / "data")), "no instance runs", codes=(3,))


@pytest.mark.parametrize("verb", ["ping", "events", "ls"])
@pytest.mark.parametrize("form", forms(always=()))
def test_an_invalid_instance_file_means_no_instance_for_a_command(tmp_path: Path, form: str, verb: str) -> None:
    with claim_data(tmp_path / "data", instance_id="i"):
        GARBAGE[form](tmp_path / "data" / INSTANCE_NAME)
        fails_with(run_in(tmp_path, verb, "--data", "data"), "no instance runs", codes=(3,))


@pytest.mark.parametrize(
    "endpoint",
    [
        "garbage",
        "ipc://",
        "ipc://" + "x" * 300,
        "ipc:///nowhere/rpc.sock",
    ],
)
def test_an_invalid_endpoint_is_reported(tmp_path: Path, endpoint: str) -> None:
    with claim_data(tmp_path / "data", instance_id="i"):
        (tmp_path / "data" / INSTANCE_NAME).write_bytes(as_json(pub_endpoint=endpoint, rpc_endpoint=endpoint))
        fails_with(run("ping", "--data", str(tmp_path / "data")))


@pytest.mark.parametrize("url", ["garbage", "http://", "http://[", "http://127.0.0.1:99999999", "http://127.0.0.1:1"])
def test_an_invalid_url_is_reported(tmp_path: Path, url: str) -> None:
    with claim_data(tmp_path / "data", instance_id="i"):
        (tmp_path / "data" / INSTANCE_NAME).write_bytes(as_json(http_url=url, pub_endpoint=None, rpc_endpoint=None))
        fails_with(run("ls", "--data", str(tmp_path / "data")))


@pytest.mark.parametrize("form", forms(always=("a directory",)))
def test_an_invalid_instance_file_is_replaced_or_reported_at_start(place: Path, form: str) -> None:
    (place / "data").mkdir(mode=0o700)
    GARBAGE[form](place / "data" / INSTANCE_NAME)
    done = served(place / "data")
    if form == "a directory":
        fails_with(done, "Is a directory")
    else:
        assert done.code == 0


# --- the lock file, the token, the sockets


@pytest.mark.parametrize("form", forms(without=("a directory",)))
def test_an_invalid_lock_file_is_replaced_when_unlocked(tmp_path: Path, form: str) -> None:
    (tmp_path / "data").mkdir()
    GARBAGE[form](tmp_path / "data" / LOCK_NAME)
    assert run("migrate", "--data", str(tmp_path / "data")).code == 0
    assert (tmp_path / "data" / LOCK_NAME).stat().st_size < 1_000


@pytest.mark.parametrize("form", [param for param in forms() if param.values != ("a directory",)])
def test_a_locked_file_with_invalid_content_is_respected(tmp_path: Path, form: str) -> None:
    (tmp_path / "data").mkdir()
    GARBAGE[form](tmp_path / "data" / LOCK_NAME)
    with (tmp_path / "data" / LOCK_NAME).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fails_with(run("migrate", "--data", str(tmp_path / "data")), "is in use by", codes=(1,))


def test_a_directory_in_place_of_the_lock_file_is_reported(tmp_path: Path) -> None:
    a_directory_in(tmp_path / "data" / LOCK_NAME)
    fails_with(run("migrate", "--data", str(tmp_path / "data")), "Is a directory")
    fails_with(run("ping", "--data", str(tmp_path / "data")), "no instance runs")


def a_directory_in(path: Path) -> None:
    path.parent.mkdir(parents=True)
    a_directory(path)


@pytest.mark.parametrize(
    "form",
    [
        "binary",
        pytest.param("empty", marks=pytest.mark.slow),
        pytest.param("a directory", marks=pytest.mark.slow),
    ],
)
def test_an_invalid_token_file_is_replaced_or_reported(place: Path, form: str) -> None:
    (place / "data").mkdir(mode=0o700)
    GARBAGE[form](place / "data" / "token")
    done = served(place / "data")
    if form == "a directory":
        fails_with(done, "Is a directory")
    else:
        assert done.code == 0


@pytest.mark.parametrize("name", ["pub.sock", "rpc.sock"])
def test_a_file_in_place_of_a_socket_is_replaced_or_reported(tmp_path: Path, name: str) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / name).write_bytes(b"x")
    sockets = open_ipc_sockets(run_folder)
    sockets.close()
    sockets.deliver()
    shutil.rmtree(run_folder)
    a_directory_in(run_folder / name)
    with pytest.raises(Unavailable, match="cannot be bound"):
        open_ipc_sockets(run_folder)
    shutil.rmtree(run_folder)
    run_folder.write_bytes(b"x")
    with pytest.raises(Unavailable, match="run cannot be used"):
        open_ipc_sockets(run_folder)


def test_a_pair_of_ports_skips_one_that_is_in_use() -> None:
    """Others on this machine take ports meanwhile: the next free pair is not always the next one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for pub, rpc in ((port - 1, port), (port, port - 1)):
            sockets = open_tcp_sockets(pub, rpc)
            endpoints = (sockets.pub_endpoint, sockets.rpc_endpoint)
            bound_pub, bound_rpc = (int(endpoint.rpartition(":")[2]) for endpoint in endpoints)
            sockets.close()
            sockets.deliver()
            assert bound_pub - pub == bound_rpc - rpc
            assert bound_pub - pub in range(2, 2 * PAIRS_TRIED, 2)


# --- announcements


def announcement_path(place: Path, name: str) -> Path:
    folder = place / "runtime" / "antiphon" / "instances"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{name}.json"


@pytest.mark.parametrize("form", forms())
def test_an_invalid_announcement_is_removed(place: Path, form: str) -> None:
    path = announcement_path(place, "garbage")
    GARBAGE[form](path)
    done = run("ps")
    assert (done.code, done.err) == (0, "")
    assert "No instance is running on this machine" in done.out
    assert path.is_dir() or not path.exists()


def announced(**other: Any) -> bytes:
    known = {"instance_id": "i", "role": "primary", "version": "0", "project_id": "/p", "data": "/p/d"}
    return msgspec.json.encode(known | {"pid": os.getpid(), "started_at": "2026"} | other)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_an_announcement_of_a_dead_process_is_removed(place: Path, pid: int) -> None:
    announcement_path(place, "stale").write_bytes(announced(pid=pid))
    assert "No instance is running on this machine" in run("ps").out
    assert not announcement_path(place, "stale").exists()


def test_an_announcement_without_endpoints_is_ignored(place: Path) -> None:
    announcement_path(place, "silent").write_bytes(announced())
    assert run("ps", "--json").lines[0]["is_silent"] is True


# --- disks


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"{PRIVILEGES}no file system can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_start_on_a_read_only_disk_is_reported(place: Path) -> None:
    with disk(place / "disk", "8m") as folder:
        (folder / "data").mkdir(mode=0o700)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        fails_with(served(folder / "data"), "Read-only file system")
        fails_with(run("ping", "--data", str(folder / "data")), "no instance runs")


FULL = [0, *(pytest.param(room, marks=pytest.mark.slow) for room in (4_096, 120_000))]


@pytest.mark.parametrize("room", FULL)
def test_a_start_on_a_full_disk_is_reported(place: Path, room: int) -> None:
    with disk(place / "disk", "2m") as folder:
        (folder / "data").mkdir(mode=0o700)
        (folder / "ballast").write_bytes(bytes(2 * 1024 * 1024 - room))
        fails_with(served(folder / "data"), "the disk is full" if room else "No space left on device")
