"""Writes an agent's pieces to the open draft of a chat, and wakes its watchers once per turn of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.core.depth import DEPTH_MAX, is_deeper
from antiphon.core.draft import Draft
from antiphon.core.parts import (
    CALLS_MAX,
    CallStarted,
    Data,
    DeltaPart,
    File,
    FileReference,
    PartMetadata,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallArgs,
    ToolCallOpened,
    ToolProgress,
    ToolResult,
)
from antiphon.errors import AttemptFailed, Invalid
from antiphon.observe.crash_points import crash_point
from antiphon.wire.codec import NOT_JSON, encode
from antiphon.wire.user_content import FILE_ID_MAX, checked_file
from antiphon.wire.user_content import NAME_MAX as FILE_NAME_MAX

ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""Maximum size of one answer, in bytes."""
PARTS_MAX = 4_096
"""Maximum number of parts in one answer: texts, reasoning and calls."""
METADATA_BYTES_MAX = 1024 * 1024
"""Maximum size of all `provider_metadata` in one answer, in bytes."""
NAME_MAX = 16 * 1024
"""Maximum length of a tool's name and of a call's id, in characters."""
FILE_DATA_MAX = 512 * 1024
"""Maximum length of a file's base64, in characters. A delta is never split inside a file, and a relay's message can
hold this much."""
DATA_BYTES_MAX = FILE_DATA_MAX
"""Maximum size of a `Data` part, as JSON in bytes, for the same reason."""
PROGRESS_PIECE_MAX = 4 * 1024
PROGRESS_MAX = 256 * 1024
"""Maximum length of a tool's progress, in characters: of one piece, and of all pieces in one draft."""
PROGRESS_COST = 64
"""What each piece of progress counts in addition to its text, in characters."""


class DraftWriter:
    """Writes the open draft of one chat until it is closed. `pieces` counts the pieces that it has written.

    `call_ids` gives the tool call ids that the history has: a repeated one is renamed (`id#2`).
    """

    def __init__(
        self,
        drafts: LiveDrafts,
        chat_id: str,
        draft_name: int,
        *,
        attempt: int,
        call_ids: Callable[[], set[str]],
        bytes_max: int = ANSWER_BYTES_MAX,
        calls_max: int = CALLS_MAX,
    ) -> None:
        self._drafts = drafts
        self._chat_id = chat_id
        self._attempt = attempt
        self._bytes_max = bytes_max
        self._calls_max = calls_max
        self._history_call_ids = call_ids
        self._call_ids: set[str] | None = None
        self._repeated: dict[str, int] = {}
        self._is_notified = False
        self._bytes = self._metadata_bytes = 0
        self._metadata_sizes: dict[tuple[int, str], int] = {}
        """The size of each key of each part's metadata. A later piece adds keys, and replaces those it repeats."""
        self._calls = 0
        self._progress = 0
        self.draft: Draft = drafts.open(chat_id, draft_name)
        self.is_closed = False
        self.pieces = 0

    def write(self, piece: Any) -> None:
        """Add a piece to the draft; a closed writer ignores it. Raises `AttemptFailed` for an unsupported type and
        for an answer beyond its limits."""
        if self.is_closed:
            return
        if isinstance(piece, PartMetadata):
            self._annotate(piece)
            return
        piece = self._checked(piece)
        if self._bytes > self._bytes_max:  # what was written before it can be stored
            raise AttemptFailed("unknown", f"The answer is longer than {self._bytes_max:,} bytes.")
        if piece is None or self.draft.write(piece) is None:
            return
        self.pieces += 1
        if self.pieces == 1:
            crash_point("model-first-delta")
        elif self.pieces == 10:
            crash_point("model-mid-stream")
        if self.draft.part_count > PARTS_MAX:
            raise AttemptFailed("unknown", f"The answer has more than {PARTS_MAX:,} parts.")
        if not self._is_notified:
            self._is_notified = True
            asyncio.get_running_loop().call_soon(self._notify)

    def _checked(self, piece: Any) -> DeltaPart | None:
        """The piece as it is written; None: it is not written (too much progress)."""
        match piece:
            case str():
                self._count(piece)
                return Text(piece)
            case Text(text=str(text)) | Reasoning(text=str(text)) | ToolCallArgs(args_delta=str(text)):
                self._count(text)
                return piece
            case Source(source_id=str(source_id), url=str(url), title=str(title)):
                self._count(source_id + url + title)
                return Source(source_id, url, title)
            case File(media_type=str(), data=str(data), name=str()):
                self._count(data)
                return self._checked_file(piece)
            case FileReference(file_id=str(file_id), file_name=str(name), content="") if file_id:
                self._count(file_id + name)
                return self._checked_reference(piece)
            case Data(name=str(name)):
                return self._checked_data(piece, name)
            case ToolCallOpened(tool_call_id=str(tool_call_id), tool_name=str(tool_name)):
                if max(len(tool_call_id), len(tool_name)) > NAME_MAX:
                    raise AttemptFailed("unknown", f"A tool call's name is longer than {NAME_MAX:,} characters.")
                self._calls += 1
                if self._calls > self._calls_max:
                    detail = f"more than {self._calls_max} tool calls; --limit calls=N allows more"
                    raise AttemptFailed("unknown", f"The answer has {detail}.")
                self._count(tool_call_id + tool_name)
                return ToolCallOpened(self._unique(tool_call_id), tool_name)
            case ToolProgress(tool_call_id=str(), text=str()):
                return self._limited_progress(piece)
            case CallStarted():
                return piece
        raise AttemptFailed("unknown", _refusal(piece))

    def _checked_file(self, file: File) -> File:
        if len(file.data) > FILE_DATA_MAX:
            raise AttemptFailed("unknown", f"A file that an agent yields has at most {FILE_DATA_MAX:,} characters.")
        try:
            return checked_file(file)
        except Invalid as error:
            raise AttemptFailed("unknown", f"The agent yielded a file that cannot be stored: {error}") from error

    def _checked_reference(self, reference: FileReference) -> FileReference:
        if len(reference.file_id) > FILE_ID_MAX or len(reference.file_name) > FILE_NAME_MAX:
            raise AttemptFailed("unknown", f"The name of a file has at most {FILE_NAME_MAX} characters.")
        return reference

    def _checked_data(self, piece: Data, name: str) -> Data:
        try:
            encoded = encode(piece.data)
        except NOT_JSON as error:
            raise AttemptFailed("unknown", f"The agent yielded Data that is not JSON: {error}") from error
        if len(encoded) > DATA_BYTES_MAX:
            raise AttemptFailed("unknown", f"Data that an agent yields has at most {DATA_BYTES_MAX:,} bytes.")
        if is_deeper(encoded, DEPTH_MAX):
            raise AttemptFailed("unknown", f"The agent yielded Data that is nested deeper than {DEPTH_MAX} levels.")
        self._count(name)
        self._bytes += len(encoded)
        return Data(msgspec.json.decode(encoded), name)  # a copy: the agent may change its value

    def _annotate(self, piece: PartMetadata) -> None:
        part, metadata = self.draft.part_count, piece.provider_metadata
        sizes: dict[tuple[int, str], int] | None = None
        if isinstance(metadata, dict):
            with contextlib.suppress(*NOT_JSON):
                sizes = {(part, key): len(encode({key: value})) for key, value in metadata.items()}
        if sizes is None:
            raise AttemptFailed("unknown", "The agent yielded metadata that is no JSON object.")
        self._metadata_bytes += sum(size - self._metadata_sizes.get(key, 0) for key, size in sizes.items())
        self._metadata_sizes |= sizes
        if self._metadata_bytes > METADATA_BYTES_MAX:
            raise AttemptFailed("unknown", f"The answer has more than {METADATA_BYTES_MAX:,} bytes of metadata.")
        self.draft.annotate(metadata)

    def _count(self, text: str) -> None:
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    def _limited_progress(self, piece: ToolProgress) -> ToolProgress | None:
        """The piece of progress, truncated; None: the draft has its maximum of progress."""
        if self._progress >= PROGRESS_MAX:
            return None
        text = piece.text if len(piece.text) <= PROGRESS_PIECE_MAX else piece.text[:PROGRESS_PIECE_MAX] + "…"
        self._progress += len(text) + PROGRESS_COST
        if self._progress >= PROGRESS_MAX:
            text = "… (more progress is not shown)"
        return ToolProgress(piece.tool_call_id, text)

    def switch_to(self, draft_name: int) -> None:
        """Continue in the draft of that name, if it is a newer one."""
        if draft_name > self.draft.name:
            self.draft = self._drafts.open(self._chat_id, draft_name)
            self._bytes = self._metadata_bytes = self._calls = self._progress = 0
            self._metadata_sizes = {}

    def close(self) -> None:
        """Write nothing from now on. The draft remains open for its watchers."""
        self.is_closed = True

    def release(self) -> None:
        """Close, and close the draft."""
        self.close()
        self._drafts.close(self._chat_id, self.draft)
        self.draft = Draft(self.draft.name)  # a reference to this writer must not keep the text alive

    def _notify(self) -> None:
        """Wake the watchers once for all pieces of one turn of the event loop."""
        self._is_notified = False
        self._drafts.touch(self._chat_id)

    def _unique(self, tool_call_id: str) -> str:
        if self._call_ids is None:
            self._call_ids = self._history_call_ids()
        first = tool_call_id or f"call_{self._attempt}"
        name, count = first, self._repeated.get(first, 1)
        while name in self._call_ids:
            count += 1
            name = f"{first}#{count}"
        self._repeated[first] = count
        self._call_ids.add(name)
        return name


def _refusal(piece: Any) -> str:
    """Why an agent's piece is refused, and what to do instead."""
    name = type(piece).__name__
    if isinstance(piece, ToolCall | ToolResult) or name in ("ToolCall", "ToolResult"):
        return f"The agent yielded a {name}. Run tools with `await turn.call(ToolCall(name, args))`."
    return f"The agent yielded {name}; it may yield text (str), Reasoning, Source, File, Data and stored files."
