"""What a viewer shows is the fold of its events, wherever the stream was cut and whatever came twice."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core import facts as f
from antiphon.core.events import Bye, CaughtUp, Delta, Ping
from antiphon.core.model import Chat
from antiphon.core.parts import Text
from antiphon.core.view import View
from antiphon.errors import PeerError

from .timelines import Timeline, chat_at, event_of, make_timeline, resume, resync_at

properties = settings(max_examples=60, deadline=None, derandomize=True)
seeds = st.integers(0, 60)


@cache
def timeline_of(seed: int) -> Timeline:
    return make_timeline(seed, 90)


def feed(view: View, items: list[Any]) -> View:
    for item in items:
        view.apply(event_of(item))
    return view


@cache
def whole(seed: int) -> View:
    return feed(View(), timeline_of(seed).items)


def shown(view: View) -> dict[str, Any]:
    return {
        "cursor": view.cursor,
        "status": view.status,
        "messages": view.messages,
        "queued_messages": view.queued_messages,
        "title": view.title,
        "turn_id": view.turn_id,
        "last_error": view.last_error,
        "retry": view.retry,
        "is_deleted": view.is_deleted,
        "draft": (view.draft.name, view.draft.read(0), view.draft.content()),
    }


def agrees(view: View, chat: Chat) -> None:
    assert (view.seq, view.status, view.draft.name) == (chat.seq, chat.status, chat.draft)
    if chat.is_deleted:
        assert view.is_deleted
        assert view.messages == view.queued_messages == []
        return
    assert [item["id"] for item in view.queued_messages] == [item.id for item in (*chat.steering, *chat.queue)]
    assert [item["promoted"] for item in view.queued_messages] == [
        item.is_promoted for item in (*chat.steering, *chat.queue)
    ]
    assert (view.turn_id or 0, view.title) == (chat.turn_id, chat.title)
    assert (view.last_error or {}).get("message") == (chat.last_error.message if chat.last_error else None)


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_after_each_fact_the_view_shows_what_the_chat_is(seed: int) -> None:
    timeline, view = timeline_of(seed), View()
    for item in timeline.items:
        view.apply(event_of(item))
        if isinstance(item, f.Entry):
            agrees(view, chat_at(timeline, item.seq))
        else:
            assert view.draft.position == item.to


@properties
@given(seeds, st.data())
def test_a_stream_cut_anywhere_is_resumed_by_its_cursor(seed: int, data: st.DataObject) -> None:
    """Any number of times, on a server that has come further meanwhile."""
    timeline, view = timeline_of(seed), View()
    at = 0
    for _ in range(data.draw(st.integers(1, 4))):
        stop = data.draw(st.integers(at, len(timeline.items)))
        feed(view, timeline.items[at:stop])
        at = data.draw(st.integers(stop, len(timeline.items)))
        seq, position = (int(number) for number in view.cursor.split("."))
        feed(view, resume(timeline, at, seq, position))
    feed(view, timeline.items[at:])
    assert shown(view) == shown(whole(seed))


@settings(properties, max_examples=25)
@given(seeds, st.data())
def test_a_repeated_event_changes_nothing(seed: int, data: st.DataObject) -> None:
    timeline, view = timeline_of(seed), View()
    for i, item in enumerate(timeline.items):
        view.apply(event_of(item))
        if data.draw(st.integers(0, 3)) == 0:
            before = shown(view)
            feed(view, timeline.items[data.draw(st.integers(0, i)) : i + 1])
            assert shown(view) == before


@properties
@given(seeds, st.data())
def test_a_missing_event_is_reported_as_a_gap(seed: int, data: st.DataObject) -> None:
    timeline = timeline_of(seed)
    missing = data.draw(st.integers(0, len(timeline.items) - 1))
    lost = timeline.items[missing]
    rest = timeline.items[missing + 1 :]
    view = feed(View(), timeline.items[:missing])
    if isinstance(lost, Delta):
        rest = [item for item in rest if isinstance(item, Delta) and item.draft == lost.draft]
    if not rest or isinstance(getattr(rest[0], "fact", None), f.ChatDeleted):
        return
    if isinstance(rest[0], Delta) and isinstance(lost, f.Entry) and type(lost.fact) not in f.OPENS_DRAFT:
        return
    before = shown(view)
    with pytest.raises(PeerError, match="a gap"):
        view.apply(event_of(rest[0]))
    assert shown(view) == before


@properties
@given(seeds, st.data())
def test_a_resync_gives_the_same_view_as_the_whole_stream(seed: int, data: st.DataObject) -> None:
    timeline = timeline_of(seed)
    at = data.draw(st.integers(1, len(timeline.items)))
    long, short = feed(View(), timeline.items[:at]), View()
    event = resync_at(timeline, at)
    short.apply(event)
    assert event.cursor == short.cursor == long.cursor
    rest = timeline.items[at:]
    left, right = shown(feed(long, rest)), shown(feed(short, rest))
    if long.is_deleted and not rest:
        return  # the state of a deleted chat is never sent
    reported_by_facts_alone = ("retry", "last_error")
    for name in left.keys() - set(reported_by_facts_alone):
        assert left[name] == right[name], name
    assert bool(long.last_error) == bool(short.last_error)


def test_a_fact_that_replaces_the_draft_clears_the_preview() -> None:
    timeline = timeline_of(1)
    view = View()
    for item in timeline.items:
        before = view.draft.name
        view.apply(event_of(item))
        if isinstance(item, f.Entry):
            assert view.draft.name == item.draft
            assert view.draft.position == 0 or item.draft == before


def test_a_delta_of_an_older_draft_is_stale_and_dropped() -> None:
    view = View()
    feed(view, list(timeline_of(1).entries[:4]))
    before = shown(view)
    view.apply(Delta(draft=view.draft.name - 1, from_=5, to=6, part_index=0, part=Text("x")))
    assert shown(view) == before


def test_a_delta_of_a_newer_draft_comes_before_its_facts_and_is_a_gap() -> None:
    view = feed(View(), list(timeline_of(1).entries[:4]))
    with pytest.raises(PeerError):
        view.apply(Delta(draft=view.seq + 1, from_=0, to=1, part_index=0, part=Text("x")))


def test_a_view_accepts_chat_deleted_after_a_gap() -> None:
    view = feed(View(), list(timeline_of(1).entries[:4]))
    tombstone = f.Entry(recorded=f.Recorded(90, 1, f.ChatDeleted()), status="waiting", draft=view.draft.name)  # type: ignore[arg-type]
    view.apply(event_of(tombstone))
    assert view.is_deleted
    assert (view.seq, view.messages) == (90, [])


def test_the_stream_s_own_events_change_no_content() -> None:
    view = feed(View(), list(timeline_of(1).entries))
    before = shown(view)
    for event in (CaughtUp(), Ping(), Bye(reason="shutdown")):
        view.apply(event)
    assert shown(view) == before
    assert (view.is_caught_up, view.bye) == (True, "shutdown")
