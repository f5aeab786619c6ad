"""The end of an attempt that is asked to stop: stops the agent, and writes how the attempt ended.

How it works
------------
An attempt is asked to stop because a client interrupts the turn, because it no longer holds the turn (LOST), or
because the worker drains (RELEASE). The agent runs in a task of its own and may ignore its cancellation, so nothing
here waits for it without a limit:

1. The draft writer is closed first. From then on the agent writes nothing, and the draft remains what its watchers
saw.
2. If the turn is interrupted and the agent waits for that (`Turn.wait_interrupted`), it may finish by itself within
   `interrupt_s`.
3. The agent's task is cancelled and awaited for `abandon_s`. A task that still runs then is abandoned: it is counted
   and logged, and it can neither write nor block the turn.
4. Commands that the agent sent may still be under way. They are awaited for `pending_s`, so that step 5 sees their
   facts.
5. Unless the attempt is lost, its end is written: an interrupted turn gets FinishInterrupt, any other ReleaseAttempt,
   both with the content of the open draft. ReleaseAttempt lists the tool calls that have not begun, which the next
   attempt may therefore run. The chat is read again before each try: a command under way, an interrupt or another
   attempt may have changed it meanwhile. If the chat is deleted or held by another attempt, there is nothing to
   write.

If this process dies before step 5, or the store is unavailable for longer than a lease lasts, the lease expires and
another instance records the end, with the draft as it was last flushed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.core.model import Chat, Status
from antiphon.core.model_usage import ModelUsage
from antiphon.errors import NotAllowedNow, NotFound, StaleAttempt, Unavailable
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.options import WorkerTiming
from antiphon.ports import Work
from antiphon.worker.attempt_usage import carried
from antiphon.worker.calls import Calls
from antiphon.worker.held_chat import HeldChat
from antiphon.worker.stop import AttemptEnded, Stop

END_TRIES_MAX = 3
"""Maximum number of tries to write the end while the chat changes."""

log = structlog.get_logger(__name__)


class AttemptEnd:
    """Ends one attempt."""

    def __init__(self, held: HeldChat, calls: Calls, *, work: Work, timing: WorkerTiming) -> None:
        self._held = held
        self._calls = calls
        self._chats = work
        self._timing = timing

    async def end(self, work: asyncio.Task[None], why: Stop) -> None:
        """Stop the agent's task `work`, and write how the attempt ended."""
        held = self._held
        held.writer.close()
        if held.turn is not None and why is Stop.INTERRUPT:
            held.turn.interrupted.set()
            if held.turn.is_listening:
                await asyncio.wait({work}, timeout=self._timing.interrupt_s)
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=self._timing.abandon_s)
        if not done:
            self._count_abandoned()
        elif not work.cancelled() and work.exception() is not None:
            log.error("attempt_failed", chat_id=held.chat_id, error=repr(work.exception()))
        await held.wait_pending()
        if why is not Stop.LOST:
            with contextlib.suppress(AttemptEnded):
                await self._write()

    async def close_agent(self, pieces: Any) -> None:
        """Let the agent's generator clean up, for `abandon_s` at most."""
        if not hasattr(pieces, "aclose"):
            return
        try:
            async with asyncio.timeout(self._timing.abandon_s):
                await pieces.aclose()
        except TimeoutError:
            if not self._held.stopped.done():  # else `end` counts it
                self._count_abandoned()

    def _count_abandoned(self) -> None:
        METRICS.abandoned.inc()
        log.warning("task_abandoned", chat_id=self._held.chat_id, turn_id=self._held.state.turn_id)

    async def _write(self) -> None:
        held = self._held
        for _ in range(END_TRIES_MAX):
            chat = await held.retry_unavailable(lambda: self._chats.chat(held.chat_id))
            if chat is None or chat.attempt != held.attempt:
                return
            used = held.usage.pending()
            command = self._command(chat, used)
            crash_point("interrupt-before-finish")
            try:
                await held.retry_unavailable(partial(self._execute, command))
            except (StaleAttempt, NotAllowedNow):
                continue  # the chat has changed: read it again
            except NotFound:
                return
            held.usage.remove(used)
            crash_point("interrupt-after-finish")
            return

    async def _execute(self, command: c.Command) -> None:
        usage = self._held.usage
        try:
            await self._chats.execute(self._held.chat_id, command)
        except Unavailable:
            usage.is_uncertain = True
            raise
        usage.is_uncertain = False

    def _command(self, chat: Chat, used: Sequence[ModelUsage]) -> c.Command:
        held = self._held
        kind = c.FinishInterrupt if chat.status is Status.INTERRUPTING else c.ReleaseAttempt
        command = kind(attempt=held.attempt, draft=chat.draft, **carried(used), **held.partial(chat))
        if isinstance(command, c.ReleaseAttempt):
            not_begun, beginning = self._calls.not_begun(chat), held.draft_beginning(chat)
            return replace(command, calls_not_begun=not_begun, beginning=beginning)
        return command
