"""What an attempt writes its drafts with: an agent's pieces in, the watchers woken once a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from antiphon.chats.drafts import LiveDrafts
from antiphon.core.draft import Draft
from antiphon.core.parts import CallStarted, DeltaPart, Reasoning, Text, ToolCallArgs, ToolCallOpened, ToolProgress
from antiphon.errors import AttemptFailed
from antiphon.observe import crash_point

ANSWER_BYTES_MAX = 16 * 1024 * 1024
NAME_MAX = 16 * 1024
"""Characters of a tool's name, or of a call's id."""
PROGRESS_PIECE_MAX = 4 * 1024
PROGRESS_MAX = 256 * 1024
PROGRESS_COST = 64
"""Characters of tools' progress that a draft takes, in one piece and in all; each piece costs some more."""


class Pen:
    """Writes the open draft of one chat, until it is `lift`ed. `pieces` counts what it has written.

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
    ) -> None:
        self._drafts = drafts
        self._chat_id = chat_id
        self._attempt = attempt
        self._bytes_max = bytes_max
        self._history_call_ids = call_ids
        self._call_ids: set[str] | None = None
        self._is_touched = False
        self._bytes = 0
        self._progress = 0
        self.draft: Draft = drafts.open(chat_id, draft_name)
        self.is_lifted = False
        self.pieces = 0

    def write(self, piece: Any) -> None:
        """Add a piece to the draft; a lifted pen writes nothing. Raises TypeError for what is none, `AttemptFailed`
        for an answer that is too long."""
        if self.is_lifted:
            return
        piece = self._checked(piece)
        if self._bytes > self._bytes_max:  # what was written before it may be kept
            raise AttemptFailed("unknown", f"The answer is longer than {self._bytes_max:,} bytes.")
        if piece is None or self.draft.write(piece) is None:
            return
        self.pieces += 1
        if self.pieces == 1:
            crash_point("model-first-delta")
        elif self.pieces == 10:
            crash_point("model-mid-stream")
        if not self._is_touched:
            self._is_touched = True
            asyncio.get_running_loop().call_soon(self._touch)

    def _checked(self, piece: Any) -> DeltaPart | None:
        """The piece as it is written; None where it is not (too much progress)."""
        match piece:
            case str():
                self._count(piece)
                return Text(piece)
            case Text(text=str(text)) | Reasoning(text=str(text)) | ToolCallArgs(args_delta=str(text)):
                self._count(text)
                return piece
            case ToolCallOpened(tool_call_id=str(tool_call_id), tool_name=str(tool_name)):
                if max(len(tool_call_id), len(tool_name)) > NAME_MAX:
                    raise AttemptFailed("unknown", f"A tool call's name is longer than {NAME_MAX:,} characters.")
                self._count(tool_call_id + tool_name)
                return ToolCallOpened(self._unique(tool_call_id), tool_name)
            case ToolProgress(tool_call_id=str(), text=str()):
                return self._limited(piece)
            case CallStarted():
                return piece
        raise TypeError(f"an agent yields text, reasoning and tool calls, not {type(piece).__name__}")

    def _count(self, text: str) -> None:
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    def _limited(self, piece: ToolProgress) -> ToolProgress | None:
        """Progress is there to be glanced at: each piece is cut, and a draft takes only so much of it."""
        if self._progress >= PROGRESS_MAX:
            return None
        text = piece.text if len(piece.text) <= PROGRESS_PIECE_MAX else piece.text[:PROGRESS_PIECE_MAX] + "…"
        self._progress += len(text) + PROGRESS_COST
        if self._progress >= PROGRESS_MAX:
            text = "… (more progress is not shown)"
        return ToolProgress(piece.tool_call_id, text)

    def turn_to(self, draft_name: int) -> None:
        """Go on in the draft of that name, if it is a newer one."""
        if draft_name > self.draft.name:
            self.draft = self._drafts.open(self._chat_id, draft_name)
            self._bytes = self._progress = 0

    def lift(self) -> None:
        """Write nothing from now on."""
        self.is_lifted = True

    def close(self) -> None:
        self.lift()
        self._drafts.close(self._chat_id, self.draft)
        self.draft = Draft(self.draft.name)  # whoever still has this pen does not keep the text

    def _touch(self) -> None:
        """Tell the watchers once for all that was written in one turn of the event loop."""
        self._is_touched = False
        self._drafts.touch(self._chat_id)

    def _unique(self, tool_call_id: str) -> str:
        if self._call_ids is None:
            self._call_ids = self._history_call_ids()
        first = tool_call_id or f"call_{self._attempt}"
        name, count = first, 1
        while name in self._call_ids:
            count += 1
            name = f"{first}#{count}"
        self._call_ids.add(name)
        return name
