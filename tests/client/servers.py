"""A real server in its own process, and a TCP proxy that can break connections."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from antiphon.local.lock import read_instance_file
from support.forked import Forked
from support.waiting import DEADLINE_S, wait_until_sync


class ServerProcess:
    """`antiphon serve` on `data`; `port` 0 is any. It is killed at the end of the test."""

    def __init__(self, data: Path, *options: str, port: int = 0, env: dict[str, str] | None = None) -> None:
        self.data = data
        self._log = (data.parent / f"{data.name}.log").open("ab")
        args = ["serve", "--data", str(data), "--port", str(port), *options]
        self._process = Forked(args, stdout=self._log, stderr=self._log, env={**os.environ, **(env or {})})
        found = wait_until_sync(self._ready, what="the server is ready")
        self.url, self.token, self.instance_id = found.http_url, found.token, found.instance_id
        self.port = urlsplit(found.http_url).port or 0

    def _ready(self) -> Any:
        assert self._process.poll() is None, "the server has ended: " + Path(self._log.name).read_text()
        found = read_instance_file(self.data)
        return found if found is not None and found.pid == self._process.pid else None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop the server. Returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(DEADLINE_S)
        self._log.close()
        return code


class Proxy:
    """Between a client and a server, in threads. `cut_after()` gives, for each connection, after how many bytes of
    the answer it is broken (None: never); `holds_back`: nothing is passed on to the client any more."""

    def __init__(self, port: int, cut_after: Callable[[], int | None] = lambda: None) -> None:
        self._target = port
        self._cut_after = cut_after
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.connections = 0
        self.holds_back = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._run(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def cut(self) -> None:
        """Break all open connections."""
        for end in list(self._open):
            _break(end)

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._open |= {client, server}
            self._run(self._pass_on, client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        asking = threading.Thread(target=_pump, args=(client, server), daemon=True)
        asking.start()
        left = self._cut_after()
        try:
            while data := server.recv(65_536):
                if self.holds_back:
                    continue
                if left is not None and len(data) >= left:
                    client.sendall(data[:left])
                    break
                left = None if left is None else left - len(data)
                client.sendall(data)
        except OSError:
            pass
        for end in (client, server):
            _break(end)
        asking.join(DEADLINE_S)
        for end in (client, server):
            end.close()
            self._open.discard(end)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _break(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def script(*lines: str) -> str:
    """A message to the rehearsal model."""
    return "\n".join(lines)
