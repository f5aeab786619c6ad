"""The cursor of a stream and the delay before a reconnect, without I/O."""

from __future__ import annotations

from random import Random

import pytest

from antiphon.client.follow import FollowChat, FollowFeed
from antiphon.client.timing import BACKOFF, retry_delay_s
from antiphon.core.events import Bye, CaughtUp
from antiphon.errors import CursorInvalid, InstanceMissing, PeerError, Unavailable
from antiphon.wire.sse import SseEvent

CAUGHT_UP = SseEvent(event="caught_up", data=b'{"type":"caught_up"}', id="7.12")


def follow(*, after: str | None = None, until_idle: bool = False, by_ref: bool = False) -> FollowChat:
    return FollowChat("abc", after=after, until_idle=until_idle, by_ref=by_ref, random=Random(1))


def bye(reason: str, retry_ms: int | None = None) -> SseEvent:
    more = "" if retry_ms is None else f',"retry_ms":{retry_ms}'
    return SseEvent(event="bye", data=f'{{"type":"bye","reason":"{reason}"{more}}}'.encode())


def test_the_next_connection_resumes_after_the_last_event() -> None:
    following = follow(until_idle=True, by_ref=True)
    first = following.request()
    assert "last-event-id" not in first.headers
    assert (first.path, first.query) == ("/api/v1/chats/abc/stream", {"until": "idle", "commit": "ref"})
    assert following.handle(CAUGHT_UP) == CaughtUp(cursor="7.12")
    assert following.request().headers["last-event-id"] == "7.12"


def test_a_given_cursor_is_used_from_the_start() -> None:
    assert follow(after="0").request().headers["last-event-id"] == "0"
    with pytest.raises(CursorInvalid):
        follow(after="yesterday")


def test_pings_are_skipped_and_do_not_move_the_cursor() -> None:
    following = follow(after="3")
    assert following.handle(SseEvent(event="ping", data=b'{"type":"ping"}')) is None
    assert following.cursor == "3"


@pytest.mark.parametrize("reason", ["idle", "deleted", "revoked"])
def test_some_byes_are_final_and_yielded(reason: str) -> None:
    following = follow()
    assert following.handle(bye(reason)) == Bye(reason=reason)
    assert following.is_closed


@pytest.mark.parametrize("reason", ["slow", "shutdown", "something newer"])
def test_other_byes_mean_reconnect(reason: str) -> None:
    following = follow()
    assert following.handle(bye(reason, 500)) is None
    assert (following.is_connection_done, following.is_closed) == (True, False)
    assert 0.5 <= following.wait_s(None) <= 0.5 + BACKOFF.first_s
    following.request()
    assert not following.is_connection_done


def test_the_delay_grows_with_failed_tries_and_is_reset_by_an_event() -> None:
    following = follow()
    waits = [following.wait_s(InstanceMissing("gone")) for _ in range(40)]
    assert max(waits) <= BACKOFF.min_s + BACKOFF.max_s
    assert max(waits) > BACKOFF.max_s / 2
    following.handle(CAUGHT_UP)
    assert following.wait_s(None) <= BACKOFF.min_s + BACKOFF.first_s


def test_the_servers_retry_delay_is_honoured() -> None:
    assert 3.0 <= follow().wait_s(Unavailable("stopping", 3000)) <= 3.0 + BACKOFF.first_s


def test_backoff_is_jittered_over_its_whole_range() -> None:
    random = Random(7)
    waits = [retry_delay_s(3, random=random) for _ in range(400)]
    assert min(waits) < BACKOFF.min_s + 0.05 * BACKOFF.first_s * 4
    assert BACKOFF.min_s + 0.95 * BACKOFF.first_s * 4 < max(waits) <= BACKOFF.min_s + BACKOFF.first_s * 4


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"type":"delta"}', b"\xff"])
def test_an_invalid_event_is_the_peers_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        follow().handle(SseEvent(event="delta", data=data))


def test_the_feed_yields_its_events() -> None:
    following = FollowFeed(random=Random(1))
    event = following.handle(SseEvent(event="chat", data=b'{"type":"chat","kind":"created","chat":{"id":"a"}}'))
    assert event is not None
    assert (event.type, event.data) == ("chat", {"kind": "created", "chat": {"id": "a"}})
    with pytest.raises(PeerError):
        following.handle(SseEvent(event="chat", data=b"nonsense"))
