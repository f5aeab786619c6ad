"""Checks of a store's files: stored once per owner, used by chats, and removed when no chat names them."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable

from antiphon.core import commands as c
from antiphon.errors import NotFound, TooMany, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, FileQuota, StoredFile
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import ALL

DAY_S = 24 * 3600.0
QUOTA = FileQuota(files_max=100, bytes_max=1 << 40)


def describe(data: bytes, *, owner: str = "o", media_type: str = "image/png", name: str = "a ü.png") -> StoredFile:
    """A file with a new id."""
    digest = hashlib.sha256(data).hexdigest()
    return StoredFile(
        file_id=str(uuid.uuid4()), owner_id=owner, sha256=digest, media_type=media_type, size=len(data), name=name
    )


async def write(case: Case, file: StoredFile, data: bytes) -> StoredFile:
    """Write all pieces of an upload, and leave it incomplete."""
    for offset in range(0, len(data), FILE_PIECE_BYTES):
        await case.store.write_file_piece(file.file_id, offset, data[offset : offset + FILE_PIECE_BYTES])
    return file


async def store(case: Case, data: bytes, *, quota: FileQuota = QUOTA, owner: str = "o", **fields: str) -> StoredFile:
    file = await write(case, describe(data, owner=owner, **fields), data)
    return await case.store.complete_file(file, unused_s=DAY_S, quota=quota)


async def read(case: Case, file_id: str, size: int = FILE_PIECE_BYTES) -> bytes:
    """All bytes of a file."""
    data = b""
    while piece := await case.store.read_file_piece(file_id, len(data), size):
        data += piece
    return data


async def is_stored(case: Case, file: StoredFile) -> bool:
    """Whether the file exists; its bytes exist exactly then."""
    found = await case.store.find_file(file.file_id)
    try:
        has_bytes = bool(await read(case, file.file_id))
    except NotFound:
        has_bytes = False
    assert has_bytes == (found is not None)
    return has_bytes


async def limit_of(storing: Awaitable[StoredFile]) -> int:
    """The limit that refuses a file; 0: it is stored."""
    try:
        await storing
    except TooMany as error:
        return error.limit
    return 0


async def check_a_file_is_returned_as_it_was_stored(case: Case) -> None:
    for data in (b"x", b"\x00\xff" * 10, bytes(range(256)) * (FILE_PIECE_BYTES // 100)):
        file = await store(case, data)
        assert file.created_at == case.clock.now_us()
        assert (file.owner_id, file.name, file.size) == ("o", "a ü.png", len(data))
        assert await case.store.find_file(file.file_id) == file
        assert await read(case, file.file_id) == data
        assert await read(case, file.file_id, 100_003) == data
        assert await case.store.read_file_piece(file.file_id, len(data) - 1, 9) == data[-1:]
        for offset in (len(data), len(data) + 10 * FILE_PIECE_BYTES):
            assert await case.store.read_file_piece(file.file_id, offset, 1) == b""
    assert await case.store.file_usage("o") == (3, 21 + 256 * (FILE_PIECE_BYTES // 100))
    assert await case.store.file_usage("p") == (0, 0)


async def check_there_is_no_file_before_it_is_complete(case: Case) -> None:
    file = await write(case, describe(b"x" * 300_000), b"x" * 300_000)
    assert not await is_stored(case, file)
    assert await case.store.use_files("o", "c", (file.file_id,)) == (file.file_id,)
    assert await case.store.file_usage("o") == (0, 0)
    assert await case.store.list_files(after="", limit=ALL) == ()
    await case.store.discard_file(file.file_id)
    await case.store.discard_file(file.file_id)
    try:
        await case.store.complete_file(file, unused_s=DAY_S, quota=QUOTA)
    except (Unavailable, NotFound):
        return
    raise AssertionError("the bytes of this file were removed")


async def check_an_incomplete_upload_is_not_completed(case: Case) -> None:
    file = await write(case, describe(b"x" * 300_000), b"x" * FILE_PIECE_BYTES)
    try:
        await case.store.complete_file(file, unused_s=DAY_S, quota=QUOTA)
    except Unavailable:
        assert not await is_stored(case, file)
        return
    raise AssertionError("a piece of this file is missing")


async def check_discarding_leaves_a_complete_file(case: Case) -> None:
    file = await store(case, b"x")
    await case.store.discard_file(file.file_id)
    assert await is_stored(case, file)


async def check_equal_files_of_an_owner_are_stored_once(case: Case) -> None:
    first = await store(case, b"x" * 300_000, name="first")
    again = await write(case, describe(b"x" * 300_000, name="again"), b"x" * 300_000)
    assert await case.store.complete_file(again, unused_s=DAY_S, quota=QUOTA) == first
    assert not await is_stored(case, again)
    of_another_owner = await store(case, b"x" * 300_000, owner="p")
    of_another_type = await store(case, b"x" * 300_000, media_type="text/plain")
    assert len({first.file_id, of_another_owner.file_id, of_another_type.file_id}) == 3
    assert await case.store.file_usage("o") == (2, 600_000)
    assert await case.store.file_usage("p") == (1, 300_000)


async def check_equal_files_that_are_uploaded_at_once_are_stored_once(case: Case) -> None:
    uploads = [await write(case, describe(b"same"), b"same") for _ in range(6)]
    stored = await asyncio.gather(*(case.store.complete_file(file, unused_s=DAY_S, quota=QUOTA) for file in uploads))
    assert len({file.file_id for file in stored}) == 1
    assert await case.store.file_usage("o") == (1, 4)
    assert [await is_stored(case, file) for file in uploads].count(True) == 1


async def check_an_owner_stores_no_more_than_the_quota(case: Case) -> None:
    await store(case, b"12345")
    for quota, limit in ((FileQuota(files_max=1, bytes_max=100), 1), (FileQuota(files_max=9, bytes_max=9), 9)):
        assert await limit_of(store(case, b"67890", quota=quota)) == limit
        assert (await store(case, b"12345", quota=quota)).size == 5, "an equal file needs no space"
    await store(case, b"67890", quota=FileQuota(files_max=2, bytes_max=10))
    await store(case, b"67890", owner="p", quota=FileQuota(files_max=1, bytes_max=5))


async def check_uploads_at_once_do_not_exceed_the_quota(case: Case) -> None:
    uploads = [await write(case, describe(data := b"%d" % n), data) for n in range(5)]
    quota = FileQuota(files_max=2, bytes_max=1 << 20)
    results = await asyncio.gather(
        *(case.store.complete_file(file, unused_s=DAY_S, quota=quota) for file in uploads), return_exceptions=True
    )
    assert sum(isinstance(result, TooMany) for result in results) == 3
    assert (await case.store.file_usage("o"))[0] == 2


async def check_a_file_that_no_chat_names_expires(case: Case) -> None:
    file = await store(case, b"x" * 300_000)
    case.clock.advance(DAY_S - 1)
    assert await case.store.remove_expired_files(limit=9) == 0
    assert await is_stored(case, file)
    case.clock.advance(2)
    assert await case.store.remove_expired_files(limit=9) == 1
    assert not await is_stored(case, file)
    assert await case.store.remove_expired_files(limit=9) == 0
    assert await is_stored(case, await store(case, b"x" * 300_000)), "the same bytes can be stored again"


async def check_expired_files_are_removed_up_to_a_limit(case: Case) -> None:
    files = [await store(case, b"%d" % n) for n in range(5)]
    case.clock.advance(DAY_S + 1)
    assert [await case.store.remove_expired_files(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert not any([await is_stored(case, file) for file in files])


async def check_an_upload_of_equal_bytes_delays_the_expiry(case: Case) -> None:
    file = await store(case, b"x")
    case.clock.advance(DAY_S - 1)
    assert await store(case, b"x") == file
    case.clock.advance(DAY_S - 1)
    assert await case.store.remove_expired_files(limit=9) == 0
    assert await is_stored(case, file)


async def check_a_file_that_a_chat_names_does_not_expire(case: Case) -> None:
    file = await store(case, b"x")
    await case.chat().create()
    assert await case.store.use_files("o", "c", (file.file_id, file.file_id)) == ()
    assert await case.store.use_files("o", "c", (file.file_id,)) == ()
    assert await case.store.files_of_chat("c") == {file.file_id}
    case.clock.advance(3 * DAY_S)
    assert await case.store.remove_expired_files(limit=9) == 0
    assert await is_stored(case, file)


async def check_uses_are_recorded_all_or_none(case: Case) -> None:
    own, foreign = await store(case, b"own"), await store(case, b"foreign", owner="p")
    unknown = str(uuid.uuid4())
    missing = await case.store.use_files("o", "c", (own.file_id, foreign.file_id, unknown))
    assert sorted(missing) == sorted((foreign.file_id, unknown))
    assert await case.store.files_of_chat("c") == frozenset()


async def check_a_file_is_removed_with_the_last_chat_that_names_it(case: Case) -> None:
    shared, single = await store(case, b"shared"), await store(case, b"single")
    first, second = await case.chat("c").create(), await case.chat("d").create()
    await case.store.use_files("o", "c", (shared.file_id, single.file_id))
    await case.store.use_files("o", "d", (shared.file_id,))
    await first.do(c.Delete())
    assert await case.store.files_of_chat("c") == frozenset()
    assert await case.store.remove_expired_files(limit=9) == 1
    assert (await is_stored(case, shared), await is_stored(case, single)) == (True, False)
    await second.do(c.Delete())
    assert await case.store.remove_expired_files(limit=9) == 1
    assert not await is_stored(case, shared)


async def check_a_file_is_removed_when_its_chats_are_deleted_at_once(case: Case) -> None:
    file = await store(case, b"x")
    chats = [await case.chat(f"c{n}").create() for n in range(5)]
    for chat in chats:
        await case.store.use_files("o", chat.chat_id, (file.file_id,))
    await asyncio.gather(*(chat.do(c.Delete()) for chat in chats))
    assert await case.store.remove_expired_files(limit=9) == 1
    assert not await is_stored(case, file)


async def check_a_file_that_was_uploaded_again_outlives_its_chat(case: Case) -> None:
    """A client that uploads equal bytes may name the file in another chat a moment later."""
    file = await store(case, b"x")
    chat = await case.chat().create()
    await case.store.use_files("o", "c", (file.file_id,))
    assert await store(case, b"x") == file
    await chat.do(c.Delete())
    assert await case.store.remove_expired_files(limit=9) == 0
    assert await is_stored(case, file)
    case.clock.advance(DAY_S + 1)
    assert await case.store.remove_expired_files(limit=9) == 1


async def check_a_used_file_that_was_uploaded_again_is_removed_with_its_chat(case: Case) -> None:
    file = await store(case, b"x")
    chat = await case.chat().create()
    await case.store.use_files("o", "c", (file.file_id,))
    await store(case, b"x")
    case.clock.advance(2 * DAY_S)
    assert await case.store.remove_expired_files(limit=9) == 0, "a chat names it"
    await chat.do(c.Delete())
    assert await case.store.remove_expired_files(limit=9) == 1


async def check_a_deleted_chat_uses_no_file(case: Case) -> None:
    file = await store(case, b"x")
    chat = await case.chat().create()
    await chat.do(c.Delete())
    assert await case.store.use_files("o", "c", (file.file_id,)) == ()
    assert await case.store.files_of_chat("c") == frozenset()


async def check_a_use_whose_chat_was_never_created_ends_after_a_day(case: Case) -> None:
    file = await store(case, b"x")
    await case.store.use_files("o", "never", (file.file_id,))
    used = await store(case, b"y")
    await case.chat().create()
    await case.store.use_files("o", "c", (used.file_id,))
    for advanced_s, removed in ((DAY_S - 1, 0), (2, 1)):
        case.clock.advance(advanced_s)
        await case.store.end_stale_file_uses()
        assert await case.store.remove_expired_files(limit=9) == removed
    assert not await is_stored(case, file)
    assert await is_stored(case, used), "its chat was created"


async def check_complete_files_are_left_by_the_removal_of_unfinished_ones(case: Case) -> None:
    file = await store(case, b"x" * 300_000)
    case.clock.advance(DAY_S / 2)
    await case.store.remove_unfinished_files()
    assert await is_stored(case, file)


async def check_files_are_listed_in_the_order_of_their_ids(case: Case) -> None:
    files = sorted([await store(case, b"%d" % n, owner="op"[n % 2]) for n in range(5)], key=lambda f: f.file_id)
    assert await case.store.list_files(after="", limit=3) == tuple(files[:3])
    assert await case.store.list_files(after=files[2].file_id, limit=9) == tuple(files[3:])


async def check_a_closed_store_stores_no_file(case: Case) -> None:
    await case.store.aclose()
    case.is_closed = True
    try:
        await case.store.write_file_piece(str(uuid.uuid4()), 0, b"x")
    except Unavailable:
        return
    raise AssertionError("a closed store stored a file")
