"""`ListTasks`: all tasks of a context, newest first, or the newest task of each context, latest change first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from antiphon.api.a2a.tasks import NAME, open_task, task_id_of
from antiphon.api.http.answers import ANSWER_BYTES_MAX
from antiphon.api.http.paging import next_after, read_next
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chat_id_of, chats_of
from antiphon.core.facts import MessageAppended
from antiphon.core.parts import Role
from antiphon.errors import Invalid, NotFound, PeerError
from antiphon.wire.a2a.ids import TaskId
from antiphon.wire.a2a.requests import ListParams
from antiphon.wire.a2a.task import TaskView
from antiphon.wire.codec import encode
from antiphon.wire.gotime import parse_time_us

SCANNED_MAX = 500
"""Maximum number of tasks that one request reads or counts. The next page goes on behind them, if need be."""
PAGE = 100
QUEUE = "queue"
"""The mark of a queued message; that of a turn is empty."""

Json = dict[str, Any]


class Mark(NamedTuple):
    """Where a list goes on: the time of a chat's change and its id, or a message's id and what it is. `seen` is the
    number of tasks before."""

    at: int
    name: str
    seen: int = 0

    def __str__(self) -> str:
        return next_after(self.at, f"{self.name},{self.seen}")


Candidates = AsyncIterator[tuple[TaskId, Mark]]


async def list_tasks(call: Call, given: ListParams) -> Json:
    """A page. Raises `Invalid` for a page token or a time that is none."""
    mark = _mark(given.page_token) if given.page_token else None
    page, accepts = _Page(given, seen=mark.seen if mark else 0), _Filter(given)
    found = _of_context(call, given.context_id, mark) if given.context_id else _of_owner(call, mark)
    async for task_id, at in found:
        if not page.counts():
            break
        if page.is_full and not accepts.has_any:
            page.matching += 1
            continue
        view = await read_task(call, task_id)
        page.add(view if view is not None and accepts(view) else None, at)
    return page.result()


class _Page:
    """A page that is being filled. Tasks behind it are counted."""

    def __init__(self, given: ListParams, *, seen: int) -> None:
        self.matching = 0
        self._given = given
        self._seen = seen
        self._tasks: list[Json] = []
        self._size = 0
        self._scanned = 0
        self._end: Mark | None = None
        """The last task that is on this page, or does not match."""

    @property
    def is_full(self) -> bool:
        return len(self._tasks) == self._given.page_size or self._size > ANSWER_BYTES_MAX

    def counts(self) -> bool:
        """Whether one more task may be read or counted."""
        self._scanned += 1
        return self._scanned <= SCANNED_MAX

    def add(self, view: TaskView | None, at: Mark) -> None:
        """The next task; None: it does not match."""
        given, is_full = self._given, self.is_full
        self.matching += view is not None
        if is_full:
            return
        self._end = at
        if view is not None:
            shown = view.snapshot(history_length=given.history_length or 0, has_artifacts=given.include_artifacts)
            self._size += len(encode(shown))
            self._tasks.append(shown)

    def result(self) -> Json:
        count = len(self._tasks)
        is_last = self.matching == count and self._scanned <= SCANNED_MAX
        end = self._end
        self._tasks.sort(key=lambda task: parse_time_us(task["status"]["timestamp"]), reverse=True)
        return {
            "tasks": self._tasks,
            "nextPageToken": "" if is_last or end is None else str(end._replace(seen=self._seen + count)),
            "pageSize": self._given.page_size,
            "totalSize": self._seen + self.matching,
        }


async def read_task(call: Call, task_id: TaskId) -> TaskView | None:
    """A task as it is now; None if it was deleted meanwhile."""
    try:
        return await (await open_task(call, task_id)).read()
    except NotFound:
        return None


class _Filter:
    """Which tasks a list has."""

    def __init__(self, given: ListParams) -> None:
        self._state = "" if given.status == "TASK_STATE_UNSPECIFIED" else given.status
        self._since = 0
        if given.status_timestamp_after:
            try:
                self._since = parse_time_us(given.status_timestamp_after)
            except PeerError as error:
                raise Invalid("statusTimestampAfter", "a time as in 2026-01-02T03:04:05Z") from error
        self.has_any = bool(self._state or self._since)

    def __call__(self, view: TaskView) -> bool:
        is_late = not self._since or parse_time_us(view.timestamp) >= self._since
        return is_late and self._state in ("", view.state)


def _mark(token: str) -> Mark:
    at, name = read_next(token, "pageToken")
    name, _, seen = name.rpartition(",")
    if not seen.isascii() or not seen.isdigit() or len(seen) > 9:
        raise Invalid("pageToken", "not a `nextPageToken` of this list")
    return Mark(at, name, int(seen))


async def _of_owner(call: Call, mark: Mark | None) -> Candidates:
    """The newest task of each context."""
    chats, after = chats_of(call), (mark.at, mark.name) if mark else None
    while listed := await chats.list(limit=PAGE, after=after):
        for item in listed:
            after = (item.chat.updated_at, item.chat_id)
            if turn_id := item.chat.turn_id or item.chat.last_turn_id:
                entries = await call.instance.store.read_entries(item.chat_id, turn_id - 1, limit=1, bytes_max=1)
                if entries:
                    yield task_id_of(item.chat_id, entries[0]), Mark(*after)


async def _of_context(call: Call, context: str, mark: Mark | None) -> Candidates:
    """Queued messages, the last one first, then turns, the newest first."""
    chats, chat_id = chats_of(call), chat_id_of(call, NAME, context, field="contextId")
    try:
        chat = await chats.get(chat_id)
    except NotFound:
        return
    if mark is None or mark.name == QUEUE:
        queued = [item.id for item in reversed((*chat.steering, *chat.queue))]
        if mark is not None:
            queued = queued[queued.index(mark.at) + 1 :] if mark.at in queued else []
        for queued_id in queued:
            yield TaskId(chat_id, queued_id), Mark(queued_id, QUEUE)
    before = mark.at if mark is not None and mark.name != QUEUE else None
    has_more = True
    while has_more:
        messages, has_more = await call.instance.store.read_messages(chat_id, before_id=before, limit=PAGE)
        for entry in reversed(messages):
            before, fact = entry.seq, entry.fact
            if isinstance(fact, MessageAppended) and fact.role is Role.USER and fact.turn_id == entry.seq:
                yield task_id_of(chat_id, entry), Mark(entry.seq, "")
        has_more = has_more and bool(messages)
