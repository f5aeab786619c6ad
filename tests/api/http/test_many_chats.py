"""`GET /streams`: several chats on one connection, with a cursor for each in every id."""

from __future__ import annotations

import random

import pytest

from .api_client import ApiClient
from .events import check_cursors, fold, shown
from .wire import SseEvent, Stream

pytestmark = pytest.mark.anyio

SCENE = '/rate 2000\n/think hm\n/tokens 20\n/call nothing {"a": 1}\n/say done'


def events_of(seen: list[SseEvent], chats: list[str], number: int) -> list[SseEvent]:
    """The events of one chat with its own cursors, as on its own stream."""
    found = [event for event in seen if event.json.get("chat_id") == chats[number]]
    return [event._replace(id=event.id.split(",")[number] if event.id else "") for event in found]


async def both_ended(stream: Stream) -> None:
    for _ in range(2):
        await stream.until("turn_ended")


async def test_each_chat_is_followed_and_resumes_at_any_id(api: ApiClient) -> None:
    chats = [await api.make_chat() for _ in range(2)]
    path = "/streams?" + "&".join(f"chat={chat_id}" for chat_id in chats)
    stream = await api.stream(f"{path}&after=0,0")
    for chat_id in chats:
        await api.send(chat_id, SCENE)
    await both_ended(stream)
    await stream.close()
    seen = stream.seen
    for number in range(2):
        check_cursors(events_of(seen, chats, number))
    for place in random.Random(1).sample([n for n, event in enumerate(seen) if event.id], 8):
        rest = await api.stream(path, cursor=seen[place].id)
        for _ in range(2):
            await rest.until("caught_up")
        await rest.close()
        for number, chat_id in enumerate(chats):
            before = events_of(seen[: place + 1], chats, number)
            whole = fold(events_of(rest.seen, chats, number), fold(before))
            own = await api.events(f"/chats/{chat_id}/stream?after=0&until=idle")
            assert shown(whole) == shown(fold(own))


async def test_without_a_cursor_each_chat_begins_with_a_resync(api: ApiClient) -> None:
    chats = [await api.make_chat("/say hi") for _ in range(3)]
    for chat_id in chats:
        await api.rested(chat_id)
    path = "/streams?" + "&".join(f"chat={chat_id}" for chat_id in chats)
    stream = await api.stream(f"{path}&after=,1.0,&commit=ref")
    for _ in range(3):
        await stream.until("caught_up")
    firsts = {event.json["chat_id"]: event.type for event in reversed(stream.seen)}
    assert [firsts[chat_id] for chat_id in chats] == ["resync", "message_appended", "resync"]
    assert stream.seen[-1].id.count(",") == 2
    await api.ask("DELETE", f"/chats/{chats[1]}")
    ended = await stream.until("ended")
    assert (ended.json["chat_id"], ended.json["reason"], ended.id) == (chats[1], "deleted", "")
    await api.send(chats[2], "/say more")
    assert (await stream.until("turn_ended")).json["chat_id"] == chats[2]
    await stream.close()
    resumed = await api.stream(path, cursor=stream.seen[-1].id)
    assert (await resumed.until("ended")).json["chat_id"] == chats[1]
    await resumed.until("caught_up")
    await resumed.close()
    assert (await api.ask("GET", path)).status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("chat=MINE&chat=MINE", 422),
        ("chat=MINE&after=0,0", 422),
        ("chat=MINE&after=x", 422),
        ("chat=MINE&after=99", 422),
        ("chat=MINE&commit=x", 422),
        ("chat=MINE&chat=THEIRS", 404),
        ("chat=MINE&chat=nothing", 404),
        ("&".join(f"chat={n}" for n in range(101)), 422),
    ],
)
async def test_requests_that_are_refused_leave_no_watcher(api: ApiClient, query: str, status: int) -> None:
    other = await api.as_owner("another")
    mine, theirs = await api.make_chat(), await other.make_chat()
    answer = await api.ask("GET", f"/streams?{query.replace('MINE', mine).replace('THEIRS', theirs)}")
    assert answer.status == status
    assert len(api.instance.watch) == 0
