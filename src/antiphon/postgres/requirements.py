"""Requirements of the database, checked at the start. Each error contains the SQL to run."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.errors import Unavailable
from antiphon.postgres.connection import Connection

VERSION_MIN = 14
"""Oldest major version of PostgreSQL that is supported."""
ENCODING = "UTF8"

CURRENT_SCHEMA = """
SELECT current_user AS role, current_database() AS database, current_schema() AS schema,
       current_setting('server_encoding') AS encoding, current_setting('search_path') AS search_path
"""
SCHEMA_RIGHTS = """
SELECT has_schema_privilege(current_user, current_schema(), 'USAGE') AS may_use,
       has_schema_privilege(current_user, current_schema(), 'CREATE') AS may_create
"""
MISSING_RIGHTS = """
SELECT c.relname AS name, string_agg(p.privilege, ', ' ORDER BY p.place) AS missing, c.relkind = 'S' AS is_sequence
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT * FROM unnest(CASE
    WHEN c.relkind = 'S' THEN ARRAY['USAGE']
    WHEN c.relname = 'schema_migrations' THEN ARRAY['SELECT']
    ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END) WITH ORDINALITY AS u(privilege, place)
) p
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'S') AND c.relname = ANY ($1)
  AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(current_user, c.oid, p.privilege)
               ELSE has_table_privilege(current_user, c.oid, p.privilege) END
GROUP BY c.relname, c.relkind ORDER BY c.relname
"""
FOREIGN_OWNER = """
SELECT c.relname AS name, pg_get_userbyid(c.relowner) AS owner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = ANY ($1) AND NOT pg_has_role(current_user, c.relowner, 'MEMBER')
ORDER BY c.relname LIMIT 1
"""
MISSING_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND p.proname = ANY ($1)
  AND NOT has_function_privilege(current_user, p.oid, 'EXECUTE') ORDER BY 1 LIMIT 1
"""


async def check_server(connection: Connection) -> None:
    """Check the version, the encoding and the schema. Raises `Unavailable` with the SQL to run."""
    check_version(connection.get_server_version()[0])
    found = await connection.fetchrow(CURRENT_SCHEMA)
    database, role = _name(found["database"]), _name(found["role"])
    if found["encoding"] != ENCODING:
        raise Unavailable(
            f"the database {database} has the encoding {found['encoding']}, and Antiphon needs {ENCODING}; make "
            f"another one and use it: CREATE DATABASE chats TEMPLATE template0 ENCODING '{ENCODING}' OWNER {role};"
        )
    if found["schema"] is None:
        raise Unavailable(
            f"the database has no schema of the name that its search path says ({found['search_path']}), or {role} "
            f"may not use it; as its owner run: CREATE SCHEMA chats AUTHORIZATION {role}; "
            f"ALTER ROLE {role} SET search_path = chats;"
        )
    rights = await connection.fetchrow(SCHEMA_RIGHTS)
    if not rights["may_use"]:
        raise Unavailable(_grant_schema("use", "USAGE", found["schema"], role))


def check_version(major: int) -> None:
    """Raises `Unavailable` if the server is too old."""
    if major < VERSION_MIN:
        raise Unavailable(f"the server is PostgreSQL {major}, and Antiphon needs {VERSION_MIN} or newer: upgrade it")


async def check_may_create(connection: Connection, tables: Sequence[str]) -> None:
    """Check before a migration: the role must have the right to create tables in the schema, and must own the
    existing ones. Raises `Unavailable` with the SQL to run."""
    found = await connection.fetchrow(CURRENT_SCHEMA)
    role = _name(found["role"])
    rights = await connection.fetchrow(SCHEMA_RIGHTS)
    if not rights["may_create"]:
        raise Unavailable(_grant_schema("make tables in", "USAGE, CREATE", found["schema"], role))
    foreign = await connection.fetchrow(FOREIGN_OWNER, list(tables))
    if foreign is not None:
        owner = _name(foreign["owner"])
        raise Unavailable(
            f"the table {foreign['name']} belongs to {owner}, and {role} may not bring it to this version: run "
            f"`antiphon migrate` as {owner}, or as its owner: GRANT {owner} TO {role};"
        )


async def check_rights(connection: Connection, tables: Sequence[str], functions: Sequence[str]) -> None:
    """Check the rights on existing tables and functions. Raises `Unavailable` with the first missing right and the
    SQL to run."""
    found = await connection.fetchrow(CURRENT_SCHEMA)
    role, schema = _name(found["role"]), _name(found["schema"])
    missing = await connection.fetch(MISSING_RIGHTS, list(tables))
    if missing:
        first = missing[0]
        kind = "sequence" if first["is_sequence"] else "table"
        others = f" (and of {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise Unavailable(
            f"{role} lacks the right {first['missing']} of the {kind} {first['name']}{others}; as the owner of the "
            f"tables run: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; "
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
        )
    function = await connection.fetchval(MISSING_FUNCTIONS, list(functions))
    if function is not None:
        raise Unavailable(
            f"{role} may not call the function {function}; as its owner run: "
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};"
        )


def _grant_schema(what: str, rights: str, schema: str, role: str) -> str:
    grant = f"GRANT {rights} ON SCHEMA {_name(schema)} TO {role};"
    return f"{role} may not {what} the schema {schema}; as its owner run: {grant}"


def _name(text: str) -> str:
    """The name as an SQL identifier, quoted if necessary."""
    return text if text.isidentifier() and text.islower() and text.isascii() else '"' + text.replace('"', '""') + '"'
