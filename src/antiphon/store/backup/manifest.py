"""The manifest of a backup: what is in the archive, with the size and the SHA-256 of each member.

It follows the other members, because only the last snapshot of the database decides which files belong to the backup.
After it comes its own checksum. An archive that was cut short therefore lacks it, and is refused.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.store.sqlite.file_bytes import FOLDER

FORMAT = 1
"""The version of the archive's format. Readers refuse a newer one."""
DATABASE = "antiphon.db"
MANIFEST = "manifest.json"
MANIFEST_SUM = "manifest.json.sha256"
"""The member after the manifest: its checksum, as `sha256sum` writes it. It ends a complete archive."""
MEMBERS_MAX = 1_000_000
"""Maximum number of members of an archive."""
MANIFEST_BYTES_MAX = 256 * 1024 * 1024
"""Maximum size of a manifest, in bytes: that of one with MEMBERS_MAX members."""

_FILE = re.compile(rf"{FOLDER}/[0-9a-f-]{{36}}")


class Member(Value):
    """A member of the archive: its size in bytes, and the hexadecimal SHA-256 of its content."""

    size: int
    sha256: str


class Manifest(Value):
    """What a backup contains. `removed` are the members that the database does not name, because their files were
    removed while the backup was written; they are not restored."""

    format: int
    antiphon: str
    schema_version: int
    created_at: str
    chats: int
    files: int
    members: dict[str, Member]
    removed: tuple[str, ...] = ()


def file_name(file_id: str) -> str:
    """The name of the member that has the bytes of a file."""
    return f"{FOLDER}/{file_id}"


def is_member_name(name: str) -> bool:
    """Whether an archive may have a member of this name, apart from the manifest."""
    return name == DATABASE or _FILE.fullmatch(name) is not None


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest)


def sum_of_manifest(content: bytes) -> bytes:
    """The content of the member MANIFEST_SUM."""
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()


def decode_manifest(content: bytes) -> Manifest:
    """Raises `Invalid`."""
    try:
        found = msgspec.json.decode(content, type=_Version).format
        if found > FORMAT:
            raise Invalid("FILE", f"it has format {found}, this Antiphon reads up to {FORMAT}: use a newer Antiphon")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("FILE", "its manifest cannot be read: the backup is damaged") from error


class _Version(Value):
    format: int
