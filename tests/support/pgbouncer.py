"""A real PgBouncer of one's own in front of a test's PostgreSQL server; PgBouncer does not run as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from support.ports import free_port
from support.postgres import UNPRIVILEGED, USER, PostgresServer

WAIT_S = 20.0
PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin"


def find_pgbouncer() -> str | None:
    """The program; None where it is not installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=PLACES)


class PgBouncer:
    """In `mode` session, transaction or statement, with `pool_size` connections to each database (`database`: only to
    this one). Use it as a context manager."""

    def __init__(
        self, folder: Path, server: PostgresServer, *, mode: str, pool_size: int = 20, database: str = "*"
    ) -> None:
        self.port = free_port()
        self._folder = folder
        self._server = server
        self._mode = mode
        self._pool_size = pool_size
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PgBouncer:
        program = find_pgbouncer()
        assert program, "pgbouncer is installed"
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "pgbouncer.ini"
        users = self._folder / "users.txt"
        users.write_text(f'"{USER}" ""\n')
        settings.write_text(
            "[databases]\n"
            f"{self._database} = host=127.0.0.1 port={self._server.port}\n"
            "[pgbouncer]\n"
            "listen_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            "auth_type = trust\n"
            f"auth_file = {users}\n"
            f"pool_mode = {self._mode}\n"
            f"default_pool_size = {self._pool_size}\n"
        )
        _open_up(self._folder)
        command = [program, str(settings)]
        if not os.geteuid():
            command = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", *command]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)

    def restart(self, *, mode: str) -> None:
        """On the same port, in another mode."""
        self.__exit__()
        self._mode = mode
        self.__enter__()

    def url_of(self, url: str) -> str:
        """The URL of a database of the server, through the pooler."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def _wait(self) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise TimeoutError("pgbouncer does not listen")


def _open_up(folder: Path) -> None:
    """Another user reads the settings."""
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in folder.parents:
        if parent.owner() == "root" and parent != Path("/") and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o111)
