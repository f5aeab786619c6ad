"""A Node process that runs a script of a test: it takes a command as a line of JSON and answers each with another."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, Self

from how_to.node import FOLDER, node
from support.waiting import DEADLINE_S

LINE_MAX = 1 << 24


class NodeProcess:
    """Several commands may run at a time; each answer has the `id` of its command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, script: Path) -> Self:
        pipe = asyncio.subprocess.PIPE
        command = [node(), "--input-type=module", "-e", script.read_text()]
        started = await asyncio.create_subprocess_exec(*command, cwd=FOLDER, stdin=pipe, stdout=pipe, limit=LINE_MAX)
        return cls(started)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            found = json.loads(line)
            waiting = self._waiting.pop(found["id"])
            if not waiting.done():  # not in time, or cancelled
                waiting.set_result(found)
        for waiting in self._waiting.values():
            if waiting.done():
                continue
            waiting.set_exception(RuntimeError("the Node process has ended"))

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, **command}).encode() + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            return await waiting

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
