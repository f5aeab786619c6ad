"""Several servers on one data directory: one primary, the others standbys. Requests go to any of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

from antiphon.local.lock import read_holder, read_primary
from support.waiting import wait_until

from .server_process import READY_S, ServerProcess, SseStream


class Fleet:
    """As a `ServerProcess`, of `size` members. `kill` and `freeze` mean the primary unless a member is given."""

    def __init__(self, data: Path, *, size: int, **how: Any) -> None:
        self.data = data
        self.members = [Member(data, number, **how) for number in range(size)]
        self.kills = 0
        self._next = itertools.cycle(range(size))

    @property
    def token(self) -> str:
        return self.members[0].token

    @property
    def primary(self) -> Member:
        """The member that holds the lock, or held it last."""
        holder = read_holder(self.data)
        assert holder is not None
        return next(m for m in self.members if m.process is not None and m.process.pid == holder.pid)

    @property
    def standby(self) -> Member:
        return next(m for m in self.members if m.is_running and m is not self.primary)

    async def start(self) -> None:
        await asyncio.gather(*(member.start() for member in self.members))
        await wait_until(lambda: read_primary(self.data) is not None, deadline_s=READY_S)

    async def kill(self) -> None:
        for member in self.members:
            await member.kill()

    def log(self) -> str:
        return "\n".join(member.log()[-3000:] for member in self.members)

    async def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        return await self._any().ask(method, path, body, token=token)

    async def open_stream(self, path: str, *, cursor: str = "", token: str | None = None) -> SseStream:
        return await self._any().open_stream(path, cursor=cursor, token=token)

    def _any(self) -> Member:
        """The next one that runs."""
        for _ in self.members:
            member = self.members[next(self._next)]
            if member.is_running:
                return member
        raise ConnectionRefusedError("no member runs")


class Member(ServerProcess):
    """One of them; it is there when it answers, as a primary or not."""

    def __init__(self, data: Path, number: int, **how: Any) -> None:
        super().__init__(data, **how)
        self.log_path = data.parent / f"member{number}.log"

    async def start(self, **env: str) -> None:
        await self._spawn(**env)
        async with asyncio.timeout(READY_S):
            while self.is_running:
                try:
                    if (await self.healthz())["role"]:
                        return
                except OSError:
                    await asyncio.sleep(0.01)
        raise AssertionError(f"it ended instead of starting: {self.log()[-2000:]}")

    async def healthz(self) -> Any:
        return await self.get("/healthz")

    async def get(self, path: str) -> Any:
        """The JSON of a route outside the API."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            return json.loads(answer.partition(b"\r\n\r\n")[2])
        except ValueError as error:
            raise ConnectionResetError("no whole answer came") from error
        finally:
            writer.transport.abort()

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.signal(signal.SIGCONT)
