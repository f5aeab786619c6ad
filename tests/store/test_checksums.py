"""Contents and receipts have a checksum: one changed bit is found in every store."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from antiphon.chats.doctor import examine
from antiphon.clock import SystemClock
from antiphon.core import commands as c
from antiphon.core.parts import Role
from antiphon.ports import Store
from antiphon.postgres.connection import connect
from antiphon.store.memory.store import MemoryStore
from antiphon.store.postgres.store import PostgresStore
from antiphon.store.sqlite.store import SqliteStore, open_sqlite_store
from antiphon.testing.stored_chat import StoredChat, content, receipt

pytestmark = pytest.mark.anyio

TEXT = "Nothing of this may change without a finding. \N{GREEK SMALL LETTER ALPHA}"


async def fill(store: Store) -> StoredChat:
    """A visible message (4), one that is hidden (2) and a queued one (5), with receipts."""
    chat = await StoredChat(store, "c").create(said=TEXT)
    await chat.do(c.EditMessage(message_id=2, content=content(TEXT), target=Role.USER), receipts=(receipt("first"),))
    await chat.do(c.SendMessage(content=content(TEXT)), receipts=(receipt("second"),))
    return chat


async def read(store: Store, table: str, column: str) -> list[tuple[Any, bytes]]:
    """Every value of a column with the key of its row, without the store."""
    key = "client_id" if table == "receipts" else "seq"
    if isinstance(store, MemoryStore):
        return list(store._chats["c"].contents.items())
    sql = f"SELECT {key}, {column} FROM {table} ORDER BY {key}"
    if isinstance(store, SqliteStore):
        return [(row[0], row[1]) for row in apsw.Connection(str(store._path)).execute(sql)]
    assert isinstance(store, PostgresStore)
    connection = await connect(store._pool._address)
    rows = await connection.fetch(sql)
    await connection.close()
    return [(row[0], row[1]) for row in rows]


Change = Callable[[Any, bytes | None], Awaitable[None]]


@asynccontextmanager
async def changing(store: Store, table: str, column: str) -> AsyncIterator[Change]:
    """`change(key, value)` writes the column of one row without the store."""
    name = "client_id" if table == "receipts" else "seq"
    if isinstance(store, MemoryStore):
        contents = store._chats["c"].contents

        async def change(key: Any, value: bytes | None) -> None:
            assert value is not None
            contents[key] = value

        yield change
    elif isinstance(store, SqliteStore):
        path = str(store._path)

        async def change(key: Any, value: bytes | None) -> None:
            connection = apsw.Connection(path)
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (value, key))
            connection.close()

        yield change
    else:
        assert isinstance(store, PostgresStore)
        writer = await connect(store._pool._address)

        async def change(key: Any, value: bytes | None) -> None:
            await writer.execute(f"UPDATE {table} SET {column} = $1 WHERE {name} = $2", value, key)

        try:
            yield change
        finally:
            await writer.close()


def flip(body: bytes, bit: int) -> bytes:
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


DATABASES = ["sqlite", "postgres"]
on_databases = pytest.mark.parametrize("store", DATABASES, indirect=True)


@pytest.mark.parametrize(
    ("store", "column"),
    [
        ("memory", "contents.body"),  # a receipt in memory is an immutable value
        *(
            (store, column)
            for store in DATABASES
            for column in ("contents.body", "receipts.answer", "receipts.body_hash")
        ),
    ],
    indirect=["store"],
)
async def test_each_of_a_hundred_flipped_bits_is_found(store: Store, column: str) -> None:
    table, name = column.split(".")
    await fill(store)
    values = await read(store, table, name)
    assert len(values) >= 2
    assert (await examine(store)).is_sound
    chance = random.Random(column)
    found = 0
    async with changing(store, table, name) as change:
        for _ in range(100):
            key, body = chance.choice(values)
            await change(key, flip(body, chance.randrange(len(body) * 8)))
            report = await examine(store)
            found += any("checksum" in finding.what for finding in report.findings)
            await change(key, body)
    assert found == 100
    assert (await examine(store)).is_sound


@on_databases
async def test_a_finding_names_the_message_or_the_receipt(store: Store) -> None:
    chat = await fill(store)
    async with changing(store, "contents", "body") as change:
        await change(2, b"[]")
    async with changing(store, "receipts", "answer") as change:
        await change("second", b'{"another": "answer"}')
    findings = [str(finding) for finding in (await examine(store)).findings]
    assert any(text.startswith(f"{chat.chat_id} at 2: its content is not what was written") for text in findings)
    assert any("the receipt of 'second' is not what was written" in text for text in findings)


@on_databases
async def test_rows_of_an_earlier_version_without_a_checksum_are_read_and_not_reported(store: Store) -> None:
    chat = await fill(store)
    before = await chat.entries()
    for table in ("contents", "receipts"):
        keys = [key for key, _ in await read(store, table, "checksum")]
        async with changing(store, table, "checksum") as change:
            for key in keys:
                await change(key, None)
    assert await chat.entries() == before
    assert (await examine(store)).is_sound


async def test_a_database_of_the_schema_without_checksums_is_migrated_with_its_chats(tmp_path: Path) -> None:
    path = tmp_path / "antiphon.db"
    store = await open_sqlite_store(path, clock=SystemClock())
    chat = await fill(store)
    before = await chat.entries()
    await store.aclose()
    connection = apsw.Connection(str(path))
    connection.execute("ALTER TABLE contents DROP COLUMN checksum; ALTER TABLE receipts DROP COLUMN checksum")
    for table in ("sessions", "file_uses", "files", "usage_days", "send_counts", "shares"):
        connection.execute(f"DROP TABLE {table}")
    for index in ("messages_hidden", "chats_pinned", "chats_by_parent", "chats_by_owner"):
        connection.execute(f"DROP INDEX {index}")
    connection.execute("ALTER TABLE chats DROP COLUMN parent_chat_id")
    connection.execute("CREATE INDEX chats_by_owner ON chats (owner_id)")
    connection.pragma("user_version", 4)
    connection.close()
    store = await open_sqlite_store(path, clock=SystemClock())
    try:
        chat.store = store
        assert await chat.entries() == before
        await chat.send("written by the newer version")
        assert (await examine(store)).is_sound
        sums = dict(await read(store, "contents", "checksum"))
        assert sums.pop(max(sums)) is not None
        assert set(sums.values()) == {None}
    finally:
        await store.aclose()
