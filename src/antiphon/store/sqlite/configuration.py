"""Configuration and settings in a SQLite store."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from antiphon.ports import ConfigRow
from antiphon.store.sqlite.database import SQL, SqliteDatabase


class SqliteConfiguration(SqliteDatabase):
    """Keeps the promises of `ports.ConfigurationStore`."""

    async def config_version(self) -> int:
        return int((await self._row("config_version"))[0])

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        found = await self._rows("read_config", kind, config_id)
        rows = [ConfigRow(kind=kind, config_id=row[1], body=row[2]) for row in found if row[1] is not None]
        rows.sort(key=lambda row: row.config_id)
        return tuple(rows), int(found[0][0])

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        def job(connection: apsw.Connection) -> int | None:
            found = list(connection.execute(SQL["next_config_version"], (after_version,)))
            for row in rows if found else ():
                name = "delete_config" if row.body is None else "write_config"
                key = (row.kind, row.config_id)
                connection.execute(SQL[name], key if row.body is None else (*key, row.body))
            return int(found[0][0]) if found else None

        result: int | None = await self._writer.run(job)
        return result

    async def read_setting(self, name: str) -> str:
        row = await self._row("read_setting", name)
        return row[0] if row else ""

    async def write_setting(self, name: str, value: str) -> None:
        await self._writer.run(lambda connection: connection.execute(SQL["write_setting"], (name, value)))
