"""The part that names a stored file in a message: with its type and size, and the size of an image in pixels."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from antiphon.core.parts import FileReference, Part
from antiphon.errors import NotFound, Unavailable
from antiphon.ports import FileStore, StoredFile
from antiphon.wire.image_size import HEAD_BYTES, image_size
from antiphon.wire.media_types import INLINE


async def reference_to(store: FileStore, file: StoredFile, name: str = "") -> FileReference:
    """The part for a file. `name` is what the message calls it; empty: the name with which it was stored.

    Raises:
        Unavailable: The store cannot be read.
    """
    width = height = 0
    if file.media_type in INLINE and file.media_type.startswith("image/"):
        try:
            head = await store.read_file_piece(file.file_id, 0, HEAD_BYTES)
        except (NotFound, Unavailable):  # it is being removed; or only the place of the bytes cannot be reached
            head = b""
        width, height = image_size(file.media_type, head)
    return FileReference(
        file_name=name or file.name,
        file_id=file.file_id,
        media_type=file.media_type,
        size=file.size,
        width=width,
        height=height,
    )


async def with_descriptions(store: FileStore, parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts, each reference to a stored file with what the store records of it."""
    described: list[Part] = []
    for part in parts:
        if isinstance(part, FileReference) and part.file_id:
            file = await store.find_file(part.file_id)
            if file is not None:
                found = await reference_to(store, file, part.file_name)
                part = replace(found, start_line=part.start_line, end_line=part.end_line, content=part.content)
        described.append(part)
    return tuple(described)
