"""Follows the hints of a chat for its attempt: another instance may interrupt the turn, or expire the attempt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from antiphon.chats.hints import stream_channel, stream_hint
from antiphon.errors import Unavailable
from antiphon.ports import Append, Bus, Work
from antiphon.worker.held_chat import HeldChat


class StopHints:
    """Updates `held` from this process's own state at each hint, and from the store if the hint is newer."""

    def __init__(self, held: HeldChat, *, work: Work, bus: Bus) -> None:
        self._held = held
        self._chats = work
        self._bus = bus
        self._is_reading = self._is_read_due = False
        self._reads: set[asyncio.Task[None]] = set()

    def subscribe(self) -> Callable[[], None]:
        """Subscribe to the chat's appends and hints; returns a function that ends the subscription."""
        chat_id = self._held.chat_id
        ends = (
            self._chats.subscribe_to_appends(chat_id, self._on_append),
            self._bus.subscribe(stream_channel(chat_id), self._on_hint, sees_own_appends=True),
        )

        def unsubscribe() -> None:
            for end in ends:
                end()

        return unsubscribe

    def _on_append(self, append: Append) -> None:
        self._held.update(append.chat)

    def _on_hint(self, message: bytes | None) -> None:
        cached, seq = self._chats.chat_nowait(self._held.chat_id), stream_hint(message).seq
        is_cached = cached is not None and seq is not None and seq <= cached.seq
        if self._chats.is_shared and not is_cached:
            self._is_read_due = True
            if not self._is_reading:
                self._is_reading = True
                asyncio.get_running_loop().call_soon(self._start_read)
        self._held.update(cached)

    def _start_read(self) -> None:
        """Read the store once for all hints of one turn of the event loop."""
        task = asyncio.create_task(self._read())
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _read(self) -> None:
        while self._is_read_due:
            self._is_read_due = False
            with contextlib.suppress(Unavailable):  # the next renewal reports the status
                self._held.update(await self._chats.chat(self._held.chat_id))
        self._is_reading = False
