"""What an attempt writes its drafts with: an agent's pieces in, the watchers woken once a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from antiphon.chats.drafts import LiveDrafts
from antiphon.core.draft import Draft
from antiphon.core.parts import DeltaPart, Text, ToolCallOpened
from antiphon.errors import AttemptFailed
from antiphon.observe import crash_point

ANSWER_MAX = 16 * 1024 * 1024


class Pen:
    """Writes the open draft of one chat, until it is `lift`ed. `pieces` counts what it has written.

    `call_ids` gives the tool call ids that the history has: a repeated one is renamed (`id#2`).
    """

    def __init__(
        self, drafts: LiveDrafts, chat_id: str, draft_name: int, *, attempt: int, call_ids: Callable[[], set[str]]
    ) -> None:
        self._drafts = drafts
        self._chat_id = chat_id
        self._attempt = attempt
        self._history_call_ids = call_ids
        self._call_ids: set[str] | None = None
        self._is_touched = False
        self.draft: Draft = drafts.open(chat_id, draft_name)
        self.is_lifted = False
        self.pieces = 0

    def write(self, piece: Any) -> None:
        """Add a piece to the draft; a lifted pen writes nothing. Raises TypeError for what is none, `AttemptFailed`
        for an answer that is too long."""
        if self.is_lifted:
            return
        if isinstance(piece, str):
            piece = Text(piece)
        elif isinstance(piece, ToolCallOpened):
            piece = ToolCallOpened(self._unique(piece.tool_call_id), piece.tool_name)
        elif not isinstance(piece, DeltaPart):
            raise TypeError(f"an agent yields text, reasoning and tool calls, not {type(piece).__name__}")
        if self.draft.write(piece) is None:
            return
        self.pieces += 1
        if self.pieces == 1:
            crash_point("model-first-delta")
        elif self.pieces == 10:
            crash_point("model-mid-stream")
        if self.draft.position > ANSWER_MAX:
            raise AttemptFailed("unknown", f"The answer is longer than {ANSWER_MAX} characters.")
        if not self._is_touched:
            self._is_touched = True
            asyncio.get_running_loop().call_soon(self._touch)

    def turn_to(self, draft_name: int) -> None:
        """Go on in the draft of that name, if it is a newer one."""
        if draft_name > self.draft.name:
            self.draft = self._drafts.open(self._chat_id, draft_name)

    def lift(self) -> None:
        """Write nothing from now on."""
        self.is_lifted = True

    def close(self) -> None:
        self.lift()
        self._drafts.close(self._chat_id, self.draft)

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
