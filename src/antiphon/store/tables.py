"""The tables that every SQL store has, and the columns of them that are copied to another store."""

from __future__ import annotations

from antiphon.core.values import Value

BATCH_ROWS = 500
"""Maximum number of rows in one batch of a copy."""


class Table(Value):
    """A table. `flags` are the columns that are numbers in SQLite and booleans in PostgreSQL. With `order` every copy
    has the same order of rows."""

    name: str
    columns: tuple[str, ...]
    order: str
    flags: tuple[str, ...] = ()


CHATS = Table(
    name="chats",
    columns=(
        *("chat_id", "owner_id", "seq", "fold_version", "state", "title", "labels", "is_archived", "is_deleted"),
        *("updated_at", "draft", "claim_at", "due_at", "parent_chat_id"),
    ),
    order="chat_id",
    flags=("is_archived", "is_deleted"),
)
FACTS = Table(
    name="facts",
    columns=("chat_id", "seq", "at", "body", "status", "draft", "more", "content_seq", "append_id"),
    order="chat_id, seq",
    flags=("more",),
)
FILES = Table(
    name="files",
    columns=("file_id", "owner_id", "sha256", "media_type", "size", "name", "created_at", "expires_at"),
    order="file_id",
)
SETTINGS = Table(name="settings", columns=("name", "value"), order="name")
LEASES = Table(name="leases", columns=("chat_id", "attempt", "instance_id"), order="chat_id")

TABLES = (
    Table(
        name="owners", columns=("owner_id", "name", "is_admin", "created_at"), order="owner_id", flags=("is_admin",)
    ),
    Table(
        name="tokens",
        columns=("token_id", "owner_id", "secret_hash", "created_at", "revoked_at"),
        order="token_id",
    ),
    Table(
        name="sessions",
        columns=("session_id", "token_id", "secret_hash", "created_at", "used_at", "revoked_at"),
        order="session_id",
    ),
    SETTINGS,
    Table(name="config", columns=("kind", "config_id", "body"), order="kind, config_id"),
    CHATS,
    FACTS,
    Table(name="contents", columns=("chat_id", "seq", "body", "checksum"), order="chat_id, seq"),
    Table(name="messages", columns=("chat_id", "seq", "role", "queued_id", "hidden_by"), order="chat_id, seq"),
    Table(
        name="receipts",
        columns=("chat_id", "client_id", "body_hash", "answer", "checksum"),
        order="chat_id, client_id",
    ),
    Table(
        name="flushed",
        columns=("chat_id", "draft", "from_position", "to_position", "body"),
        order="chat_id, draft, from_position",
    ),
    Table(
        name="notifications",
        columns=("notification_id", "owner_id", "chat_id", "body", "created_at", "read_at"),
        order="notification_id",
    ),
    Table(name="read_cursors", columns=("chat_id", "seq"), order="chat_id"),
    FILES,
    Table(name="file_uses", columns=("chat_id", "file_id", "used_at"), order="chat_id, file_id"),
    Table(
        name="usage_days",
        columns=(
            *("owner_id", "day", "model", "calls", "turns", "input_tokens", "output_tokens", "reasoning_tokens"),
            *("cache_creation_tokens", "cache_read_tokens", "priced_tokens", "cost_micros"),
        ),
        order="owner_id, day, model",
    ),
    Table(name="shares", columns=("share_id", "chat_id", "owner_id", "secret_hash", "created_at"), order="share_id"),
    LEASES,
)
"""In the order in which they can be filled: a row refers to earlier tables only."""

EXPIRED_AT = 1
"""The end of a copied lease, in microseconds since the epoch: long ago."""


def select(table: Table, cast: dict[str, str]) -> str:
    """The query of all rows of a table; `cast` has the expressions of some columns."""
    columns = ", ".join(cast.get(column, column) for column in table.columns)
    return f"SELECT {columns} FROM {table.name} ORDER BY {table.order}"
