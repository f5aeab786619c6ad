"""One chat in the store in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from msgspec.structs import replace

from antiphon.core.facts import ChatDeleted, Entry, HistoryTruncated, MessageAppended
from antiphon.core.model import Chat
from antiphon.core.parts import Role
from antiphon.ports import Append, FlushedDelta, Receipt, Version
from antiphon.wire.log import content_seq, decode_fact, encode_fact


class Message:
    """A message of the history. One that was queued before has a `queued_id`."""

    __slots__ = ("hidden_by", "queued_id", "role")

    def __init__(self, role: Role, queued_id: int) -> None:
        self.role = role
        self.queued_id = queued_id
        self.hidden_by = 0


class Lease:
    """The lease of a chat's attempt; `ends_at` is in microseconds."""

    __slots__ = ("attempt", "ends_at", "instance_id")

    def __init__(self, attempt: int, instance_id: str, ends_at: int) -> None:
        self.attempt = attempt
        self.instance_id = instance_id
        self.ends_at = ends_at


class MemoryChat:
    """All data of one chat. `entries` begin with seq `first_seq` and have no content, which is in `contents`."""

    __slots__ = (
        *("append_ids", "chat", "checksums", "contents", "entries", "first_seq", "flushed", "messages", "receipts"),
        "seqs",
    )

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.first_seq = 1
        self.entries: list[Entry] = []
        self.append_ids: dict[int, str] = {}
        self.contents: dict[int, bytes] = {}
        self.checksums: dict[int, bytes] = {}
        self.messages: dict[int, Message] = {}
        self.seqs: list[int] = []
        self.receipts: dict[str, Receipt] = {}
        self.flushed: dict[int, FlushedDelta] = {}

    def visible(self, seqs: Iterable[int], limit: int, as_of: int | None = None) -> list[int]:
        """The first `limit` of these messages that are not hidden, or were not after the fact `as_of`."""
        found = []
        for seq in seqs:
            hidden_by = self.messages[seq].hidden_by
            if not hidden_by if as_of is None else seq <= as_of and (not hidden_by or hidden_by > as_of):
                found.append(seq)
                if len(found) == limit:
                    break
        return found

    def read(self, seq: int, as_of: int | None = None) -> Entry:
        """The entry with its content; one that is hidden has it in a read of the past only."""
        entry = self.entries[seq - self.first_seq]
        message = self.messages.get(seq)
        hidden_by = message.hidden_by if message and as_of is None else 0
        content = None if hidden_by else self.contents.get(content_seq(seq, entry.fact))
        return replace(entry, content=content, hidden_by=hidden_by)

    def version(self, hidden_by: int, first: int) -> Version:
        """What the truncation `hidden_by` replaced, beginning with the message `first`."""
        before = self.visible(reversed(self.seqs[: bisect_left(self.seqs, first)]), 1, as_of=hidden_by)
        at = self.entries[hidden_by - self.first_seq].recorded.at
        return Version(seq=hidden_by, at=at, from_message_id=first, after_message_id=before[0] if before else 0)

    def is_written(self, append: Append) -> bool:
        """Whether this same append is stored after `after_seq`: its answer was lost, and it must not be written
        twice."""
        return append.append_id in (self.append_ids.get(append.after_seq + 1), self.append_ids.get(append.chat.seq))

    def add(self, entry: Entry, append_id: str) -> None:
        """Add the next fact."""
        fact = entry.fact
        self.entries.append(entry)
        if isinstance(fact, MessageAppended):
            self.messages[entry.seq] = Message(fact.role, fact.queued_id)
            self.seqs.append(entry.seq)
        elif isinstance(fact, HistoryTruncated):
            for seq in self.seqs[bisect_left(self.seqs, fact.from_message_id) :]:
                self.messages[seq].hidden_by = self.messages[seq].hidden_by or entry.seq
        elif isinstance(fact, ChatDeleted):
            self._scrub(entry, append_id)

    def _scrub(self, last: Entry, append_id: str) -> None:
        """A deleted chat keeps its tombstone (the last fact) and its receipts."""
        self.first_seq, self.entries = last.seq, [last]
        self.seqs.clear()
        self.append_ids = {last.seq: append_id}
        for part in (self.contents, self.checksums, self.messages, self.flushed):
            part.clear()


def stored_entry(entry: Entry) -> Entry:
    """The entry as it is read from a log, without its content."""
    fact = decode_fact(encode_fact(entry.fact))
    recorded = replace(entry.recorded, fact=fact)
    return replace(entry, recorded=recorded, content=None, hidden_by=0)
