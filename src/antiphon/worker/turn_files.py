"""The files that a turn stores: by its agent, and by its tools.

A file is stored like an upload of the chat's owner, and expires like one unless the chat names it. Whatever names it
records that first: the commit of a tool's result, and the yield of an agent. So a file whose attempt dies before that
is removed like any upload that no chat names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import FileReference, Part, ToolResult
from antiphon.errors import AttemptFailed, Refused, TooLarge, TooMany, Unavailable
from antiphon.ports import FILE_PIECE_BYTES, Message, Work
from antiphon.wire.result_files import references_in, with_shown_references
from antiphon.wire.user_content import FILES_MAX, NAME_MAX
from antiphon.worker.tools.tool import FileData, FileRefused

CALL_FILES_MAX = FILES_MAX
"""Maximum number of files that one tool call stores, and that its result names."""
TURN_FILES_MAX = 1_000
"""Maximum number of files that an attempt of a turn stores."""

StoreFile = Callable[..., Awaitable[FileReference]]


class TurnFiles:
    """Stores and names the files of one attempt. `close` it when the attempt has ended."""

    def __init__(
        self, work: Work, owner_id: str, chat_id: str, *, bytes_max: int, messages: Callable[[], Sequence[Message]]
    ) -> None:
        """
        Args:
            work: Where the files are stored.
            owner_id: The owner of the chat, and of the files.
            chat_id: The chat.
            bytes_max: Maximum size of all files that the attempt stores, in bytes.
            messages: Gives the messages of the chat that the attempt has read.
        """
        self._work = work
        self._owner_id = owner_id
        self._chat_id = chat_id
        self._bytes_max = bytes_max
        self._messages = messages
        self._lock = asyncio.Lock()
        self._count = self._bytes = 0
        self._stored: dict[str, FileReference] = {}
        self._used: set[str] = set()
        self._is_closed = False

    def close(self) -> None:
        """Store nothing from now on: a tool that was abandoned may still try."""
        self._is_closed = True

    # --- storing

    def of_call(self) -> StoreFile:
        """`store` for one tool call, with the maximum of files that a call may store."""
        count = 0

        async def store(data: FileData, *, media_type: str = "", name: str = "") -> FileReference:
            nonlocal count
            count += 1
            if count > CALL_FILES_MAX:
                raise FileRefused("too_many", f"A tool call stores at most {CALL_FILES_MAX} files.")
            return await self.store(data, media_type=media_type, name=name)

        return store

    async def store(self, data: FileData, *, media_type: str = "", name: str = "") -> FileReference:
        """Store a file of the chat's owner. Equal bytes with the same media type are stored once. One file of a turn
        is stored at a time.

        Args:
            data: The bytes, or an asynchronous iterator of pieces of any size.
            media_type: Its media type; empty: found by the bytes.
            name: Its name, as people see it.

        Returns:
            The part that names it.

        Raises:
            FileRefused: It is empty or too large, its bytes are not of that type, or the owner or the turn stores too
                much.
            AttemptFailed: The store does not work now.
        """
        async with self._lock:
            if self._is_closed:
                raise FileRefused("not_allowed_now", "The turn has ended.")
            self._count += 1
            try:
                if self._count > TURN_FILES_MAX:
                    raise TooMany("files stored in one turn", TURN_FILES_MAX)
                reference = await self._work.store_file(
                    self._owner_id, self._counted(data), media_type=media_type, name=_cleaned(name)
                )
            except Refused as error:
                raise FileRefused(error.code, f"The file was not stored: {error}") from error
            except Unavailable as error:
                raise AttemptFailed("server", f"The file was not stored: {error}") from error
            self._stored[reference.file_id] = reference
            return reference

    async def _counted(self, data: FileData) -> AsyncIterator[bytes]:
        """The pieces of a file, as far as the turn may store them."""
        async for piece in _pieces_of(data):
            self._bytes += len(piece)
            if self._bytes > self._bytes_max:
                raise TooLarge("sum of the files stored in one turn (in bytes)", self._bytes_max)
            yield piece

    # --- naming

    async def result_content(self, result: ToolResult) -> tuple[Part, ...]:
        """The content of a tool's message: the result, then the files that it names. The chat uses them from now on.

        Only files that this turn has stored, or that the chat names already, are named: a result is text of other
        programs.

        Raises:
            Unavailable: The store does not work now.
        """
        found = [reference["file_id"] for reference in references_in(result.result)]
        known = {file_id: part for file_id in found if (part := self._find(file_id)) is not None}
        named = await self._use(list(known)[:CALL_FILES_MAX])
        if not named:
            return (result,)
        parts = {file_id: known[file_id] for file_id in named}
        return replace(result, result=with_shown_references(result.result, parts)), *parts.values()

    async def use(self, part: FileReference) -> None:
        """Record that the chat names a file that the agent yields.

        Raises:
            AttemptFailed: The file was not stored in this chat, or does not exist any more.
            Unavailable: The store does not work now.
        """
        if self._find(part.file_id) is None or not await self._use([part.file_id]):
            what = f"The agent yielded a file that is not stored in this chat ({part.file_name or part.file_id})"
            detail = f"{what}: store it with `await turn.store_file(data)`."
            raise AttemptFailed("unknown", detail, retryable=False)

    async def _use(self, file_ids: list[str]) -> list[str]:
        """Record that the chat names these files; returns the ids of those that exist."""
        new = [file_id for file_id in file_ids if file_id not in self._used]
        while new:
            missing = await self._work.use_files(self._owner_id, self._chat_id, new)
            new = [file_id for file_id in new if file_id not in missing]
            if not missing:
                self._used.update(new)
                break
        return [file_id for file_id in file_ids if file_id in self._used]

    def _find(self, file_id: str) -> FileReference | None:
        """The part for a file of this turn or of the chat's messages."""
        if (stored := self._stored.get(file_id)) is not None:
            return stored
        for message in reversed(self._messages()):
            for part in message.content:
                if isinstance(part, FileReference) and part.file_id == file_id:
                    return replace(part, start_line=0, end_line=0, content="")
        return None


async def _pieces_of(data: Any) -> AsyncIterator[bytes]:
    if isinstance(data, bytes | bytearray | memoryview):
        view = memoryview(data).cast("B")
        for start in range(0, len(view), FILE_PIECE_BYTES):
            yield bytes(view[start : start + FILE_PIECE_BYTES])
    elif isinstance(data, AsyncIterable):
        async for piece in data:
            yield bytes(piece)
    else:
        kind = type(data).__name__
        raise FileRefused("invalid", f"A file is bytes or an asynchronous iterator of bytes, not {kind}.")


def _cleaned(name: str) -> str:
    """The last segment of a name that may be a path, without control characters."""
    last = replace_surrogates(name).replace("\\", "/").rpartition("/")[2]
    cleaned = "".join(character for character in last if character.isprintable()).strip()[:NAME_MAX]
    return "" if cleaned in (".", "..") else cleaned
