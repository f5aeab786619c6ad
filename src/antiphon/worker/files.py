"""Uploaded files in the messages that a model gets: references are replaced by the bytes, up to a limit."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.core.parts import File, FileReference, Part, Text
from antiphon.errors import AttemptFailed, NotFound, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, Message, StoredFile, Work


class FileLoader:
    """Loads the uploaded files of one owner. They may be large, so they are read at each call and not cached."""

    def __init__(self, work: Work, owner_id: str, *, file_bytes_max: int, files_bytes_max: int) -> None:
        """
        Args:
            work: Where the files are read.
            owner_id: The owner. The files of others count as missing.
            file_bytes_max: Maximum size of one file, in bytes.
            files_bytes_max: Maximum size of all files of one call of `load`, in bytes.
        """
        self._work = work
        self._owner_id = owner_id
        self._file_bytes_max = file_bytes_max
        self._files_bytes_max = files_bytes_max

    async def load(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages with a `File` part for each uploaded file. A file that is missing or too large, or beyond the
        maximum for all files (the newest come first), is a text that says so.

        Raises:
            AttemptFailed: The store cannot be read now.
        """
        loaded = list(messages)
        left = self._files_bytes_max
        for index in range(len(loaded) - 1, -1, -1):
            if any(_is_uploaded(part) for part in loaded[index].content):
                parts: list[Part] = []
                for part in loaded[index].content:
                    if isinstance(part, FileReference) and part.file_id:
                        file, size = await self._load(part, left)
                        left -= size
                        parts += [file, replace(part, file_id="")] if part.content else [file]
                    else:
                        parts.append(part)
                loaded[index] = replace(loaded[index], content=tuple(parts))
        return tuple(loaded)

    async def _load(self, reference: FileReference, left: int) -> tuple[File | Text, int]:
        """The part for a reference, and how many bytes it has."""
        try:
            file = await self._work.find_file(reference.file_id)
            if file is None or file.owner_id != self._owner_id:
                raise NotFound("file")
            name = reference.file_name or file.name
            if file.size > min(self._file_bytes_max, left):
                shown = f"{name or file.file_id} ({file.media_type}, {file.size:,} bytes)"
                return Text(f"[the file {shown} is too large to be sent to the model]"), 0
            data = base64.b64encode(await self._read(file)).decode("ascii")
            return File(file.media_type, data, name=name), file.size
        except NotFound:
            return Text(f"[the file {reference.file_name or reference.file_id} does not exist any more]"), 0
        except Unavailable as error:
            raise AttemptFailed("server", str(error)) from error

    async def _read(self, file: StoredFile) -> bytes:
        data = bytearray()
        while len(data) < file.size:
            piece = await self._work.read_file_piece(file.file_id, len(data), FILE_PIECE_BYTES)
            if not piece:
                raise NotFound("file")
            data += piece
        return bytes(data)


def _is_uploaded(part: Part) -> bool:
    return isinstance(part, FileReference) and bool(part.file_id)
