"""Examines the uploaded files for the doctor: reads the bytes of each, and compares them with what was uploaded."""

from __future__ import annotations

import hashlib

from antiphon.chats.chat_check import Finding
from antiphon.errors import NotFound, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, Store, StoredFile

PAGE_MAX = 500
"""Maximum number of files in one read."""


async def examine_files(store: Store, *, checksums: bool = True) -> tuple[int, list[Finding]]:
    """Examine every file. The store may be in use: a file that is removed meanwhile is no finding.

    Args:
        store: The store.
        checksums: Whether to read every byte; False: only compare the sizes.

    Returns:
        The number of files, and the findings.
    """
    count, findings, after = 0, list[Finding](), ""
    while page := await store.list_files(after=after, limit=PAGE_MAX):
        for file in page:
            what = await (_fault(store, file) if checksums else _size_fault(store, file))
            if what and await store.find_file(file.file_id) is not None:
                findings.append(Finding(chat_id="*", what=f"the file {file.file_id} {what}"))
        count += len(page)
        after = page[-1].file_id
    return count, findings


async def _size_fault(store: Store, file: StoredFile) -> str:
    """What is wrong with the size of a file; empty: nothing."""
    try:
        size = await store.size_of_file(file.file_id)
    except NotFound:
        return "has no bytes: restore them from a backup"
    return "" if size == file.size else f"has {size} bytes instead of {file.size}: restore them from a backup"


async def _fault(store: Store, file: StoredFile) -> str:
    """What is wrong with the bytes of a file; empty: nothing."""
    digest, size = hashlib.sha256(), 0
    try:
        while piece := await store.read_file_piece(file.file_id, size, FILE_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    except NotFound:
        return "has no bytes: restore them from a backup"
    except Unavailable as error:
        return f"cannot be read: {error}"
    if size != file.size:
        return f"has {size} bytes instead of {file.size}: restore them from a backup"
    if digest.hexdigest() != file.sha256:
        return "is not what was uploaded, its SHA-256 differs: restore it from a backup"
    return ""
