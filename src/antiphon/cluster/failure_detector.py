"""Failure detection: declares an instance dead and expires its attempts before its leases expire.

How it works
------------
1. Each instance holds a lock of its database session. The database frees the lock the moment the session ends, so a
   free lock is the first sign that the process died (`InstanceRecord.is_present` is False).
2. A free lock alone proves little: a restarted database frees all of them, and a session can be lost on a living
   process. So the lock must stay free for `absent_s` while the database has been up for `database_up_s`, and the
   instance must not answer a ping over the relay, which is sent when its absence begins and once more at its end.
3. If a refresh fails, or is much too late because this process stalled, everything seen before is out of date:
   every absence starts again.
4. Then each attempt whose lease the dead instance holds is expired. Any instance may do it; the store's check of the
   attempt makes the second one a no-op. A row without attempts is removed after `forget_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from antiphon.cluster.members import Members
from antiphon.errors import AntiphonError
from antiphon.observe.metrics import METRICS
from antiphon.ports import Presence

Expire = Callable[[str, int, str], Awaitable[None]]
"""Records an attempt (chat id, number, reason) as lost."""
SendPing = Callable[[str, float], Coroutine[None, None, bool]]
"""Whether an instance (id) answers within a time in seconds."""

log = structlog.get_logger(__name__)


class FailureDetector:
    """Checks the members after each refresh, until closed."""

    def __init__(self, members: Members, *, presence: Presence, ping: SendPing, expire: Expire) -> None:
        self._members = members
        self._presence = presence
        self._ping = ping
        self._expire = expire
        self._timing = members.timing
        self._loop = asyncio.get_running_loop()
        self._absent_since: dict[str, float] = {}
        self._pings: dict[str, asyncio.Task[bool]] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._unsubscribe = members.refreshed.subscribe(self._on_refreshed)

    def close(self) -> None:
        self._unsubscribe()
        for task in (*self._checks.values(), *self._pings.values()):
            task.cancel()

    def _on_refreshed(self, database_up_s: float) -> None:
        now, others = self._loop.time(), self._members.others
        self._pings = {instance_id: ping for instance_id, ping in self._pings.items() if instance_id in others}
        if database_up_s < self._timing.database_up_s:
            self._absent_since.clear()
            return
        for instance_id, record in others.items():
            if record.is_present:
                self._absent_since.pop(instance_id, None)
            elif instance_id not in self._absent_since:
                self._absent_since[instance_id] = now
                self._pings[instance_id] = asyncio.create_task(self._ping(instance_id, self._timing.absent_s))
            elif now - self._absent_since[instance_id] >= self._timing.absent_s:
                self._begin_check(instance_id)
        for instance_id in [absent for absent in self._absent_since if absent not in others]:
            del self._absent_since[instance_id]

    def _begin_check(self, instance_id: str) -> None:
        if instance_id not in self._checks:
            task = self._checks[instance_id] = asyncio.create_task(self._check(instance_id))
            task.add_done_callback(lambda _: self._checks.pop(instance_id, None))

    async def _check(self, instance_id: str) -> None:
        """Expire the attempts of an instance that does not answer a ping either."""
        absent_since = self._absent_since.get(instance_id)
        try:
            attempts = await self._presence.attempts_of(instance_id)
            ping = self._pings.pop(instance_id, None)
            if ping is None:  # the ping of an earlier check proves nothing for this one
                ping = asyncio.create_task(self._ping(instance_id, self._timing.ping_s))
            if await ping:
                log.warning("absent_instance_answered", instance_id=instance_id)
                self._absent_since.pop(instance_id, None)  # if it is still absent at the next refresh, check again
                return
            if absent_since is None or self._absent_since.get(instance_id) != absent_since:
                return  # it responded meanwhile
            for chat_id, attempt in attempts:
                await self._expire_one(chat_id, attempt)
            if attempts:
                log.warning("instance_dead", instance_id=instance_id, attempts=len(attempts))
            elif self._loop.time() - absent_since > self._timing.forget_s:
                await self._presence.deregister(instance_id)
        except AntiphonError as error:
            METRICS.unexpected.labels("liveness_check_failure").inc()
            log.warning("liveness_check_failed", instance_id=instance_id, error=str(error))

    async def _expire_one(self, chat_id: str, attempt: int) -> None:
        """A chat that cannot be written (one of a newer version, say) must not block the others."""
        try:
            await self._expire(chat_id, attempt, "dead")
        except AntiphonError as error:
            METRICS.unexpected.labels("liveness_check_failure").inc()
            log.warning("attempt_not_expired", chat_id=chat_id, attempt=attempt, error=str(error))
