"""A missing requirement of the database is reported at the start, with the SQL that fixes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antiphon.bus.postgres import open_postgres_bus
from antiphon.errors import Unavailable
from antiphon.postgres.requirements import check_version
from antiphon.store.postgres.store import open_postgres_store
from support.postgres import PostgresServer

pytestmark = pytest.mark.anyio

ROLE = "guest"


@pytest.fixture
def guest(postgres_server: PostgresServer) -> str:
    """A role that owns nothing."""
    postgres_server.execute(f"DO $$ BEGIN CREATE ROLE {ROLE} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    return ROLE


@pytest.fixture
def bare_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database without tables, in which only its owner may create one."""
    url = postgres_server.create_database()
    postgres_server.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC", url)
    yield url
    postgres_server.drop_database(url)


def as_guest(url: str) -> str:
    return url.replace("antiphon@", f"{ROLE}@")


async def refusal(url: str) -> str:
    with pytest.raises(Unavailable) as raised:
        await open_postgres_store(url)
    return str(raised.value)


async def check_opens(url: str) -> None:
    store = await open_postgres_store(url)
    await store.check()
    await store.aclose()


def fix_in(message: str) -> str:
    """The SQL in the message."""
    return message[message.index("run: ") + 5 :].rstrip(".")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_of_another_encoding_is_refused(postgres_server: PostgresServer, encoding: str) -> None:
    name = f"coded_{encoding.lower()}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    message = await refusal(postgres_server.url_of(name))
    assert encoding in message
    assert "CREATE DATABASE chats TEMPLATE template0 ENCODING 'UTF8'" in message
    postgres_server.drop_database(postgres_server.url_of(name))


@pytest.mark.parametrize("major", [9, 12, 13])
def test_an_old_server_is_refused(major: int) -> None:
    with pytest.raises(Unavailable, match=f"PostgreSQL {major}, and Antiphon needs 14 or newer"):
        check_version(major)


def test_a_new_server_is_accepted() -> None:
    for major in (14, 18, 25):
        check_version(major)


async def test_the_suggested_grant_fixes_a_schema_without_the_right_to_use_it(
    postgres_server: PostgresServer, bare_url: str, guest: str
) -> None:
    message = await refusal(as_guest(bare_url))
    assert "search path" in message, "a schema that may not be used is not on the path"
    postgres_server.execute(f"GRANT USAGE ON SCHEMA public TO {guest}", bare_url)
    message = await refusal(as_guest(bare_url))
    assert "may not make tables in the schema public" in message
    postgres_server.execute(fix_in(message), bare_url)
    await check_opens(as_guest(bare_url))


async def test_the_suggested_grant_fixes_tables_of_another_role(
    postgres_server: PostgresServer, postgres_url: str, guest: str
) -> None:
    message = await refusal(as_guest(postgres_url))
    assert "lacks the right SELECT of the table schema_migrations" in message
    postgres_server.execute(fix_in(message), postgres_url)
    await check_opens(as_guest(postgres_url))


@pytest.mark.parametrize(
    ("revoked", "named"),
    [
        ("REVOKE DELETE ON flushed FROM {role}", "DELETE of the table flushed"),
        ("REVOKE INSERT, UPDATE ON facts FROM {role}", "INSERT, UPDATE of the table facts"),
        ("REVOKE USAGE ON SEQUENCE instance_lock_keys FROM {role}", "USAGE of the sequence instance_lock_keys"),
        ("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC", "may not call the function"),
    ],
)
async def test_each_missing_right_is_named_and_fixed_by_the_suggested_grant(
    postgres_server: PostgresServer, postgres_url: str, guest: str, revoked: str, named: str
) -> None:
    for kind in ("TABLES", "SEQUENCES"):
        postgres_server.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {guest}", postgres_url)
    postgres_server.execute(revoked.format(role=guest), postgres_url)
    message = await refusal(as_guest(postgres_url))
    assert named in message
    postgres_server.execute(fix_in(message), postgres_url)
    await check_opens(as_guest(postgres_url))


async def test_an_old_schema_of_another_role_asks_for_its_owner(
    postgres_server: PostgresServer, postgres_url: str, guest: str
) -> None:
    postgres_server.execute(
        f"DELETE FROM schema_migrations WHERE number = (SELECT max(number) FROM schema_migrations); "
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {guest}; GRANT CREATE ON SCHEMA public TO {guest}",
        postgres_url,
    )
    message = await refusal(as_guest(postgres_url))
    assert "run `antiphon migrate` as antiphon" in message


async def test_a_bus_without_rights_reports_the_sql_to_run(
    postgres_server: PostgresServer, bare_url: str, guest: str
) -> None:
    postgres_server.execute(f"GRANT USAGE ON SCHEMA public TO {guest}", bare_url)
    async with open_postgres_bus(as_guest(bare_url)) as bus:
        assert bus.error is not None
        assert "may not make tables in the schema public" in bus.error
        postgres_server.execute(fix_in(bus.error), bare_url)
    async with open_postgres_bus(bare_url) as bus:  # its owner makes the table
        assert bus.error is None
    async with open_postgres_bus(as_guest(bare_url)) as bus:
        assert bus.error is not None
        assert "of the table bus_messages" in bus.error
        postgres_server.execute(fix_in(bus.error), bare_url)
    async with open_postgres_bus(as_guest(bare_url)) as bus:
        assert bus.error is None


async def test_a_missing_database_and_role_are_reported_with_the_servers_message(
    postgres_server: PostgresServer,
) -> None:
    message = await refusal(postgres_server.url_of("nothing"))
    assert 'database "nothing" does not exist (3D000)' in message
    message = await refusal(postgres_server.url.replace("antiphon@", "stranger:sesame@"))
    assert 'role "stranger" does not exist (28000)' in message
    assert "sesame" not in message
