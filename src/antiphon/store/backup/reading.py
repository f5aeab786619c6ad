"""Reads an archive to its end, and compares every member with the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from antiphon.errors import Invalid
from antiphon.store.backup.archive import MemberReader, iter_members, open_archive
from antiphon.store.backup.manifest import (
    DATABASE,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    MANIFEST_SUM,
    MEMBERS_MAX,
    Manifest,
    Member,
    decode_manifest,
    is_member_name,
    sum_of_manifest,
)

Consume = Callable[[str, Iterator[bytes]], None]
"""Called with the name of a member and its bytes, before they are known to be right."""


def read_archive(path: Path, consume: Consume, on_progress: Callable[[str, int, int], None]) -> Manifest:
    """Read all members of a backup.

    Args:
        path: The archive.
        consume: Called for each member but the manifest; it reads all of the bytes.
        on_progress: Called with what is done, the number of read bytes, and the size of the archive.

    Raises:
        Invalid: It is not a backup, is incomplete, or a member is not what was backed up. What `consume` has written
            must be removed.
    """
    total, found, last = path.stat().st_size, dict[str, Member](), dict[str, bytes]()
    with open_archive(path) as (stream, position):
        for member in iter_members(stream):
            if member.name == _LAST[len(last)]:
                last[member.name] = _read_whole(member)
                continue
            if last:
                raise Invalid("FILE", f"{member.name!r} follows the manifest: the backup is damaged")
            if not is_member_name(member.name) or member.name in found:
                raise Invalid("FILE", f"it is not a backup of Antiphon: it contains {member.name!r}")
            if len(found) >= MEMBERS_MAX:
                raise Invalid("FILE", f"it has more than {MEMBERS_MAX:,} files")
            digest = hashlib.sha256()
            consume(member.name, _digesting(member, digest, lambda: on_progress("reading", position(), total)))
            found[member.name] = Member(size=member.size, sha256=digest.hexdigest())
    if len(last) < 2:
        raise Invalid("FILE", "it has no manifest: it is not a backup, or it is incomplete")
    manifest = _checked_manifest(last[MANIFEST], last[MANIFEST_SUM])
    _compare(manifest, found)
    return manifest


def _digesting(member: MemberReader, digest: hashlib._Hash, report: Callable[[], None]) -> Iterator[bytes]:
    for piece in member.pieces():
        digest.update(piece)
        yield piece
        report()


_LAST = (MANIFEST, MANIFEST_SUM, None)
"""The members after the others, in this order."""


def _read_whole(member: MemberReader) -> bytes:
    if member.size > MANIFEST_BYTES_MAX:
        raise Invalid("FILE", "its manifest is too large: the backup is damaged")
    return b"".join(member.pieces())


def _checked_manifest(content: bytes, checksum: bytes) -> Manifest:
    if sum_of_manifest(content) != checksum:
        raise Invalid("FILE", "its manifest is not what was backed up: the backup is damaged")
    return decode_manifest(content)


def _compare(manifest: Manifest, found: dict[str, Member]) -> None:
    for name in manifest.members.keys() | found.keys():
        if manifest.members.get(name) != found.get(name):
            raise Invalid("FILE", f"{name} is missing, or is not what was backed up: the backup is damaged")
    if DATABASE not in found or DATABASE in manifest.removed or not found.keys() >= set(manifest.removed):
        raise Invalid("FILE", "its manifest and its members disagree: the backup is damaged")
