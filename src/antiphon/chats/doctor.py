"""The checks of `antiphon doctor`: the stored state of every chat is the fold of its log, and everything stored
beside the log (hidden marks, contents, files, leases, listings, usage) agrees with it. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.chats.chat_check import Examined, Finding
from antiphon.chats.file_check import examine_files
from antiphon.chats.usage_check import examine_usage
from antiphon.core.model import Chat, Status
from antiphon.core.values import Value
from antiphon.core.workers import INTERRUPT_GRACE_US
from antiphon.errors import Unavailable
from antiphon.ports import Store

__all__ = ["Finding", "Report", "examine"]

ALL = 1 << 30
TRIES_MAX = 5
"""Maximum number of times that a chat is examined because it was written meanwhile."""


class Report(Value):
    """The number of examined things, and the findings. `moving` are the chats that changed during every try."""

    chats: int = 0
    deleted: int = 0
    facts: int = 0
    messages: int = 0
    attempts: int = 0
    files: int = 0
    usage_sums: int = 0
    findings: tuple[Finding, ...] = ()
    moving: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


async def examine(store: Store, *, checksums: bool = True) -> Report:
    """Examine every chat and every file. A chat may be in use: a chat that changes meanwhile is examined again.

    Args:
        store: The store.
        checksums: Whether to read every byte of the files; False: only compare their sizes.
    """
    chat_ids = await store.iter_chat_ids()
    examined = [await _examine_unchanged(store, chat_id) for chat_id in chat_ids]
    findings = [finding for one in examined for finding in one.findings]
    try:
        findings += await _check_work(store, examined)
    except Unavailable as error:
        findings.append(Finding(chat_id="*", what=f"leases and claims cannot be examined: {error}"))
    files = 0
    try:
        files, found = await examine_files(store, checksums=checksums)
        findings += found
    except Unavailable as error:
        findings.append(Finding(chat_id="*", what=f"files cannot be examined: {error}"))
    usage_sums = 0
    try:
        usage_sums, found = await examine_usage(store, (row for one in examined for row in one.usage))
        findings += found
    except Unavailable as error:
        findings.append(Finding(chat_id="*", what=f"usage cannot be examined: {error}"))
    return Report(
        chats=len(examined),
        deleted=sum(one.chat is not None and one.chat.is_deleted for one in examined),
        facts=sum(one.facts for one in examined),
        messages=sum(len(one.visible) for one in examined),
        attempts=sum(one.chat is not None and one.chat.attempt > 0 for one in examined),
        files=files,
        usage_sums=usage_sums,
        findings=tuple(findings),
        moving=tuple(one.chat_id for one in examined if one.is_moving),
    )


async def _examine_unchanged(store: Store, chat_id: str) -> Examined:
    """Examine a chat while it is not written: its state is the same before and after."""
    for _ in range(TRIES_MAX):
        one = Examined(chat_id)
        try:
            await one.examine(store)
            after = await store.load(chat_id)
        except Unavailable as error:
            one.report(str(error))
            return one
        if after == one.chat:
            return one
    one = Examined(chat_id)
    one.is_moving = True
    return one


# --- across chats


async def _check_work(store: Store, examined: list[Examined]) -> list[Finding]:
    """Check leases and claims. A suspicious chat is read again by itself before it is reported."""
    work = await _Work.read(store)
    states = {one.chat_id: one.chat for one in examined if not one.is_moving}
    suspects = [chat_id for chat_id, chat in states.items() if chat and any(work.faults(chat_id, chat))]
    suspects += sorted(work.leases.keys() - states.keys())
    findings = []
    for chat_id in suspects:
        before = await store.load(chat_id)
        work = await _Work.read(store)
        if before is None and chat_id in work.leases:
            findings.append(Finding(chat_id=chat_id, what="it has a lease but no state"))
        elif before is not None and before == await store.load(chat_id):
            findings += [Finding(chat_id=chat_id, what=what, seq=before.seq) for what in work.faults(chat_id, before)]
    return findings


class _Work(Value):
    """The attempts with a lease, the claimable and the due chats, at the time `now`."""

    now: int
    leases: dict[str, int]
    claimable: frozenset[str]
    due: frozenset[str]

    @classmethod
    async def read(cls, store: Store) -> _Work:
        now = store.clock.now_us()
        return cls(
            now=now,
            leases=dict(await store.take_over("")),
            claimable=frozenset(await store.claimable(limit=ALL)),
            due=frozenset(due.chat_id for due in await store.due(limit=ALL) if due.why != "lease"),
        )

    def faults(self, chat_id: str, chat: Chat) -> Iterator[str]:
        """What disagrees with the state of a chat, in words."""
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
            yield "its interrupt or its deadline is overdue, but the store does not list it as due"


def _is_due(chat: Chat, now: int) -> bool:
    if chat.status is Status.INTERRUPTING:
        return chat.interrupt_at + INTERRUPT_GRACE_US <= now
    return chat.status is Status.REQUIRES_ACTION and chat.deadline <= now
