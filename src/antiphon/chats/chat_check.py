"""Examines one chat for the doctor: folds its log with the assertions on, and checks what is stored beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from antiphon.chats.counting import sum_of, usage_of_append
from antiphon.core import facts as f
from antiphon.core.evolve import evolve
from antiphon.core.model import Chat
from antiphon.core.parts import file_ids_of
from antiphon.core.values import Value
from antiphon.errors import AntiphonError, Unavailable
from antiphon.ports import DayUsage, Store
from antiphon.wire.codec import decode, decode_content
from antiphon.wire.stream import fact_frame

PAGE_MAX = 500
"""Maximum number of facts or messages in one read."""
PAGE_BYTES_MAX = 8 * 1024 * 1024
"""Maximum content in one read, in bytes."""
RESTORE = "its checksum differs; restore this chat from a backup"


class Finding(Value):
    """Something that is wrong, at `seq`; 0 stands for the chat as a whole."""

    chat_id: str
    what: str
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.chat_id}{f' at {self.seq}' if self.seq else ''}: {self.what}"


class Examined:
    """One chat, with the findings. `is_moving`: it changed during every try, so there are none."""

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.chat: Chat | None = None
        self.facts = 0
        self.visible: list[int] = []
        self.findings: list[Finding] = []
        self.usage: list[DayUsage] = []
        """What the facts say that the chat's owner has used; one row for each day and model."""
        self.is_moving = False
        self._folded: Chat | None = None
        self._last: f.Entry | None = None
        self._messages: dict[int, f.Entry] = {}
        self._hidden_by: dict[int, int] = {}
        self._named_files: dict[str, int] = {}
        """The uploaded files that messages refer to, each with the seq of such a message."""

    def report(self, what: str, seq: int = 0) -> None:
        """Add a finding."""
        self.findings.append(Finding(chat_id=self.chat_id, what=what, seq=seq))

    async def examine(self, store: Store) -> None:
        """Read the chat and all that is stored with it, and report what is wrong."""
        self.chat = await store.load(self.chat_id)
        if self.chat is None:
            self.report("it has no state")
            return
        if not await self._read_log(store):
            return
        if self.chat.is_deleted:
            await self._check_tombstone(store, self.chat)
        else:
            self._check_state(self.chat)
            await self._check_history(store)
            await self._check_queue(store, self.chat)
            await self._check_for_workers(store, self.chat)
            await self._check_files(store)
        await self._check_receipts(store)
        await self._check_listing(store, self.chat)

    # --- the log

    async def _read_log(self, store: Store) -> bool:
        """Fold the log; False if it cannot be folded to its end."""
        assert self.chat is not None
        after, limit = 0, PAGE_MAX
        while True:
            try:
                page = await store.read_entries(self.chat_id, after, limit=limit, bytes_max=PAGE_BYTES_MAX)
            except Unavailable as error:
                if limit == 1:
                    self.report(f"this fact cannot be read: {error}", after + 1)
                    return False
                limit = 1  # one by one, to report which fact it is
                continue
            if not page:
                return True
            self._count_usage(page, self.chat)
            for entry in page:
                if not self._fold(entry, self.chat):
                    return False
            await self._check_contents(store, page[0].seq, page[-1].seq)
            after = page[-1].seq

    def _count_usage(self, page: Sequence[f.Entry], chat: Chat) -> None:
        sums = {(row.day, row.model): row for row in self.usage}
        for row in usage_of_append(chat.owner_id, page):
            before = sums.get((row.day, row.model))
            sums[row.day, row.model] = row if before is None else sum_of(before, row)
        self.usage = list(sums.values())

    def _fold(self, entry: f.Entry, chat: Chat) -> bool:
        self.facts += 1
        self._last = entry
        if chat.is_deleted:
            return True
        expected = self._folded.seq + 1 if self._folded else 1
        if entry.seq != expected:
            self.report(f"fact {expected} is missing: after {expected - 1} comes {entry.seq}", expected)
            return False
        try:
            self._folded = folded = evolve(self._folded, entry.recorded)
        except Exception as error:  # a damaged fact may break the fold in any way
            self.report(f"{f.kind_of(entry.fact)} cannot follow: {error or type(error).__name__}", entry.seq)
            return False
        if (entry.status, entry.draft) != (folded.status, folded.draft):
            marked = f"{entry.status}, draft {entry.draft}"
            self.report(f"it is marked {marked}, the fold says {folded.status}, draft {folded.draft}", entry.seq)
        self._track_message(entry)
        return True

    def _track_message(self, entry: f.Entry) -> None:
        if isinstance(entry.fact, f.MessageAppended):
            self._messages[entry.seq] = entry
            self._hidden_by[entry.seq] = 0
        elif isinstance(entry.fact, f.HistoryTruncated):
            for seq, by in self._hidden_by.items():
                if seq >= entry.fact.from_message_id and not by:
                    self._hidden_by[seq] = entry.seq

    # --- the state

    def _check_state(self, chat: Chat) -> None:
        if self._folded is None or self._last is None:
            self.report("it has a state but no facts")
            return
        if self._last.more:
            self.report("its last append is not whole", self._last.seq)
        if self._folded.seq != chat.seq:
            self.report(f"the state is that of {chat.seq}, the log ends at {self._folded.seq}", self._folded.seq)
        elif self._folded != chat:
            names = ", ".join(_differences(self._folded, chat))
            self.report(f"the state differs from the fold of the log in: {names}", chat.seq)

    async def _check_tombstone(self, store: Store, chat: Chat) -> None:
        if self.facts != 1 or self._last is None or self._last.seq != chat.seq:
            self.report(f"a deleted chat keeps its last fact only, this one has {self.facts}", chat.seq)
        elif not isinstance(self._last.fact, f.ChatDeleted):
            self.report("the last fact of a deleted chat says so, this one does not", chat.seq)
        messages, _ = await store.read_messages(self.chat_id, limit=1)
        if messages or await store.read_contents(self.chat_id, range(1, min(chat.seq, PAGE_MAX) + 1)):
            self.report("it is deleted but its contents are not", chat.seq)

    # --- beside the log

    async def _check_contents(self, store: Store, first_seq: int, last_seq: int) -> None:
        """Check the bytes of every content, hidden ones included."""
        for seq in await store.damaged_contents(self.chat_id, first_seq, last_seq):
            self.report(f"its content is not what was written: {RESTORE}", seq)

    async def _check_receipts(self, store: Store) -> None:
        for client_id in await store.damaged_receipts(self.chat_id):
            self.report(f"the receipt of {client_id!r} is not what was written: {RESTORE}")

    async def _check_history(self, store: Store) -> None:
        for seq, entry in self._messages.items():
            by = self._hidden_by[seq]
            if entry.hidden_by != by:
                marked = f"hidden by {entry.hidden_by}" if entry.hidden_by else "visible"
                self.report(f"it is {marked}, by the log it is {f'hidden by {by}' if by else 'visible'}", seq)
            elif not by:
                self._check_content(entry)
        self.visible = [seq for seq, by in self._hidden_by.items() if not by]
        read = await _visible_ids(store, self.chat_id)
        for seq in sorted(set(read) ^ set(self.visible)):
            where = "missing from" if seq in self.visible else "shown in"
            self.report(f"this message is {where} the history", seq)

    def _check_content(self, entry: f.Entry) -> None:
        assert isinstance(entry.fact, f.MessageAppended)
        self._check_size(entry.content, entry.fact.content_size, entry.seq)
        self._check_readers(entry)

    def _check_readers(self, entry: f.Entry) -> None:
        """Check that every reader can show a message: a worker reads its content, a client the event with it."""
        try:
            self._track_files(entry.content, entry.seq)
            decode(fact_frame(self.chat_id, entry, position=0).data, dict[str, Any])
        except (AntiphonError, ValueError) as error:
            self.report(f"it cannot be shown: {error}", entry.seq)

    async def _check_queue(self, store: Store, chat: Chat) -> None:
        queue = (*chat.steering, *chat.queue)
        contents = await store.read_contents(self.chat_id, [item.content_seq for item in queue])
        for item in queue:
            self._check_readable(contents.get(item.content_seq), item.id)
            self._check_size(contents.get(item.content_seq), item.content_size, item.id)

    async def _check_for_workers(self, store: Store, chat: Chat) -> None:
        """Check the agent's state, and the beginning of an answer that the next attempt gets."""
        for seq in filter(None, (chat.state_seq, chat.beginning_seq)):
            content = (await store.read_contents(self.chat_id, [seq])).get(seq)
            page = await store.read_entries(self.chat_id, seq - 1, limit=1, bytes_max=PAGE_BYTES_MAX)
            fact = page[0].fact if page else None
            is_its = isinstance(fact, f.StateChanged | f.AttemptLost | f.AttemptReleased)
            self._check_size(content, getattr(fact, "content_size", 0) if is_its else 0, seq)

    def _check_readable(self, content: bytes | None, seq: int) -> None:
        try:
            self._track_files(content, seq)
        except AntiphonError as error:
            self.report(f"it cannot be shown: {error}", seq)

    def _track_files(self, content: bytes | None, seq: int) -> None:
        for file_id in file_ids_of(decode_content(content or b"[]")):
            self._named_files[file_id] = seq

    async def _check_files(self, store: Store) -> None:
        """Check that the chat uses every file that it names: a file without a use expires."""
        used = await store.files_of_chat(self.chat_id) if self._named_files else frozenset()
        for file_id, seq in self._named_files.items():
            if file_id not in used:
                self.report(f"it names the file {file_id}, which does not exist or is not kept for this chat", seq)

    def _check_size(self, content: bytes | None, size: int, seq: int) -> None:
        if content is None and size:
            self.report("its content is missing", seq)
        elif len(content or b"") != size:
            self.report(f"its content has {len(content or b'')} bytes instead of {size}", seq)

    async def _check_listing(self, store: Store, chat: Chat) -> None:
        """Check that the listing finds this chat first at or after its place, by everything it can be listed by."""
        try:
            found = await store.list_chats(
                chat.owner_id,
                parent=chat.parent.chat_id if chat.parent else None,
                archived=None if chat.is_deleted else chat.is_archived,
                label=next(iter(chat.labels.items()), None),
                title=chat.title,
                limit=1,
                after=(chat.updated_at, self.chat_id + "\x01"),
            )
        except Unavailable:
            return  # the next chat in the listing cannot be read, which is a finding of that chat
        is_listed = bool(found) and found[0].chat_id == self.chat_id
        if chat.is_deleted and is_listed:
            self.report("it is deleted but listed", chat.seq)
        elif not chat.is_deleted and not is_listed:
            self.report("it is not listed where its owner, title, labels, archived and updated_at say", chat.seq)


async def _visible_ids(store: Store, chat_id: str) -> list[int]:
    ids: list[int] = []
    before, has_more = 0, True
    while has_more:
        page, has_more = await store.read_messages(chat_id, before_id=before, limit=PAGE_MAX)
        ids = [entry.seq for entry in page] + ids
        before = ids[0] if ids else 0
    return ids


def _differences(folded: Chat, stored: Chat) -> Iterator[str]:
    for name in Chat.__struct_fields__:
        if getattr(folded, name) != getattr(stored, name):
            yield f"{name} ({getattr(stored, name)!r} instead of {getattr(folded, name)!r})"[:200]
