"""A real server in a process of its own, that can be killed and started again on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from antiphon.local.lock import read_instance_file
from support.forked import AsyncForked, Forked
from support.ports import free_port
from support.waiting import wait_until

APP = str(Path(__file__).parent / "agent_app.py") + ":agent"
READY_S = 30.0


class ServerProcess:
    """`await start()`, `kill()`, `await stop()`. `url` and `token` stay the same over all of its lives. `command` is
    what the interpreter runs instead of `antiphon serve`."""

    def __init__(
        self,
        data: Path,
        *,
        app: str | None = None,
        options: tuple[str, ...] = (),
        command: tuple[str, ...] = (),
        cwd: Path | None = None,
        **env: str,
    ) -> None:
        self.data = data
        self.port = free_port()
        self._app = app
        self._options = options
        self._env = env
        self._command = command
        self._cwd = cwd
        self.process: asyncio.subprocess.Process | AsyncForked | None = None
        self.log_path = data.parent / f"{data.name}.log"
        self.kills = 0

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, **env: str) -> None:
        """Start and wait until requests are answered (or until it died at a crash point)."""
        await self._spawn(**env)
        assert self.process is not None
        try:
            await wait_until(self._is_ready_or_dead)
        except AssertionError as error:
            raise AssertionError(f"{error}; the end of its log: {self.log()[-2000:]}") from None

    def _is_ready_or_dead(self) -> bool:
        found = read_instance_file(self.data)
        return not self.is_running or (found is not None and found.pid == self.pid)

    async def _spawn(self, **env: str) -> None:
        options = [self._app] if self._app else []
        options += ["--data", str(self.data), "--port", str(self.port), *self._options]
        full_env = {**os.environ, **self._env, **env}
        with open(self.log_path, "ab") as log:  # noqa: ASYNC230 - a local file, once a start
            if self._command:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, *self._command, *options, env=full_env, stdout=log, stderr=log, cwd=self._cwd
                )
            else:
                served = Forked(["serve", *options], env=full_env, stdout=log, stderr=log, cwd=self._cwd)
                self.process = AsyncForked(served)

    async def kill(self) -> None:
        """SIGKILL, as the power would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.kills += 1

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(READY_S):
            return await self.process.wait()

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    # --- asking

    async def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        """One request on a connection of its own. Raises OSError or EOFError where the answer did not come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            data = json.dumps(body).encode() if body is not None else b""
            writer.write(
                self._head(method, path, token, f"Content-Length: {len(data)}\r\nConnection: close\r\n") + data
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if b"ength" in head else 0
            answer = await reader.readexactly(length)
            return int(head.split(b" ")[1]), _json_of(head, answer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionResetError("no whole answer came") from error
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    def _head(self, method: str, path: str, token: str | None, more: str) -> bytes:
        return (
            f"{method} /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {token or self.token}\r\n{more}\r\n"
        ).encode()

    async def open_stream(self, path: str, *, cursor: str = "", token: str | None = None) -> SseStream:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        more = f"Last-Event-ID: {cursor}\r\n" if cursor else ""
        writer.write(self._head("GET", path, token, more))
        stream = SseStream(reader, writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            await stream.close()
            raise ConnectionResetError("no answer came") from error
        except BaseException:
            writer.transport.abort()
            raise
        if not head.startswith(b"HTTP/1.1 200"):
            await stream.close()
            raise ConnectionRefusedError(head.split(b"\r\n")[0].decode())
        return stream


def _json_of(head: bytes, answer: bytes) -> Any:
    try:
        return json.loads(answer) if answer else None
    except ValueError as error:
        raise AssertionError(f"an answer that is no JSON: {head!r} {answer[:200]!r}") from error


class SseStream:
    """The raw events of one connection: (id, type, data)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""
        self._events: list[tuple[str, str, bytes]] = []

    async def next(self) -> tuple[str, str, bytes] | None:
        """The next event; None at the end. Raises OSError where the connection broke."""
        while not self._events:
            try:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                data = await self._reader.readexactly(size + 2)
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError("the stream broke") from error
            if not size:
                return None
            pieces = (self._rest + data[:-2]).split(b"\n\n")
            self._rest = pieces.pop()
            self._events = [_parse(piece) for piece in pieces]
        return self._events.pop(0)

    async def close(self) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)


def _parse(event: bytes) -> tuple[str, str, bytes]:
    fields = dict(line.split(b": ", 1) for line in event.split(b"\n"))
    return fields.get(b"id", b"").decode(), fields[b"event"].decode(), fields[b"data"]
