"""Configurations of replicas on one store, and stores that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from antiphon.bus.memory import MemoryBus
from antiphon.errors import Unavailable
from antiphon.models.configs import Configs
from antiphon.models.secret_box import SecretBox, make_key
from antiphon.ports import ConfigRow, OutcomeUnknown, Store
from antiphon.testing.ids import SeededIds
from antiphon.testing.store import WrappedStore

CANARY = "sk-canary-0123456789"
OWNER = "0badc0de-0000-4000-8000-000000000001"
URL = "https://models.example.com/v1"


def box(key: str = "", **env: str) -> SecretBox:
    return SecretBox.make("", {"ANTIPHON_SECRET_KEY": key or KEY, **env})


KEY = make_key()


def replica(store: Store, bus: MemoryBus | None = None, *, seed: int = 0, **options: Any) -> Configs:
    """A replica without events of the others, unless it is given their bus."""
    return Configs(store=store, bus=bus or MemoryBus(), ids=SeededIds(seed), secrets=box(), **options)


@asynccontextmanager
async def running(configs: Configs) -> AsyncIterator[Configs]:
    task = asyncio.create_task(configs.run())
    try:
        yield configs
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        configs.close()


class FailingStore(WrappedStore):
    """Its configuration version cannot be read while `is_failing`."""

    is_failing = False

    async def config_version(self) -> int:
        if self.is_failing:
            raise Unavailable("a test made it fail")
        return await super().config_version()


class LossyStore(WrappedStore):
    """Loses the answer to every other write of configuration; `commits`: after it was committed."""

    def __init__(self, inner: Store, *, commits: bool) -> None:
        super().__init__(inner)
        self._commits = commits
        self._writes = 0

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        self._writes += 1
        if self._writes % 2 == 0:
            return await super().write_config(rows, after_version=after_version)
        if self._commits:
            await super().write_config(rows, after_version=after_version)
        raise OutcomeUnknown
