"""Notices of a foreign peer on a chat's channel reach the watchers, and are never stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.hints import stream_channel
from antiphon.core import commands as c
from antiphon.core.events import Notice
from antiphon.core.view import View
from antiphon.server.open_instance import open_instance
from antiphon.wire.notices import TEXT_MAX, notices_of
from antiphon.wire.stream import decode_event
from api.http.api_client import open_api
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.anyio

RETRY = {
    "attempt": 2,
    "delay_ms": 1500,
    "error": "overloaded",
    "kind": "overloaded",
    "retrying_at": "2026-01-02T03:04:05Z",
}
ERROR = {"message": "no credit", "kind": "auth", "provider": "acme", "retryable": False, "status_code": 402}


def shown_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    fields: dict[str, Any] = {"retry": None, "error_payload": None, "error": None}
    return [json.loads(frame.data) for frame in notices_of(**fields | message).values()]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"retry": RETRY}, [{"type": "notice", "kind": "retry", "retry": RETRY}]),
        ({"error_payload": ERROR}, [{"type": "notice", "kind": "error", "error": ERROR}]),
        (
            {"error_payload": ERROR, "error": "no credit"},
            [{"type": "notice", "kind": "error", "error": ERROR}],
        ),
        (
            {"error": "legacy words"},
            [{"type": "notice", "kind": "error", "error": {"message": "legacy words", "retryable": False}}],
        ),
        ({"error": ""}, []),
        ({"error": 5, "retry": [], "error_payload": "x"}, []),
        ({"retry": {"attempt": "x"}, "error": "still shown"}, None),
    ],
)
def test_inline_fields_become_notices(message: dict[str, Any], expected: Any) -> None:
    shown = shown_of(message)
    if expected is None:
        assert [item["kind"] for item in shown] == ["error"]
    else:
        assert shown == expected


@pytest.mark.parametrize("text", ["x" * 100_000, "a\x1b[31mred\nid: 1\n\ndata: forged\u2028", "\ud800", "\0"])
def test_a_peers_words_are_one_bounded_line(text: str) -> None:
    for shown in shown_of({"error": text, "retry": RETRY | {"error": text}}):
        words = shown["error"]["message"] if shown["kind"] == "error" else shown["retry"]["error"]
        assert len(words) <= TEXT_MAX
        assert words.isprintable()


def publish(bus: MemoryBus, chat_id: str, **message: Any) -> None:
    bus.publish_nowait(stream_channel(chat_id), json.dumps(message).encode())


async def test_a_watcher_receives_each_foreign_notice_once_and_none_of_this_project() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with instance.watch.open_watcher(chat_id, (1, 0)) as watcher:
            assert (await watcher.next_batch()).frames[-1].type == "caught_up"
            publish(bus, chat_id, seq=1, retry=RETRY, error="own message: a fact has it")
            for number in range(500):
                publish(bus, chat_id, retry=RETRY | {"attempt": number})
            publish(bus, chat_id, error_payload=ERROR)
            await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE_S):
                batch = await watcher.next_batch()
            assert [(frame.type, frame.seq) for frame in batch.frames] == [("notice", None)] * 2
            assert b"\nid:" not in batch.data
            assert not batch.data.startswith(b"id:")
            assert json.loads(batch.frames[0].data)["retry"]["attempt"] == 499, "the newest of each kind"
            assert (batch.seq, batch.position) == (1, 0)
            await instance.chats.change(chat_id, c.Rename(title="u"))
            async with asyncio.timeout(DEADLINE_S):
                assert (await watcher.next_batch()).frames[0].type == "title_changed"
        assert (await instance.chats.get(chat_id)).seq == 2


async def test_a_notice_reaches_the_present_watchers_but_no_later_one() -> None:
    bus = MemoryBus()
    async with open_instance(bus=bus, drain_s=0) as instance:
        chat_id = (await instance.chats.create(title="t")).chat_id
        async with (
            instance.watch.open_watcher(chat_id, (1, 0)) as one,
            instance.watch.open_watcher(chat_id, None) as two,
        ):
            publish(bus, chat_id, error="foreign")
            for watcher in (one, two):
                types: list[str] = []
                async with asyncio.timeout(DEADLINE_S):
                    while "notice" not in types:
                        types += [frame.type for frame in (await watcher.next_batch()).frames]
                assert types.count("notice") == 1
            async with instance.watch.open_watcher(chat_id, (1, 0)) as late:
                assert [frame.type for frame in (await late.next_batch()).frames] == ["caught_up"]


async def test_over_http_a_notice_has_no_id_and_the_cursor_stays() -> None:
    bus = MemoryBus()
    async with open_api(bus=bus) as api:
        chat_id = await api.make_chat()
        stream = await api.stream(f"/chats/{chat_id}/stream")
        caught_up = await stream.until("caught_up")
        publish(bus, chat_id, retry=RETRY)
        notice = await stream.until("notice")
        assert (notice.id, notice.json["retry"]["error"]) == ("", "overloaded")
        await stream.close()
        again = await api.stream(f"/chats/{chat_id}/stream", cursor=caught_up.id)
        assert (await again.until("caught_up")).id == caught_up.id
        await again.close()


def test_a_notice_is_an_event_that_a_view_shows_until_the_next_fact() -> None:
    event = decode_event(b'{"type":"notice","kind":"error","error":{"message":"no credit"}}')
    assert event == Notice(kind="error", error={"message": "no credit"})
    view = View()
    view.apply(event)
    assert (view.notice, view.seq, view.cursor) == (event, 0, "0.0")
    fact = {"type": "title_changed", "seq": 1, "at": "", "status": "waiting", "draft": 0, "title": "t", "by": "model"}
    view.apply(decode_event(json.dumps(fact).encode(), cursor="1.0"))
    assert view.notice is None
