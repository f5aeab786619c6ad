"""Files of owners: uploads with their limits, reads, and the removal of those that no chat names any more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import structlog

from antiphon.errors import AntiphonError, Invalid, NotFound, TooLarge, TooMany, Unavailable
from antiphon.options import Limits
from antiphon.ports import FILE_PIECE_BYTES, Append, FileBytes, FileQuota, Ids, Store, StoredFile
from antiphon.wire.media_types import HEAD_BYTES, checked_media_type

FILE_ID_MAX = 128
"""Maximum length of a file's id in a path, in characters."""
UPLOADS_MAX = 32
"""Maximum number of uploads at once."""
OWNER_UPLOADS_MAX = 4
"""Maximum number of uploads of one owner at once."""
RETRY_MS = 1000
"""When a client may retry an upload that found no place, in milliseconds."""
REMOVE_POLL_S = 60.0
"""How often the store is polled for expired files, in seconds. The deletion of a chat does not wait for it."""
CHECK_S = 30.0
RECHECK_S = 2.0
"""Between two checks of a place apart from the store, in seconds: while it works, and while it fails."""
STALE_POLL_S = 3600.0
"""How often uses without a chat are searched for, in seconds."""
REMOVED_MAX = 100
"""Maximum number of files that one call removes."""
DISCARD_S = 10.0
"""How long the end of a failed upload may wait for the store, in seconds. What is left then is removed later."""

log = structlog.get_logger(__name__)


class Files:
    """The files of all owners. Call `start` before the first upload, and `run` as a task."""

    def __init__(self, *, store: Store, ids: Ids, limits: Limits) -> None:
        """
        Args:
            store: Where the files are.
            ids: Makes the ids of files.
            limits: How large a file may be, how much an owner may store, and how long an unused file is kept.
        """
        self._store = store
        self._ids = ids
        self._limits = limits
        self._uploads: Counter[str] = Counter()
        self._is_woken = asyncio.Event()
        self.error: str | None = None
        """Why expired files cannot be removed; None while all is well."""

    async def start(self) -> None:
        """Remove the bytes that uploads of an earlier process have left."""
        if self._store.file_storage is not None:
            return  # a listing of many objects; `run` does it
        removed = await self._store.remove_unfinished_files()
        if removed:
            log.info("unfinished_files_removed", files=removed)

    # --- uploads

    async def upload(
        self,
        owner_id: str,
        pieces: AsyncIterator[bytes],
        *,
        media_type: str = "",
        name: str = "",
        size: int | None = None,
    ) -> StoredFile:
        """Store a file. Equal bytes of the same owner with the same media type are stored once.

        Args:
            owner_id: The owner.
            pieces: The bytes, in pieces of any size. The next piece is asked for when the last one is written.
            media_type: The declared media type; empty: by the bytes.
            name: The file's name.
            size: Its size in bytes, if it is declared: a file that is too large is refused at once.

        Returns:
            The file, which is durable; or the owner's equal file.

        Raises:
            Invalid: The file is empty, or its bytes are not of the declared type.
            TooLarge: It is larger than `Limits.file_bytes`.
            TooMany: The owner stores too much, or uploads too many files at once.
            Unavailable: The store does not work, or all places for uploads are in use.
        """
        if size is not None and size > self._limits.file_bytes:
            raise TooLarge("file (in bytes)", self._limits.file_bytes)
        with self._counted(owner_id):
            return await self.store(owner_id, pieces, media_type=media_type, name=name)

    async def store(
        self, owner_id: str, pieces: AsyncIterator[bytes], *, media_type: str = "", name: str = ""
    ) -> StoredFile:
        """Store a file that this process makes: an `upload` that takes no place among those of clients. A worker
        stores one at a time for each turn."""
        limits = self._limits
        if (await self._store.file_usage(owner_id))[1] >= limits.files_bytes:
            raise TooMany("bytes in files of one owner", limits.files_bytes)
        return await self._store_pieces(owner_id, pieces, media_type, name)

    @contextlib.contextmanager
    def _counted(self, owner_id: str) -> Iterator[None]:
        """Count one upload. Raises `TooMany` or `Unavailable` while there are too many."""
        if self._uploads[owner_id] >= OWNER_UPLOADS_MAX:
            raise TooMany("uploads of one owner at once", OWNER_UPLOADS_MAX, retry_after_ms=RETRY_MS)
        if self._uploads.total() >= UPLOADS_MAX:
            raise Unavailable("all places for uploads are in use", retry_after_ms=RETRY_MS)
        self._uploads[owner_id] += 1
        try:
            yield
        finally:
            self._uploads[owner_id] -= 1
            self._uploads += Counter()  # drops owners without uploads

    async def _store_pieces(
        self, owner_id: str, pieces: AsyncIterator[bytes], media_type: str, name: str
    ) -> StoredFile:
        store, limits, file_id = self._store, self._limits, self._ids.uuid()
        digest, size = hashlib.sha256(), 0
        is_complete = False
        try:
            async for piece in _equal_pieces(pieces, limits.file_bytes):
                if size == 0:
                    media_type = checked_media_type(media_type, piece[:HEAD_BYTES])
                digest.update(piece)
                await store.write_file_piece(file_id, size, piece)
                size += len(piece)
            if size == 0:
                raise Invalid("body", "a file has at least one byte")
            file = StoredFile(
                file_id=file_id,
                owner_id=owner_id,
                sha256=digest.hexdigest(),
                media_type=media_type,
                size=size,
                name=name,
            )
            quota = FileQuota(files_max=limits.files, bytes_max=limits.files_bytes)
            stored = await store.complete_file(file, unused_s=limits.file_unused_s, quota=quota)
            is_complete = True
            return stored
        except Unavailable as error:
            log.warning("upload_failed", file_id=file_id, size=size, error=str(error))
            raise
        finally:
            if not is_complete:
                await self._discard(file_id)

    async def _discard(self, file_id: str) -> None:
        """Remove the pieces of an upload that failed. If that fails, too, they are removed later."""
        try:
            async with asyncio.timeout(DISCARD_S):
                await self._store.discard_file(file_id)
        except (AntiphonError, TimeoutError) as error:
            log.warning("discard_failed", file_id=file_id, error=str(error))

    # --- reads

    async def get(self, owner_id: str, file_id: str) -> StoredFile:
        """A file of the owner. Raises `NotFound`, also for a file of another owner."""
        file = await self._store.find_file(file_id) if len(file_id) <= FILE_ID_MAX else None
        if file is None or file.owner_id != owner_id:
            raise NotFound("file")
        return file

    async def open(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a file from `start` to before `stop`, in pieces of at most FILE_PIECE_BYTES. The first piece
        is read now, so that a file whose bytes are removed is `NotFound` at once. (Its row is removed before them: a
        caller that has found it may still read them for a moment.)

        Raises:
            NotFound: There is no such file any more; also while it is read.
            Unavailable: The store does not work; also while it is read.
        """
        return self._read(file, await self._read_piece(file, start, stop), start, stop)

    async def _read(self, file: StoredFile, piece: bytes, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        yield piece
        start += len(piece)
        while start < stop:
            piece = await self._read_piece(file, start, stop)
            start += len(piece)
            yield piece

    async def _read_piece(self, file: StoredFile, start: int, stop: int) -> bytes:
        piece = await self._store.read_file_piece(file.file_id, start, min(FILE_PIECE_BYTES, stop - start))
        if not piece:  # its bytes are being removed, or are damaged
            await self.get(file.owner_id, file.file_id)
            raise Unavailable("the file is shorter than it was")
        return piece

    # --- removal

    def on_append(self, append: Append) -> None:
        """A chat may have been deleted: its files are removed now, if no other chat names them."""
        if append.chat.is_deleted:
            self._is_woken.set()

    @property
    def storage_error(self) -> str | None:
        """Why the place of the files, if it is apart from the store, cannot be used; None while all is well."""
        storage = self._store.file_storage
        return storage.error if storage is not None else None

    async def run(self) -> None:
        """Remove expired files until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._remove_forever())
            if self._store.file_storage is not None:
                tasks.create_task(self._check_forever(self._store.file_storage))

    async def _check_forever(self, storage: FileBytes) -> None:
        """Notice that the place of the files fails or has recovered, also while no client uses it."""
        while True:
            await asyncio.sleep(RECHECK_S if storage.error is not None else CHECK_S)
            with contextlib.suppress(AntiphonError):
                await storage.check()

    async def _remove_forever(self) -> None:
        loop = asyncio.get_running_loop()
        stale_at = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REMOVE_POLL_S):
                    await self._is_woken.wait()
            self._is_woken.clear()
            try:
                if loop.time() >= stale_at:
                    await self._store.end_stale_file_uses()
                    await self._store.remove_orphaned_bytes()
                    stale_at = loop.time() + STALE_POLL_S
                await self._remove_expired()
                self.error = None
            except AntiphonError as error:
                self.error = None if self.storage_error else str(error)  # chats go on without the place of files
                log.warning("file_removal_failed", error=str(error))

    async def _remove_expired(self) -> None:
        while await self._store.remove_expired_files(limit=REMOVED_MAX) == REMOVED_MAX:
            continue
        if self._store.is_shared:
            await self._store.remove_unfinished_files()


async def _equal_pieces(pieces: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of FILE_PIECE_BYTES; the last one may be smaller. Raises `TooLarge`."""
    buffered = bytearray()
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > bytes_max:
            raise TooLarge("file (in bytes)", bytes_max)
        buffered += piece
        while len(buffered) >= FILE_PIECE_BYTES:
            yield bytes(buffered[:FILE_PIECE_BYTES])
            del buffered[:FILE_PIECE_BYTES]
    if buffered:
        yield bytes(buffered)
