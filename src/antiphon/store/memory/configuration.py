"""Configuration and settings in the store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from antiphon.ports import ConfigRow
from antiphon.store.memory.state import MemoryState


class MemoryConfiguration(MemoryState):
    """Keeps the promises of `ports.ConfigurationStore`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._settings: dict[str, str] = {}
        self._config: dict[tuple[str, str], bytes] = {}
        self._config_version = 0

    async def config_version(self) -> int:
        return self._config_version

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        rows = tuple(
            ConfigRow(kind=kind, config_id=stored_id, body=body)
            for (stored_kind, stored_id), body in sorted(self._config.items())
            if stored_kind == kind and config_id in ("", stored_id)
        )
        return rows, self._config_version

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        await asyncio.sleep(0)  # as with `append`
        await self.check()
        if after_version not in (None, self._config_version):
            return None
        for row in rows:
            if row.body is None:
                self._config.pop((row.kind, row.config_id), None)
            else:
                self._config[row.kind, row.config_id] = row.body
        self._config_version += 1
        return self._config_version

    async def read_setting(self, name: str) -> str:
        return self._settings.get(name, "")

    async def write_setting(self, name: str, value: str) -> None:
        await self.check()
        self._settings[name] = value
