"""An example as its first line says to run it: in a process of its own, on a free port."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from antiphon.client import AsyncClient
from antiphon.core.events import CaughtUp, FactEvent
from antiphon.core.parts import Part, text_of
from antiphon.core.view import View
from antiphon.local.lock import read_instance_file
from antiphon.wire.codec import convert
from support.waiting import DEADLINE_S

ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def process(
    *command: str, log: Path, ready: Callable[[int], Any], **env: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that becomes ready (`ready` gets its pid; it may be a coroutine function) and stops cleanly."""
    with log.open("wb") as file:
        started = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, env={**os.environ, **env}, stdout=file, stderr=file
        )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await ready(started.pid):
                assert started.returncode is None, log.read_text()
                await asyncio.sleep(0.01)
        yield started
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await started.wait() in (0, -signal.SIGTERM), log.read_text()
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


@asynccontextmanager
async def served(example: str, folder: Path, **env: str) -> AsyncIterator[AsyncClient]:
    """A client of `antiphon serve examples/…`."""
    data = folder / "data"

    async def is_ready(pid: int) -> bool:
        found = read_instance_file(data)
        return found is not None and found.pid == pid

    command = ("-m", "antiphon.cli", "serve", f"examples/{example}", "--data", str(data), "--port", "0")
    async with process(*command, log=folder / "log", ready=is_ready, **env):
        found = read_instance_file(data)
        assert found is not None
        async with AsyncClient(found.http_url, found.token) as client:
            yield client


async def answer(client: AsyncClient, question: str) -> tuple[View, list[Any]]:
    """What a viewer shows when the first turn of a new chat has ended, and the events that led there."""
    chat = await client.create_chat()
    view, events = View(), []
    async with asyncio.timeout(DEADLINE_S):
        async for event in client.watch(chat["id"], after="0"):
            view.apply(event)
            events.append(event)
            if isinstance(event, CaughtUp) and not view.messages:
                await client.send(chat["id"], question)  # a watcher that connects later misses progress
            elif isinstance(event, FactEvent) and event.type == "turn_ended":
                break
    return view, events


def last_text(view: View) -> str:
    return text_of(convert(view.messages[-1]["content"], tuple[Part, ...]))
