"""Starts `antiphon` commands as processes without the cost of their imports.

The tests start some five hundred processes of the command line, and importing it takes longer than what most of them
do. So each test process has one fork server (`fork_server`) that has imported it once, and forks a real process for
each command: with its own pid, directory, environment and streams. What an interpreter decides at its start (its
options, its locale, a program that is run in another way) needs a process that is started in the usual way.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ANSWER_BYTES = 4096


class ForkServer:
    """The fork server of this process, started at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def request(self, request: Mapping[str, object], descriptors: Sequence[int] = ()) -> dict[str, int]:
        with self._lock:
            if self._connection is None:
                self._start()
            assert self._connection is not None
            socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
            answer: dict[str, int] = json.loads(self._connection.recv(ANSWER_BYTES))
            return answer

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        atexit.register(self._stop)

    def _stop(self) -> None:
        assert self._connection is not None
        assert self._process is not None
        self._connection.close()
        self._process.wait()


SERVER = ForkServer()


class Forked:
    """A process of the command line, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> None:
        sys.audit("subprocess.Popen", "antiphon", list(args), cwd, env)
        self.args = list(args)
        self.returncode: int | None = None
        request = {
            "args": list(map(str, args)),
            "cwd": os.path.abspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        with open(os.devnull, "r+b") as null:
            streams = [(stream or null).fileno() for stream in (stdin, stdout, stderr)]
            self.pid = SERVER.request(request, streams)["pid"]
        self._pidfd = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._pidfd], [], [], 0)[0]:
            self._reap()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._pidfd], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._reap()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(SERVER.request({"wait": self.pid})["status"])
            os.close(self._pidfd)


class AsyncForked:
    """The same with the methods of `asyncio.subprocess.Process`."""

    def __init__(self, process: Forked) -> None:
        self._process = process
        self.pid = process.pid
        self.send_signal = process.send_signal
        self.terminate = process.terminate
        self.kill = process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    async def wait(self) -> int:
        if self._process.poll() is None:
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()
            pidfd = os.pidfd_open(self.pid)  # of its own: another task may wait as well
            loop.add_reader(pidfd, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(pidfd)
                os.close(pidfd)
        return self._process.wait()


def run_command(
    args: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes = b"", timeout: float
) -> tuple[int, bytes, bytes]:
    """Run `antiphon ARGS` to its end: its exit code, standard output and standard error. After `timeout` seconds it
    is killed and `subprocess.TimeoutExpired` is raised."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = Forked(args, cwd=cwd, env=env, stdin=given, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()
