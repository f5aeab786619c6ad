"""Files that owners upload: what is recorded of each, its bytes, and which chats name it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from antiphon.core.values import Value

FILE_PIECE_BYTES = 256 * 1024
"""The size of a piece of a file, in bytes. The last piece may be smaller."""


class StoredFile(Value):
    """A file of an owner. `sha256` is the hash of its bytes, in lower-case hexadecimal digits; `size` is in bytes.
    `created_at` is in microseconds, store time."""

    file_id: str
    owner_id: str
    sha256: str
    media_type: str
    size: int
    name: str = ""
    created_at: int = 0


class FileQuota(Value):
    """How much one owner may store: a number of files, and the sum of their sizes in bytes."""

    files_max: int
    bytes_max: int


class FileBytes(Protocol):
    """The bytes of files in a place apart from the store, which has their rows. The methods raise `Unavailable` if
    the place cannot be read or written."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    @property
    def error(self) -> str | None:
        """Why the last request failed; None if it was served."""
        ...

    async def write_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        """See `FileStore.write_file_piece`."""
        ...

    async def complete(self, file_id: str, size: int) -> None:
        """Make all bytes of an upload durable. Raises `Unavailable` if they are not `size` bytes."""
        ...

    async def read_piece(self, file_id: str, offset: int, size: int) -> bytes:
        """See `FileStore.read_file_piece`."""
        ...

    async def size_of(self, file_id: str) -> int:
        """The number of bytes that are there without a gap. Raises `NotFound` if there are none."""
        ...

    async def remove(self, file_id: str) -> None:
        """Remove the bytes of a file or an upload, if there are any."""
        ...

    def old_ids(self) -> AsyncIterator[set[str]]:
        """The ids for which there are bytes that were not written within the last two hours, in groups. An id may be
        in several groups."""
        ...

    async def claim(self, store_id: str) -> None:
        """Mark the place as that of a store. Raises `Invalid` if it belongs to another one."""
        ...

    async def check(self) -> None:
        """Ask whether the place can be reached; `error` says it."""
        ...


class FileStore(Protocol):
    """Uploaded files. Every method raises `Unavailable` if the store cannot be read or written.

    The row of a file is what makes it exist. It is written after all bytes are durable and removed before the first
    byte is, so a crash at any instant leaves at most bytes without a row, which `remove_unfinished_files` removes. It
    never leaves a row without bytes.

    A file without a use has a time at which it expires. A use (a chat that names the file) ends that; the end of the
    last use, with the deletion of its chat, makes it expire at once. Uses end in the transaction that deletes the
    chat.
    """

    async def write_file_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        """Write a piece of an upload. Pieces are written in order, one at a time; the same one can be repeated.

        Args:
            file_id: A new random id.
            offset: The position of the piece, in bytes: a multiple of FILE_PIECE_BYTES.
            piece: FILE_PIECE_BYTES bytes; the last piece may be smaller.
        """
        ...

    async def complete_file(self, file: StoredFile, *, unused_s: float, quota: FileQuota) -> StoredFile:
        """Complete an upload. The file is durable when this returns.

        Args:
            file: The file; all of its pieces are written. The store sets `created_at`.
            unused_s: When it expires unless a chat names it, in seconds from now.
            quota: How much the owner may store, this file included.

        Returns:
            The file. If the owner has one with the same hash and media type, that one; it expires no earlier than
            `unused_s` from now, and the pieces of this upload are removed.

        Raises:
            TooMany: The owner would store more than the quota allows. The caller discards the upload.
        """
        ...

    async def discard_file(self, file_id: str) -> None:
        """Remove the pieces of an upload that is not completed. A second call does nothing."""
        ...

    async def find_file(self, file_id: str) -> StoredFile | None:
        """The file with this id, of any owner; None if there is none."""
        ...

    async def file_usage(self, owner_id: str) -> tuple[int, int]:
        """The number of an owner's files, and the sum of their sizes in bytes."""
        ...

    async def read_file_piece(self, file_id: str, offset: int, size: int) -> bytes:
        """A part of a file.

        Args:
            file_id: The file.
            offset: Where the part begins, in bytes.
            size: Maximum size in bytes, at most FILE_PIECE_BYTES.

        Returns:
            At least one byte, unless `offset` is at or beyond the end. A part may be shorter than `size`.

        Raises:
            NotFound: There are no bytes of such a file.
        """
        ...

    async def use_files(self, owner_id: str, chat_id: str, file_ids: Sequence[str]) -> tuple[str, ...]:
        """Record that a chat names files, all or none of them.

        Args:
            owner_id: The owner of the files.
            chat_id: The chat. It need not exist yet; a deleted chat uses no file.
            file_ids: The files.

        Returns:
            The ids that are not files of this owner. If there are any, no use is recorded.
        """
        ...

    async def files_of_chat(self, chat_id: str) -> frozenset[str]:
        """The ids of the files that a chat names."""
        ...

    async def remove_expired_files(self, *, limit: int) -> int:
        """Remove files that have expired and that no chat names: first the row, then the bytes.

        Args:
            limit: Maximum number of files.

        Returns:
            How many files were removed.
        """
        ...

    async def end_stale_file_uses(self) -> None:
        """End the uses whose chat was not created within a day. Uses that are older than a month are not checked."""
        ...

    async def remove_unfinished_files(self) -> int:
        """Remove the bytes that belong to no file: those of uploads and removals that a crash has ended. In a store
        that only this process writes, call it before the first upload; a shared store leaves bytes alone that were
        written within the last hour.

        Returns:
            How many uploads and removals were cleaned up.
        """
        ...

    async def remove_orphaned_bytes(self) -> int:
        """Remove bytes in `file_storage` that belong neither to a file nor to an upload, such as what a failed copy
        left. Returns of how many files."""
        ...

    async def size_of_file(self, file_id: str) -> int:
        """How many bytes of a file are stored, without reading them. Raises `NotFound` if there are none."""
        ...

    @property
    def file_storage(self) -> FileBytes | None:
        """Where the bytes are, if it is a place apart from the store."""
        ...

    async def list_files(self, *, after: str, limit: int) -> tuple[StoredFile, ...]:
        """The files of all owners in the order of their ids, after an id (for the doctor)."""
        ...
