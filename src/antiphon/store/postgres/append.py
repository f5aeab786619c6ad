"""Appends to PostgreSQL. Those that wait share a statement, and so a round trip and a commit.

All values of a statement are one JSON document, whose fields have the names that the statement gives them; bytes are
in the database's hexadecimal form. Forty parameters for each append cost more time than all the rest of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from antiphon.core.facts import ChatDeleted, Entry, HistoryTruncated, MessageAppended, kind_of
from antiphon.core.model import FOLD_VERSION
from antiphon.errors import Unavailable
from antiphon.ports import NOTIFICATIONS_KEPT, Append, Drop, Ended, Grant, OutcomeUnknown, Receipt
from antiphon.postgres.connection import WAIT_S
from antiphon.store.postgres.pool import MISTAKES, Pool, RowLocked, clean_text
from antiphon.store.rows import LEASE_US, claim_at, due_at
from antiphon.store.statements import load_statements
from antiphon.wire.log import content_seq, encode_chat, encode_fact

STATEMENTS_MAX = 2
"""So many statements are under way; what comes meanwhile waits for one of them, and goes with the others that do."""
SHARED_MAX = 64
SHARED_BYTES_MAX = 1024 * 1024
"""So many appends, of so many bytes in all, share a statement."""
LOCKS = ("1s", "100ms", "10s")
"""So long a statement waits for a row that somebody holds: shared; then each of its appends by itself, which finds
those whose rows are held; then these, before they are told `unavailable`. So they hold up no others for long."""
ALONE_MAX = (0, 2, 4)
"""So many of each wait at once, beside the statements that are shared: connections are left for all else."""
TRIED_S = 12.0
"""An append that has waited for so long is not tried again."""

NUL = b"\\u0000"
"""As JSON writes what PostgreSQL cannot hold as text."""

SQL = load_statements("postgres")["append"]


class _Waiting:
    """An append, and the future of its fate. `stands_alone`: it locks rows that are not its chat's own, and beside
    others it could wait for whoever waits for them."""

    __slots__ = ("chat_id", "fate", "row", "since", "stands_alone")

    def __init__(self, append: Append) -> None:
        self.chat_id = append.chat_id
        self.row = append_json(append)
        self.stands_alone = append.notification is not None or append.chat.is_deleted
        self.since = time.monotonic()
        self.fate: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class Appender:
    """Writes appends over the connections of a pool. The fates are those of append_facts_1 (migrations)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._statements: set[asyncio.Task[None]] = set()
        self._alone: set[asyncio.Task[None]] = set()
        self._places = tuple(map(asyncio.Semaphore, ALONE_MAX))

    async def append(self, append: Append) -> str:
        """Its fate. Raises `OutcomeUnknown` when the answer was lost, `Unavailable` when nothing was written. Whoever
        is cancelled does not know whether it was."""
        waiting = _Waiting(append)
        self._waiting.append(waiting)
        self._begin()
        return await waiting.fate

    def _begin(self) -> None:
        if self._waiting and len(self._statements) < STATEMENTS_MAX:
            task = asyncio.create_task(self._write_all())
            self._statements.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        """Who came since it last looked waits for nobody else."""
        self._statements.discard(task)
        self._begin()

    async def _write_all(self) -> None:
        """Until nobody waits. It begins a turn of the loop later than it was called: others may wait by then."""
        while self._waiting:
            await self._write(self._take())

    def _take(self) -> list[_Waiting]:
        """Whoever waits longest, and those after it that may share its statement, in the order in which everybody
        locks chats."""
        taken = [self._waiting.popleft()]
        size = len(taken[0].row)
        while self._waiting and len(taken) < SHARED_MAX and not taken[0].stands_alone:
            size += len(self._waiting[0].row)
            if size > SHARED_BYTES_MAX or self._waiting[0].stands_alone:
                break
            taken.append(self._waiting.popleft())
        return sorted(taken, key=lambda waiting: waiting.chat_id)

    async def _write(self, batch: list[_Waiting], tried: int = 0) -> None:
        """Give each its fate, or have it tried by itself."""
        try:
            await self._try(batch, tried)
        except asyncio.CancelledError:  # the store is being closed
            for waiting in batch:
                waiting.fate.cancel()
            raise

    async def _try(self, batch: list[_Waiting], tried: int) -> None:
        batch = [waiting for waiting in batch if not waiting.fate.done()]  # who was cancelled wants nothing written
        if not batch:
            return
        try:
            rows = await self._pool.write_once(SQL, document_of([waiting.row for waiting in batch]), LOCKS[tried])
        except Exception as error:
            if isinstance(error, RowLocked) and tried + 1 < len(LOCKS):
                for waiting in batch:
                    self._begin_alone(waiting, tried + 1)
                return
            if isinstance(error, MISTAKES) and len(batch) > 1:
                for waiting in batch:  # nothing was written: one of them is to blame, and only that one
                    await self._try([waiting], tried)
                return
            for waiting in batch:
                if not waiting.fate.done():
                    waiting.fate.set_exception(error)
            if isinstance(error, Unavailable | OutcomeUnknown) and not isinstance(error, RowLocked):
                self._refuse_late()
            return
        for waiting, (_, fate) in zip(batch, sorted(rows), strict=True):
            if not waiting.fate.done():
                waiting.fate.set_result(fate)

    def _begin_alone(self, waiting: _Waiting, tried: int) -> None:
        task = asyncio.create_task(self._write_alone(waiting, tried))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _write_alone(self, waiting: _Waiting, tried: int) -> None:
        async with self._places[tried]:
            if time.monotonic() - waiting.since < TRIED_S:
                await self._write([waiting], tried)
            elif not waiting.fate.done():
                waiting.fate.set_exception(RowLocked("somebody holds a row of the database for too long"))

    def _refuse_late(self) -> None:
        """Who has waited for as long as anybody waits for a database that does not answer is not tried any more:
        else it would wait for the tries of all that came before it, too."""
        late = time.monotonic() - WAIT_S
        while self._waiting and self._waiting[0].since <= late:
            waiting = self._waiting.popleft()
            if not waiting.fate.done():
                waiting.fate.set_exception(Unavailable("the database does not answer"))


# --- the document


def document_of(rows: Sequence[bytes]) -> str:
    """The one parameter of the statement."""
    numbered = (b'{"number":%d,%b' % (number, row[1:]) for number, row in enumerate(rows))
    return (b"[" + b",".join(numbered) + b"]").decode()


def append_json(append: Append) -> bytes:
    row = {
        "chat_id": append.chat_id,
        "after_seq": append.after_seq,
        "append_id": append.append_id,
        "chat": _chat(append),
        "c_seq": list(append.contents),
        "c_body": _hex(append.contents.values()),
        **_facts(append),
        **_history(append.entries),
        **_receipts(append.receipts),
        **_lease(append),
        **_notification(append),
    }
    try:
        data = msgspec.json.encode(row)
    except UnicodeEncodeError:
        data = NUL
    return msgspec.json.encode(_clean(row)) if NUL in data else data


def _hex(bodies: Iterable[bytes]) -> list[str]:
    """Bytes as the database reads them."""
    return ["\\x" + body.hex() for body in bodies]


def _clean(value: Any) -> Any:
    """With what the database cannot hold as text replaced."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _clean(item) for key, item in value.items()}
    return value


def _chat(append: Append) -> dict[str, Any]:
    """As the type appended_chat."""
    chat = append.chat
    return {
        "owner_id": chat.owner_id,
        "seq": chat.seq,
        "fold_version": FOLD_VERSION,
        "state": "\\x" + encode_chat(chat).hex(),
        "status": chat.status.value,
        "title": chat.title,
        "labels": chat.labels,
        "is_archived": chat.is_archived,
        "is_deleted": chat.is_deleted,
        "updated_at": chat.updated_at,
        "draft": chat.draft,
        "claim_at": claim_at(chat),
        "due_at": due_at(chat),
    }


def _facts(append: Append) -> dict[str, list[Any]]:
    entries = append.entries
    return {
        "f_seq": [entry.seq for entry in entries],
        "f_at": [entry.recorded.at for entry in entries],
        "f_kind": [kind_of(entry.fact) for entry in entries],
        "f_body": _hex(encode_fact(entry.fact) for entry in entries),
        "f_status": [entry.status.value for entry in entries],
        "f_draft": [entry.draft for entry in entries],
        "f_more": [entry.more for entry in entries],
        "f_content_seq": [content_seq(entry.seq, entry.fact) for entry in entries],
        "f_append_id": [append.append_id if names_append(entry, append) else None for entry in entries],
    }


def names_append(entry: Entry, append: Append) -> bool:
    """Its first fact does; and a deletion, which leaves no other fact."""
    return entry is append.entries[0] or isinstance(entry.fact, ChatDeleted)


def _history(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """The messages, what is hidden by which fact from where on, and the seq of a deletion (0: none)."""
    messages = [(entry.seq, entry.fact) for entry in entries if isinstance(entry.fact, MessageAppended)]
    hidden = [(entry.seq, entry.fact) for entry in entries if isinstance(entry.fact, HistoryTruncated)]
    return {
        "m_seq": [seq for seq, _ in messages],
        "m_role": [fact.role.value for _, fact in messages],
        "m_queued_id": [fact.queued_id for _, fact in messages],
        "h_by": [seq for seq, _ in hidden],
        "h_from": [fact.from_message_id for _, fact in hidden],
        "deleted_by": max((entry.seq for entry in entries if isinstance(entry.fact, ChatDeleted)), default=0),
    }


def _receipts(receipts: Sequence[Receipt]) -> dict[str, list[Any]]:
    return {
        "r_client_id": [receipt.client_id for receipt in receipts],
        "r_body_hash": _hex(receipt.body_hash for receipt in receipts),
        "r_answer": _hex(receipt.answer for receipt in receipts),
    }


def _lease(append: Append) -> dict[str, Any]:
    kind, attempt, instance_id = "", 0, ""
    match append.lease:
        case Grant():
            kind, attempt, instance_id = "grant", append.lease.attempt, append.lease.instance_id
        case Ended():
            kind, attempt = "ended", append.lease.attempt
        case Drop():
            kind = "drop"
    return {"l_kind": kind, "l_attempt": attempt, "l_instance_id": instance_id, "l_us": LEASE_US}


def _notification(append: Append) -> dict[str, Any]:
    notification = append.notification
    return {
        "n_id": notification.notification_id if notification else "",
        "n_body": "\\x" + (notification.body.hex() if notification else ""),
        "n_created_at": notification.created_at if notification else 0,
        "n_kept": NOTIFICATIONS_KEPT,
    }
