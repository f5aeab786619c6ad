"""`antiphon serve` in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from antiphon.local.lock import InstanceFile, read_instance_file
from support.forked import Forked
from support.waiting import DEADLINE_S, wait_until_sync


def serve_command(data: Path, *options: str, app: str = "", port: int = 0) -> list[str]:
    command = [sys.executable, "-m", "antiphon.cli", "serve", *([app] if app else [])]
    return [*command, "--data", str(data), "--port", str(port), *options]


class ServerProcess:
    """Started by `with`; killed at the end if it still runs. `log` is what it said."""

    def __init__(self, data: Path, *options: str, app: str = "", port: int = 0) -> None:
        self.data = data
        self.log_path = data.parent / f"{data.name}.log"
        with self.log_path.open("ab") as log:
            args = serve_command(data, *options, app=app, port=port)[3:]
            self.process = Forked(args, stdout=log, stderr=log)

    def wait_ready(self) -> InstanceFile:
        def ready() -> InstanceFile | None:
            assert self.process.poll() is None, "the server has ended: " + self.log
            found = read_instance_file(self.data)
            return found if found is not None and found.pid == self.process.pid else None

        found: InstanceFile = wait_until_sync(ready, what="the server is ready")
        self.url, self.token, self.instance_id = found.http_url, found.token, found.instance_id
        self.port = urlsplit(self.url).port or 0
        return found

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.signal()
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)

    def ask(
        self, method: str, path: str, body: Any = None, *, prefix: str = "/api/v1", tls: ssl.SSLContext | None = None
    ) -> tuple[int, Any]:
        """One request below the prefix; (status, JSON)."""
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, context=tls, timeout=DEADLINE_S)
            if tls
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        )
        with contextlib.closing(connection):
            data = json.dumps(body).encode() if body is not None else None
            connection.request(method, f"{prefix}{path}", data, {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None


@contextlib.contextmanager
def server_process(data: Path, *options: str, app: str = "", port: int = 0) -> Iterator[ServerProcess]:
    """A server that is ready."""
    server = ServerProcess(data, *options, app=app, port=port)
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()
