"""Stored files in the messages that a model gets: references are replaced by the bytes, up to a limit."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.core.parts import File, FileReference, Part, Role, Text
from antiphon.errors import AttemptFailed, NotFound, TooLarge, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, Message, StoredFile, Work
from antiphon.worker.file_budget import FileBudget

RESULT_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""The media types of files of tool results that models get. The bytes are checked when they are stored."""


class FileLoader:
    """Loads the stored files of one owner's chat. They may be large, so they are read at each call and not cached.
    The room of the files that were loaded last is reserved until `release`, or the next call of `load`."""

    def __init__(
        self, work: Work, owner_id: str, *, budget: FileBudget, file_bytes_max: int, files_bytes_max: int
    ) -> None:
        """
        Args:
            work: Where the files are read.
            owner_id: The owner. The files of others count as missing.
            budget: The room for files of all turns of this instance.
            file_bytes_max: Maximum size of one file, in bytes.
            files_bytes_max: Maximum size of all files of one call of `load`, in bytes.
        """
        self._work = work
        self._owner_id = owner_id
        self._budget = budget
        self._file_bytes_max = file_bytes_max
        self._files_bytes_max = files_bytes_max
        self._reserved = 0
        self._is_closed = False

    async def load(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages with a `File` part for each stored file. A file that is missing or too large, or beyond the
        maximum for all files (the newest come first), is a text that says so. Two kinds are not loaded: the files of
        answers, because no model gets its own, and those of tool results that are no images. A tool makes them for
        people, and a model would read megabytes of an export; what it should read is in the result.

        Raises:
            AttemptFailed: The store cannot be read now, there was no room for the files in time, or there is never
                enough.
        """
        self.release()
        try:
            chosen, size = await self._choose(messages)
            await self._reserve(size)
            return tuple([await self._loaded(message, chosen) for message in messages])
        except Unavailable as error:
            raise AttemptFailed("server", str(error)) from error

    def release(self) -> None:
        """The files that were loaded last are not used any more."""
        reserved, self._reserved = self._reserved, 0
        if reserved:
            self._budget.release(self._owner_id, reserved)

    def close(self) -> None:
        """The attempt has ended. A call of an abandoned agent reserves nothing from now on."""
        self._is_closed = True
        self.release()

    async def _choose(self, messages: Sequence[Message]) -> tuple[dict[int, StoredFile | Text], int]:
        """What stands for each reference, by the identity of its part: the file to load, or a text. And the size of
        all files to load, in bytes."""
        chosen: dict[int, StoredFile | Text] = {}
        total = 0
        for message in reversed(messages):
            for part in message.content:
                if is_loaded(message, part) and isinstance(part, FileReference):
                    found = await self._find(part, self._files_bytes_max - total)
                    chosen[id(part)] = found
                    total += found.size if isinstance(found, StoredFile) else 0
        return chosen, total

    async def _find(self, reference: FileReference, left: int) -> StoredFile | Text:
        file = await self._work.find_file(reference.file_id)
        if file is None or file.owner_id != self._owner_id:
            return _missing(reference)
        if file.size > min(self._file_bytes_max, left):
            shown = f"{reference.file_name or file.name or file.file_id} ({file.media_type}, {file.size:,} bytes)"
            return Text(f"[the file {shown} is too large to be sent to the model]")
        return file

    async def _reserve(self, size: int) -> None:
        try:
            reserved = await self._budget.reserve(self._owner_id, size)
        except TooLarge as error:
            detail = f"{error} Raise --limit loaded_files_bytes, or lower model_files_bytes."
            raise AttemptFailed("invalid_request", detail, retryable=False) from error
        except TimeoutError as error:
            detail = "Too many files are being sent to models at once; there was no room for those of this call."
            raise AttemptFailed("overloaded", detail) from error
        self._reserved += reserved
        if self._is_closed:
            self.release()

    async def _loaded(self, message: Message, chosen: dict[int, StoredFile | Text]) -> Message:
        if not any(id(part) in chosen for part in message.content):
            return message
        parts: list[Part] = []
        for part in message.content:
            found = chosen.get(id(part))
            if found is None or not isinstance(part, FileReference):
                parts.append(part)
                continue
            parts.append(found if isinstance(found, Text) else await self._read(part, found))
            if part.content:
                parts.append(replace(part, file_id=""))
        return replace(message, content=tuple(parts))

    async def _read(self, reference: FileReference, file: StoredFile) -> File | Text:
        data = bytearray()
        try:
            while len(data) < file.size:
                piece = await self._work.read_file_piece(file.file_id, len(data), FILE_PIECE_BYTES)
                if not piece:
                    raise NotFound("file")
                data += piece
        except NotFound:
            return _missing(reference)
        return File(file.media_type, base64.b64encode(data).decode("ascii"), name=reference.file_name or file.name)


def is_loaded(message: Message, part: Part) -> bool:
    if not isinstance(part, FileReference) or not part.file_id or message.role is Role.ASSISTANT:
        return False
    return message.role is not Role.TOOL or part.media_type in RESULT_TYPES


def _missing(reference: FileReference) -> Text:
    return Text(f"[the file {reference.file_name or reference.file_id} does not exist any more]")
