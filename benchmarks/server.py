"""A real server in a process of its own, and a small client that costs next to nothing."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec

from antiphon.local.discovery import Announcement, announced
from antiphon.local.lock import InstanceFile, read_instance_file
from antiphon.server.announcement import read_token

TICKS = os.sysconf("SC_CLK_TCK")
SERVE = ("antiphon.cli", "serve")


class BenchServer:
    """`antiphon serve` on a data directory (default: one that is thrown away) and a free port."""

    def __init__(
        self,
        *,
        data: Path | None = None,
        options: tuple[str, ...] = (),
        stands_by: bool = False,
        program: tuple[str, ...] = SERVE,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._stands_by = stands_by
        self._folder = tempfile.TemporaryDirectory() if data is None else None
        self.data = data or Path(self._folder.name if self._folder else "") / "data"
        command = [sys.executable, "-m", *program, "--port", "0", "--data", str(self.data), *options]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        environment = {**os.environ, **(env or {})}
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
        self.host, self.port, self.token = "127.0.0.1", 0, ""

    def __enter__(self) -> BenchServer:
        deadline = time.monotonic() + 30
        while (found := self._found()) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise RuntimeError("the server did not start:\n" + self._log.read().decode("utf-8", "replace"))
            time.sleep(0.002)
        self.port = urlsplit(found.http_url).port or 0
        self.token = read_token(self.data)
        return self

    def _found(self) -> InstanceFile | Announcement | None:
        """What this process has said of itself, once it answers."""
        if self._stands_by:
            return next((one for one in announced() if one.pid == self._process.pid), None)
        found = read_instance_file(self.data)
        return found if found is not None and found.pid == self._process.pid else None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait(30)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        if self._folder is not None:
            self._folder.cleanup()

    def cpu_s(self) -> float:
        """CPU seconds the server has used, user and system."""
        return cpu_s_of(self._process.pid)

    def memory_bytes(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str) -> float:
        """What it counts under that name, by all its labels. Blocks meanwhile."""
        request = Request(
            f"http://{self.host}:{self.port}/metrics", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urlopen(request, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.split(r"[{ ]", line, maxsplit=1)[0] == name)

    # --- the client

    def head(self, method: str, path: str, length: int = 0) -> bytes:
        return (
            f"{method} /api/v1{path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    async def connect(self) -> Wire:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 22)
        return Wire(self, reader, writer)


def cpu_s_of(pid: int, *, with_children: bool = False) -> float:
    """CPU seconds of a process, user and system; `with_children`: and of those that it has seen end."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11 : 15 if with_children else 13]) / TICKS


class Wire:
    """One kept-alive connection."""

    def __init__(self, server: BenchServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self.reader = reader
        self.writer = writer

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = msgspec.json.encode(body) if body is not None else b""
        self.writer.write(self._server.head(method, path, len(data)) + data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        _, found, rest = head.lower().partition(b"content-length: ")
        length = int(rest.split(b"\r\n")[0]) if found else 0
        answer = await self.reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{method} {path}: {answer.decode()}")
        return msgspec.json.decode(answer) if answer else None

    def close(self) -> None:
        self.writer.close()


class Follower:
    """One stream: counts frames and text, and checks that nothing is missing."""

    def __init__(self, wire: Wire, server: BenchServer, chat_id: str, query: str) -> None:
        self._wire = wire
        self._rest = b""
        self.frames = 0
        self.deltas = 0
        self.characters = 0
        self.bytes = 0
        self.is_caught_up = asyncio.Event()
        self._place: dict[int, int] = {}
        wire.writer.write(server.head("GET", f"/chats/{chat_id}/stream?{query}"))

    async def run(self, *, until: bytes = b"bye") -> None:
        """Read until an event of that type."""
        await self._wire.reader.readuntil(b"\r\n\r\n")
        while True:
            size = int(await self._wire.reader.readuntil(b"\r\n"), 16)
            data = await self._wire.reader.readexactly(size + 2)
            if not size:
                return
            self.bytes += size
            events = (self._rest + data[:-2]).split(b"\n\n")
            self._rest = events.pop()
            for event in events:
                if self._take(event) == until:
                    return

    def close(self) -> None:
        self._wire.close()

    def _take(self, event: bytes) -> bytes:
        self.frames += 1
        kind = event.split(b"event: ", 1)[1].split(b"\n", 1)[0]
        if kind == b"caught_up":
            self.is_caught_up.set()
        elif kind == b"delta":
            delta = msgspec.json.decode(event.split(b"data: ", 1)[1])
            held = self._place.get(delta["draft"], delta["from"])
            if delta["from"] != held:
                raise RuntimeError(f"a gap: {delta['from']} after {held}")
            self._place[delta["draft"]] = delta["to"]
            self.deltas += 1
            self.characters += len(delta["part"].get("text", ""))
        return kind
