"""What `antiphon doctor` examines: that the stored state of every chat is the fold of its log, and that all that
is kept beside the log (hidden marks, contents, leases, listings) agrees with it. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.chats.chat_check import Examined, Finding
from antiphon.core.model import Chat, Status
from antiphon.core.values import Value
from antiphon.core.workers import INTERRUPT_GRACE_US
from antiphon.errors import Unavailable
from antiphon.ports import Store

__all__ = ["Finding", "Report", "examine"]

ALL = 1 << 30
TRIES = 5
"""A chat that is written while it is examined is read again, at most so often."""


class Report(Value):
    """What was examined, and what was found; `moving` are the chats that changed all the while."""

    chats: int = 0
    deleted: int = 0
    facts: int = 0
    messages: int = 0
    attempts: int = 0
    findings: tuple[Finding, ...] = ()
    moving: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        return not self.findings


async def examine(store: Store) -> Report:
    """Examine every chat. It may be in use: a chat that changes meanwhile is examined again."""
    chat_ids = await store.iter_chat_ids()
    examined = [await _examine_quiet(store, chat_id) for chat_id in chat_ids]
    findings = [finding for one in examined for finding in one.findings]
    try:
        findings += await _check_work(store, examined)
    except Unavailable as error:
        findings.append(Finding(chat_id="*", what=f"leases and claims cannot be examined: {error}"))
    return Report(
        chats=len(examined),
        deleted=sum(one.chat is not None and one.chat.is_deleted for one in examined),
        facts=sum(one.facts for one in examined),
        messages=sum(len(one.visible) for one in examined),
        attempts=sum(one.chat is not None and one.chat.attempt > 0 for one in examined),
        findings=tuple(findings),
        moving=tuple(one.chat_id for one in examined if one.is_moving),
    )


async def _examine_quiet(store: Store, chat_id: str) -> Examined:
    """Examined while nobody wrote it: its seq was the same before and after."""
    for _ in range(TRIES):
        one = Examined(chat_id)
        try:
            await one.examine(store)
            after = await store.load(chat_id)
        except Unavailable as error:
            one.find(str(error))
            return one
        if after == one.chat:
            return one
    one = Examined(chat_id)
    one.is_moving = True
    return one


# --- across chats


async def _check_work(store: Store, examined: list[Examined]) -> list[Finding]:
    """Leases and claims. What is suspected is looked at again, by itself, before it is said."""
    work = await _Work.ask(store)
    states = {one.chat_id: one.chat for one in examined if not one.is_moving}
    suspects = [chat_id for chat_id, chat in states.items() if chat and any(work.faults(chat_id, chat))]
    suspects += sorted(work.leases.keys() - states.keys())
    findings = []
    for chat_id in suspects:
        before = await store.load(chat_id)
        work = await _Work.ask(store)
        if before is None and chat_id in work.leases:
            findings.append(Finding(chat_id=chat_id, what="it has a lease but no state"))
        elif before is not None and before == await store.load(chat_id):
            findings += [Finding(chat_id=chat_id, what=what, seq=before.seq) for what in work.faults(chat_id, before)]
    return findings


class _Work(Value):
    """Which attempts have a lease, what may be claimed and what is due, at the time `now`."""

    now: int
    leases: dict[str, int]
    claimable: frozenset[str]
    due: frozenset[str]

    @classmethod
    async def ask(cls, store: Store) -> _Work:
        now = store.clock.now_us()
        return cls(
            now=now,
            leases=dict(await store.take_over("")),
            claimable=frozenset(await store.claimable(limit=ALL)),
            due=frozenset(due.chat_id for due in await store.due(limit=ALL) if due.why != "lease"),
        )

    def faults(self, chat_id: str, chat: Chat) -> Iterator[str]:
        lease = self.leases.get(chat_id, 0)
        if chat.attempt and not lease:
            yield f"attempt {chat.attempt} holds it without a lease: its loss would not be noticed"
        elif lease != chat.attempt:
            yield f"the lease is that of attempt {lease}, but {chat.attempt or 'none'} holds it"
        is_claimable = chat_id in self.claimable
        if is_claimable and not chat.needs_worker:
            yield "it may be claimed, but no turn needs a worker"
        if chat.needs_worker and max(chat.retrying_at, chat.updated_at) <= self.now and not is_claimable:
            yield "its turn needs a worker, but it cannot be claimed"
        if _is_due(chat, self.now) and chat_id not in self.due:
            yield "its stop or its deadline is overdue, but it is not found so"


def _is_due(chat: Chat, now: int) -> bool:
    if chat.status is Status.INTERRUPTING:
        return chat.interrupt_at + INTERRUPT_GRACE_US <= now
    return chat.status is Status.REQUIRES_ACTION and chat.deadline <= now
