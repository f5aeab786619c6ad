"""Writes the open drafts of a process to the store regularly, so that they survive its death."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.errors import AntiphonError
from antiphon.observe.crash_points import crash_point
from antiphon.ports import FlushedDelta, Work
from antiphon.wire import codec

DELTA_CHARS_MAX = 128 * 1024
"""Maximum length of one stored delta, in characters."""
WRITE_DELTAS_MAX = 1_000
WRITE_BYTES_MAX = 1024 * 1024
"""Maximum number and size (in bytes) of the deltas in one write: other writes need not wait for all drafts."""

log = structlog.get_logger(__name__)


class DraftFlusher:
    """`run` it as a task. `error` is why the last flush failed, None if it succeeded."""

    def __init__(self, drafts: LiveDrafts, work: Work, *, flush_s: float) -> None:
        self._drafts = drafts
        self._work = work
        self._flush_s = flush_s
        self._flushed: dict[tuple[str, int], int] = {}
        """The stored position of each open draft, by chat and draft."""
        self.error: str | None = None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            try:
                await self.flush()
                self.error = None
            except AntiphonError as error:
                self.error = str(error)
                log.warning("flush_failed", error=str(error))

    async def flush(self) -> None:
        """Store what the open drafts have gained since the last flush, in bounded writes. If one fails, the rest is
        left for the next flush. A delta that is flushed twice is stored once."""
        drafts = self._drafts.items()
        names = {(chat_id, draft.name) for chat_id, draft in drafts}
        self._flushed = {key: position for key, position in self._flushed.items() if key in names}
        batch: list[FlushedDelta] = []
        size = 0
        for chat_id, draft in drafts:
            for delta in _iter_deltas(draft, self._flushed.get((chat_id, draft.name), 0)):
                body = codec.encode(delta)
                batch.append(
                    FlushedDelta(chat_id=chat_id, draft=draft.name, from_=delta.from_, to=delta.to, body=body)
                )
                size += len(body)
                if len(batch) >= WRITE_DELTAS_MAX or size >= WRITE_BYTES_MAX:
                    await self._write(batch)
                    batch, size = [], 0
        if batch:
            await self._write(batch)

    async def _write(self, batch: list[FlushedDelta]) -> None:
        crash_point("flush-before")
        await self._work.flush(batch)
        crash_point("flush-after")
        for delta in batch:
            self._flushed[delta.chat_id, delta.draft] = delta.to


def _iter_deltas(draft: Draft, start: int) -> Iterator[Delta]:
    """The draft from a position to its current end, in deltas of bounded size."""
    end = draft.position
    for position in range(start, end, DELTA_CHARS_MAX):
        yield from draft.read(position, min(position + DELTA_CHARS_MAX, end))
