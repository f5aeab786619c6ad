"""The bytes of files in an S3-compatible object storage.

How it works
------------
A file is a sequence of objects of PART_BYTES each, `PREFIX/<file_id>/<number>`; the last may be smaller. A part is
collected in memory and put when it is full, so an upload needs the memory of one part, whatever its size. Every byte
that a crash leaves is an object that a listing finds: there are no multipart uploads of the protocol, which a listing
does not show and only a rule of the bucket ends.

The size of a part is a constant of the format: a reader finds the part of an offset by it.

The object `PREFIX/antiphon-store` names the store that the prefix belongs to, because a store removes objects that it
does not know.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from antiphon.errors import Invalid, NotFound, Unavailable
from antiphon.store.objects.address import FIELD, ObjectsAddress

if TYPE_CHECKING:
    from obstore.store import S3Store

PART_BYTES = 4 * 1024 * 1024
"""Size of a part, in bytes."""
UPLOADS_MAX = 128
"""Maximum number of uploads at once, each with one part in memory. Beyond it an upload is refused for now."""
LISTED_MAX = 1_000
"""Maximum number of objects in one page of a listing."""
CONNECT_S = 5
"""How long a connection may take, in seconds."""
REQUEST_S = 30
"""How long a request may take, in seconds."""
TRIES_MAX = 3
"""How often a request is repeated."""
RETRY_MS = 2_000
"""When a client may repeat a request that the storage did not serve, in milliseconds."""
OWNER_OBJECT = "antiphon-store"
ORPHAN_AGE = timedelta(hours=2)
"""How old an object without a file must be before it is removed: longer than an upload may last."""

log = structlog.get_logger(__name__)


class _BehindEnd(Exception):
    """A read begins at or behind the end of an object."""


class _Upload:
    """The part of an upload that is collected: it begins at `start`."""

    __slots__ = ("part", "start")

    def __init__(self) -> None:
        self.start = 0
        self.part = bytearray()


class S3Objects:
    """Keeps the promises of `ports.FileBytes`. `open_s3` makes it."""

    def __init__(self, address: ObjectsAddress, store: S3Store, *, orphan_age: timedelta = ORPHAN_AGE) -> None:
        self._orphan_age = orphan_age
        self.place = address.place
        self.error: str | None = None
        """Why the last request failed; None if it was served."""
        self._store = store
        self._uploads: dict[str, _Upload] = {}

    # --- writing

    async def write_piece(self, file_id: str, offset: int, piece: bytes) -> None:
        upload = self._uploads.get(file_id)
        if upload is None:
            if offset or len(self._uploads) >= UPLOADS_MAX:
                reason = "the upload was interrupted" if offset else "all places for uploads are in use"
                raise Unavailable(reason, retry_after_ms=RETRY_MS)
            upload = self._uploads[file_id] = _Upload()
        at = offset - upload.start
        if at < 0:  # the same piece once more: it is in a part that is put already
            return
        upload.part[at : at + len(piece)] = piece
        if len(upload.part) >= PART_BYTES:
            await self._put(_key(file_id, upload.start), bytes(upload.part))
            upload.start += len(upload.part)
            upload.part = bytearray()

    async def complete(self, file_id: str, size: int) -> None:
        upload = self._uploads.get(file_id)
        if upload is None or upload.start + len(upload.part) != size:
            raise Unavailable("the uploaded bytes are not complete")
        if upload.part:
            await self._put(_key(file_id, upload.start), bytes(upload.part))
        del self._uploads[file_id]

    async def remove(self, file_id: str) -> None:
        self._uploads.pop(file_id, None)
        import obstore

        async for page in self._list(f"{file_id}/"):
            with self._translated():
                await obstore.delete_async(self._store, [entry["path"] for entry in page])

    # --- reading

    async def read_piece(self, file_id: str, offset: int, size: int) -> bytes:
        import obstore

        start = offset % PART_BYTES
        length = min(size, PART_BYTES - start)
        try:
            with self._translated():
                key = _key(file_id, offset - start)
                return bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
        except NotFound:
            if offset < PART_BYTES:
                raise
        except _BehindEnd:
            pass
        # Behind the end of the file, or of its last part: or there is no such file, or it is not readable.
        stored = await self.size_of(file_id)
        if offset < stored:
            raise Unavailable("a part of the file is missing or cannot be read", retry_after_ms=RETRY_MS)
        return b""

    async def size_of(self, file_id: str) -> int:
        parts = [(entry["path"], int(entry["size"])) async for page in self._list(f"{file_id}/") for entry in page]
        if not parts:
            raise NotFound("file")
        offset = 0
        for path, size in sorted(parts):
            if path != _key(file_id, offset):
                break  # a part before this one is missing
            offset += size
        return offset

    async def old_ids(self) -> AsyncIterator[set[str]]:
        newest = datetime.now(UTC) - self._orphan_age
        async for page in self._list(""):
            found = {entry["path"].partition("/")[0] for entry in page if entry["last_modified"] < newest}
            if found := {file_id for file_id in found if file_id not in self._uploads and file_id != OWNER_OBJECT}:
                yield found

    # --- the storage

    async def check(self) -> None:
        import obstore

        with contextlib.suppress(NotFound, _BehindEnd), self._translated():
            await obstore.get_range_async(self._store, OWNER_OBJECT, start=0, length=1)  # HEAD has no error text

    async def claim(self, store_id: str) -> None:
        """Mark the prefix as that of a store. Raises `Invalid` if it belongs to another one."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._translated():
            try:
                await obstore.put_async(self._store, OWNER_OBJECT, store_id.encode(), mode="create")
                return
            except AlreadyExistsError:
                found = await obstore.get_range_async(self._store, OWNER_OBJECT, start=0, length=128)
        if bytes(found).decode("utf-8", "replace") != store_id:
            raise Invalid(FIELD, f"{self.place} has the files of another store: choose another prefix")

    async def _put(self, key: str, data: bytes) -> None:
        import obstore

        try:
            with self._translated():
                await obstore.put_async(self._store, key, data, use_multipart=False)
        except NotFound as error:  # of a write: the bucket is gone
            raise self._unavailable("there is no such bucket") from error

    async def _list(self, prefix: str) -> AsyncIterator[list[Any]]:
        import obstore

        with self._translated():
            pages = obstore.list(self._store, prefix=prefix.rstrip("/") or None, chunk_size=LISTED_MAX)
        while True:
            with self._translated():
                try:
                    page = await pages.__anext__()
                except StopAsyncIteration:
                    return
            yield list(page)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """The errors of the storage as the store's own. Its texts go to the log only."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._unavailable("there is no such bucket", error) from error
            self.error = None
            raise NotFound("file") from None
        except AlreadyExistsError:
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise self._unavailable("its credentials are refused", error) from error
        except (BaseError, OSError, TimeoutError) as error:
            if "416 Range Not Satisfiable" in str(error):
                raise _BehindEnd from None
            raise self._unavailable("it does not answer", error) from error
        else:
            self.error = None

    def _unavailable(self, reason: str, error: BaseException | None = None) -> Unavailable:
        said = f"the file storage {self.place} cannot be used: {reason}"
        if self.error is None:
            log.warning("file_storage_failed", place=self.place, error=str(error or reason)[:400])
        self.error = said
        return Unavailable(said, retry_after_ms=RETRY_MS)


def _key(file_id: str, offset: int) -> str:
    return f"{file_id}/{offset // PART_BYTES:06d}"


async def open_s3(address: ObjectsAddress, *, orphan_age: timedelta = ORPHAN_AGE) -> S3Objects:
    """Open an object storage, with the credentials and settings of the usual environment variables (AWS_…), of a
    profile of the machine or of a role.

    Raises:
        Invalid: The extra `s3` is not installed, or the settings do not fit together.
        Unavailable: The bucket cannot be read.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ImportError as error:
        raise Invalid(FIELD, "files in S3 need the extra: pip install 'antiphon[s3]'") from error
    given: dict[str, Any] = {}
    if address.endpoint:
        given["endpoint"] = address.endpoint
    if address.region:
        given["region"] = address.region
    try:
        store = S3Store(
            address.bucket,
            prefix=address.prefix or None,
            client_options={
                "allow_http": address.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "timeout": timedelta(seconds=REQUEST_S),
            },
            retry_config={"max_retries": TRIES_MAX, "retry_timeout": timedelta(seconds=REQUEST_S)},
            **given,
        )
    except (BaseError, ValueError) as error:
        raise Invalid(FIELD, f"the settings of {address.place} do not fit together: {error}"[:400]) from error
    objects = S3Objects(address, store, orphan_age=orphan_age)
    await objects.check()
    if objects.error is not None:
        raise Unavailable(objects.error)
    return objects
