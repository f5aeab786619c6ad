"""What a watcher of a random history is sent: its facts and, between them, the deltas of each open draft."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from antiphon.core import facts as f
from antiphon.core.draft import Draft
from antiphon.core.events import Delta, Event
from antiphon.core.evolve import fold
from antiphon.core.model import Chat
from antiphon.core.parts import CallStarted, Reasoning, Text, ToolCallArgs, ToolCallOpened
from antiphon.wire.stream import Frame, decode_event, delta_frame, fact_frame, resync_frame

from .drafts import windows
from .history import History
from .random_histories import random_history

CHAT_ID = "c1"
Item = f.Entry | Delta
PIECES = (
    Text("wor"),
    Text("ds 😀"),
    Reasoning("hm"),
    ToolCallOpened("t", "run"),
    ToolCallArgs('{"a":'),
    CallStarted("m"),
)


class Timeline(NamedTuple):
    """`items` in the order in which they happened; `drafts` as they were when they were closed, by name."""

    items: list[Item]
    drafts: dict[int, Draft]
    entries: tuple[f.Entry, ...]


def make_timeline(seed: int, steps: int) -> Timeline:
    history = random_history(seed, steps)
    entries = tuple(_stored(history))
    random = Random(seed)
    items: list[Item] = []
    drafts: dict[int, Draft] = {}
    attempt = 0
    for entry in entries:
        items.append(entry)
        attempt = _holder_after(entry, attempt)
        draft = drafts.setdefault(entry.draft, Draft(entry.draft))
        if not attempt or entry.status == "waiting":
            continue
        for piece in random.choices(PIECES, k=random.randrange(4)):
            if isinstance(piece, ToolCallArgs) and not _in_call(draft):
                continue
            delta = draft.write(piece)
            assert delta is not None
            items.append(delta)
    return Timeline(items, drafts, entries)


def _stored(history: History) -> list[f.Entry]:
    """The entries as the store gives them back: each with the content that its fact refers to."""
    contents = {entry.seq: entry.content for entry in history.entries if entry.content is not None}
    edited = {}
    stored = []
    for entry in history.entries:
        fact = entry.fact
        if isinstance(fact, f.QueuedMessageEdited):
            edited[fact.queued_id] = entry.seq
        if isinstance(fact, f.MessageAppended) and fact.content_seq:
            assert fact.content_seq == edited.get(fact.queued_id, fact.queued_id)
            entry = replace(entry, content=contents[fact.content_seq])
        stored.append(entry)
    return stored


def _holder_after(entry: f.Entry, attempt: int) -> int:
    if isinstance(entry.fact, f.AttemptStarted):
        return entry.seq
    enders = (f.AttemptReleased, f.AttemptLost, f.TurnEnded, f.ActionRequired, f.ChatDeleted)
    return 0 if isinstance(entry.fact, enders) else attempt


def _in_call(draft: Draft) -> bool:
    read = draft.read(0)
    return bool(read) and isinstance(read[-1].part, ToolCallOpened | ToolCallArgs)


def chat_at(timeline: Timeline, seq: int) -> Chat:
    chat = fold(entry.recorded for entry in timeline.entries[:seq])
    assert chat is not None
    return chat


# --- what a server sends ----------------------------------------------------------------------------


def event_of(item: Item, position: int = 0) -> Event:
    """As it arrives: through bytes."""
    frame = fact_frame(CHAT_ID, item, position=position) if isinstance(item, f.Entry) else delta_frame(1, item)
    return read(frame)


def read(frame: Frame) -> Event:
    cursor = "" if frame.seq is None else f"{frame.seq}.{frame.position}"
    return decode_event(frame.data, cursor=cursor)


def resume(timeline: Timeline, upto: int, seq: int, position: int) -> list[Item]:
    """What is sent for the cursor `seq.position` by a server at which the first `upto` items have happened."""
    past = timeline.items[:upto]
    facts = [item for item in past if isinstance(item, f.Entry) and item.seq > seq]
    held = timeline.entries[seq - 1].draft if seq else 0
    last = facts[-1].draft if facts else held
    start = position if last == held else 0
    deltas = [item for item in past if isinstance(item, Delta) and item.draft == last]
    end = deltas[-1].to if deltas else 0
    rest = windows(timeline.drafts[last], start, end) if last in timeline.drafts and start < end else []
    return [*facts, *rest]


def resync_at(timeline: Timeline, upto: int) -> Event:
    """The whole state after the first `upto` items."""
    past = timeline.items[:upto]
    facts = [item for item in past if isinstance(item, f.Entry)]
    chat = chat_at(timeline, facts[-1].seq)
    contents = {entry.seq: entry.content for entry in facts if entry.content is not None}
    queued = [(item, contents[item.content_seq]) for item in (*chat.steering, *chat.queue)]
    draft = Draft(chat.draft)
    for delta in past:
        if isinstance(delta, Delta) and delta.draft == chat.draft:
            draft.apply(delta)
    frame = resync_frame(
        CHAT_ID,
        chat,
        reason="start",
        messages=_visible(facts),
        has_more=False,
        queued=queued,
        draft=draft,
    )
    return read(frame)


def _visible(facts: list[f.Entry]) -> list[f.Entry]:
    visible: list[f.Entry] = []
    for entry in facts:
        if isinstance(entry.fact, f.MessageAppended):
            visible.append(entry)
        elif isinstance(entry.fact, f.HistoryTruncated):
            visible = [one for one in visible if one.seq < entry.fact.from_message_id]
        elif isinstance(entry.fact, f.ChatDeleted):
            visible = []
    return visible
