"""The rows of files in a SQLite store. The functions are jobs of the writing thread."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from antiphon.ports import FileQuota, StoredFile
from antiphon.store.rows import check_quota, file_of
from antiphon.store.sqlite.database import SQL, first


def insert_file(
    connection: apsw.Connection, file: StoredFile, now: int, expires_at: int, quota: FileQuota
) -> StoredFile:
    """Insert the row of a complete file; or renew the owner's equal file, and return that one. Raises `TooMany`."""
    found = first(connection, "find_equal_file", file.owner_id, file.sha256, file.media_type)
    if found is not None:
        equal = file_of(found)
        connection.execute(SQL["renew_file"], (expires_at, equal.file_id))
        return equal
    count, size = first(connection, "file_usage", file.owner_id)
    check_quota(count, size, file, quota)
    row = (file.file_id, file.owner_id, file.sha256, file.media_type, file.size, file.name, now, expires_at)
    connection.execute(SQL["insert_file"], row)
    return file_of(row[:7])


def use_files(
    connection: apsw.Connection, owner_id: str, chat_id: str, file_ids: Sequence[str], now: int
) -> tuple[str, ...]:
    """Record the uses, unless some of the files are missing; returns the ids of those."""
    found = {file_id: first(connection, "find_file", file_id) for file_id in dict.fromkeys(file_ids)}
    missing = tuple(file_id for file_id, row in found.items() if row is None or file_of(row).owner_id != owner_id)
    if missing or first(connection, "chat_is_deleted", chat_id):
        return missing
    for file_id in found:
        connection.execute(SQL["use_file"], (chat_id, file_id, now))
        connection.execute(SQL["keep_file"], (file_id,))
    return ()


def release_files(connection: apsw.Connection, now: int, statement: str, *values: str | int) -> None:
    """Delete uses by the named statement. A file without any other use expires now."""
    for (file_id,) in list(connection.execute(SQL[statement], values)):
        connection.execute(SQL["release_file"], (now, file_id))


def delete_expired(connection: apsw.Connection, now: int, limit: int) -> list[str]:
    """Delete the rows of expired files; returns their ids."""
    deleted = []
    for file_id, is_used in list(connection.execute(SQL["expired_files"], (now, limit))):
        connection.execute(SQL["keep_file" if is_used else "delete_file"], (file_id,))
        if not is_used:
            deleted.append(file_id)
    return deleted
