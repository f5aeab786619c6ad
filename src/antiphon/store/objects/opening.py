"""Opens the place of a store's files, and checks that it is the right one."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from antiphon.errors import Invalid
from antiphon.ports import FileBytes, Store
from antiphon.store.objects.address import FIELD, read_objects_address

S = TypeVar("S", bound=Store)

PLACE_SETTING = "files_at"
"""The setting with the address where the bytes of files are; empty: in the store."""
ID_SETTING = "files_id"
"""The setting with the id by which such a place belongs to this store."""


async def open_file_storage(url: str) -> FileBytes:
    """The place at an address `s3://BUCKET/PREFIX`.

    Raises:
        Invalid: The address is not valid, or the extra `s3` is not installed.
        Unavailable: It cannot be reached.
    """
    from antiphon.store.objects.s3 import open_s3

    return await open_s3(read_objects_address(url))


async def with_file_storage(open_store: Callable[[FileBytes | None], Awaitable[S]]) -> S:
    """A store, with the place of its files that an instance has recorded in it.

    Args:
        open_store: Opens the store with the place of its files; None: in the store itself.
    """
    store = await open_store(None)
    try:
        url = await store.read_setting(PLACE_SETTING)
        if not url:
            return store
        storage = await open_file_storage(url)
    except BaseException:
        await store.aclose()
        raise
    await store.aclose()
    return await open_store(storage)


async def claim_file_storage(store: Store, url: str) -> None:
    """Check that the files of `store` are at `url` (empty: in the store itself), and record it. A store without files
    may change the place.

    Raises:
        Invalid: The files are at another place, or the place has the files of another store.
    """
    recorded = await store.read_setting(PLACE_SETTING)
    if _place(recorded) != _place(url) and await store.list_files(after="", limit=1):
        found = f"at {_place(recorded)}" if recorded else "in the store itself"
        wanted = f"start with --files {recorded}" if recorded else "start without --files"
        raise Invalid(FIELD, f"the files of this store are {found}: {wanted}, or copy it with `antiphon migrate`")
    if store.file_storage is not None:
        if not (store_id := await store.read_setting(ID_SETTING)):
            await store.write_setting(ID_SETTING, str(uuid.uuid4()))
            store_id = await store.read_setting(ID_SETTING)
        await store.file_storage.claim(store_id)
    if recorded != url:
        await store.write_setting(PLACE_SETTING, url)


def _place(url: str) -> str:
    return read_objects_address(url).place if url else ""
