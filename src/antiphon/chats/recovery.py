"""Changes that no client asks for: lost attempts are recorded, overdue interrupts end, deadlines expire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from antiphon.chats.service import Service
from antiphon.core import commands as c
from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.core.parts import Text
from antiphon.errors import AntiphonError, Refused
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.ports import Due, LeaseStore
from antiphon.wire import codec

DUE_POLL_S = 1.0
"""How often the store is polled for what is due, in seconds."""
DUE_MAX = 100
"""Maximum number of expired leases, and of other due changes, in one poll."""
STALL_S = 1.0
"""A poll that is late by more than this, in seconds, shows that this process stalled."""
GRACE_S = 3.0
"""How long nothing is expired after a stall, in seconds: longer than every worker needs to renew its leases."""

log = structlog.get_logger(__name__)


class Recovery:
    """`take_over` once at the start, then `run` as a task."""

    def __init__(
        self,
        *,
        service: Service,
        store: LeaseStore,
        instance_id: str,
        is_own: Callable[[str, int], bool],
        keep_lost: bool = False,
        continues_lost: bool = False,
    ) -> None:
        """
        Args:
            service: Executes the commands that record what is due.
            store: Polled for what is due.
            instance_id: This instance.
            is_own: Whether this process runs an attempt (chat id, number) itself.
            keep_lost: Whether the partial answer of a lost attempt is kept as an interrupted message.
            continues_lost: Whether it is given to the next attempt, whose model may go on from it.
        """
        self._service = service
        self._store = store
        self._instance_id = instance_id
        self._is_own = is_own
        self._keep_lost = keep_lost
        self._continues_lost = continues_lost
        self.error: str | None = None

    async def take_over(self) -> int:
        """Record every attempt of an earlier process on this store as lost; returns their number."""
        lost = await self._store.take_over(self._instance_id)
        for chat_id, attempt in lost:
            await self._settle(Due(chat_id=chat_id, attempt=attempt, why="dead"))
        return len(lost)

    async def run(self) -> None:
        """Poll for what is due until cancelled. After a stall, every instance first has time to renew its leases
        before any of them is expired."""
        loop = asyncio.get_running_loop()
        expires_nothing_until = 0.0
        while True:
            slept_at = loop.time()
            await asyncio.sleep(DUE_POLL_S)
            if loop.time() - slept_at > DUE_POLL_S + STALL_S:
                expires_nothing_until = loop.time() + GRACE_S
            if loop.time() < expires_nothing_until:
                continue
            try:
                for due in await self._store.due(limit=DUE_MAX):
                    await self._settle(due)
                self.error = None
            except AntiphonError as error:
                self.error = str(error)
                log.warning("recovery_failed", error=str(error))

    async def _settle(self, due: Due) -> None:
        """Record what is due. A chat that cannot be written (of a newer version, say) must not block the others, nor
        the start."""
        try:
            await self._record(due)
        except AntiphonError as error:
            METRICS.unexpected.labels("recovery_failure").inc()
            log.warning("recovery_failed", chat_id=due.chat_id, why=due.why, error=str(error))

    async def _record(self, due: Due) -> None:
        if due.why == "action":
            try:
                await self._service.execute(due.chat_id, c.ExpireAction())
            except Refused:
                return
        elif not self._is_own(due.chat_id, due.attempt):
            await self.expire(due.chat_id, due.attempt, due.why)

    async def expire(self, chat_id: str, attempt: int, reason: str) -> None:
        """End an attempt whose worker is lost. Its flushed deltas are kept if its turn was being interrupted."""
        chat = await self._service.chat(chat_id)
        if chat is None or chat.attempt != attempt:
            return
        draft = Draft(chat.draft)
        for flushed in await self._store.read_flushed(chat_id, chat.draft):
            draft.apply(codec.decode(flushed.body, Delta))
        parts, dropped = draft.partial()
        beginning = draft.beginning() if self._continues_lost else ""
        crash_point("recovery-before-expire")
        try:
            await self._service.execute(
                chat_id,
                c.ExpireAttempt(
                    attempt=attempt,
                    reason=reason,
                    draft=chat.draft,
                    content=codec.encode_content(parts) if parts else b"",
                    upto=draft.position,
                    dropped=dropped,
                    keep=self._keep_lost,
                    beginning=codec.encode_content([Text(beginning)]) if beginning else b"",
                ),
            )
        except Refused:
            return
        METRICS.takeovers.labels(reason).inc()
        crash_point("recovery-after-expire")
        log.info("attempt_lost", chat_id=chat_id, attempt=attempt, reason=reason)
