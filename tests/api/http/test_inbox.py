"""What happened while nobody watched: told, listed, read, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.options import Timing, WatchTiming
from antiphon.testing.bus import FaultyBus
from antiphon.wire.codec import decode
from antiphon.wire.notify import ChatDiffStatus
from support.waiting import wait_until

from .door import Door, open_door

pytestmark = pytest.mark.anyio


async def inbox(door: Door, query: str = "") -> dict[str, Any]:
    answer = await door.ask("GET", f"/inbox{query}")
    assert answer.status == 200
    return dict(answer.json)


async def rested(door: Door, chat_id: str) -> None:
    """The chat's turn has ended, and nobody has watched it."""

    async def rests() -> bool:
        return (await door.chat(chat_id))["status"] in ("waiting", "error", "requires_action")

    await wait_until(rests)


async def told(door: Door, count: int) -> list[dict[str, Any]]:
    """The notifications, once there are so many."""

    async def are_there() -> Any:
        found = (await inbox(door))["notifications"]
        return found if len(found) >= count else None

    return list(await wait_until(are_there))


async def test_an_answer_that_nobody_watched_is_told(door: Door) -> None:
    chat_id = await door.make_chat("/say It is   **done**.", title="A question")
    (found,) = await told(door, 1)
    assert found["title"] == "A question has an answer"
    assert found["content"] == "It is **done**."
    assert found["icon"] == "answer"
    assert found["targets"] == [chat_id]
    assert found["user_id"] == door.owner_id
    assert found["actions"] == [{"label": "Open", "url": f"/#/chat/{chat_id}"}]
    assert found["read_at"] is None


async def test_failures_and_calls_that_wait_are_told_and_stops_are_not(door: Door) -> None:
    await door.make_chat("/fail auth", title="Broken")
    asking = await door.make_chat("/call pay {}", title="Paying")
    stopped = await door.make_chat("/stall 600", title="Stopped")
    turn_id = (await door.chat(stopped))["turn_id"]
    await door.ask("POST", f"/chats/{stopped}/interrupt", {"turn_id": turn_id})
    await rested(door, stopped)
    found = {item["title"]: item for item in await told(door, 2)}
    assert set(found) == {"Broken failed", "Paying needs you"}
    assert found["Paying needs you"]["content"] == "pay"
    assert found["Paying needs you"]["targets"] == [asking]


async def test_a_turn_that_is_watched_is_not_told(door: Door) -> None:
    chat_id = await door.make_chat()
    stream = await door.stream(f"/chats/{chat_id}/stream")
    await stream.until("caught_up")
    await door.send(chat_id, "/say seen")
    await stream.until("turn_ended")
    await stream.close()

    async def is_left() -> bool:
        return chat_id not in door.instance.watched

    await wait_until(is_left)
    await door.send(chat_id, "/say unseen")
    assert [item["content"] for item in await told(door, 1)] == ["unseen"]


async def test_notifications_are_read_one_by_one_and_all_at_once(door: Door) -> None:
    for number in range(3):
        await rested(door, await door.make_chat(f"/say {number}"))
    found = await told(door, 3)
    assert [item["content"] for item in found] == ["2", "1", "0"]
    assert (await inbox(door))["unread_count"] == 3
    answer = await door.ask("PUT", f"/inbox/{found[1]['id']}/read")
    assert answer.json["read_at"]
    assert (await door.ask("PUT", f"/inbox/{found[1]['id']}/read")).json == answer.json
    unread = await inbox(door, "?unread=true")
    assert [item["content"] for item in unread["notifications"]] == ["2", "0"]
    assert unread["unread_count"] == 2
    assert (await door.ask("PUT", "/inbox/read-all")).json == {"unread_count": 0}
    assert (await inbox(door, "?unread=true"))["notifications"] == []


async def test_the_inbox_is_paged(door: Door) -> None:
    for number in range(5):
        await rested(door, await door.make_chat(f"/say {number}"))
    await told(door, 5)
    seen, after = [], ""
    while True:
        page = await inbox(door, f"?limit=2{after}")
        seen += [item["content"] for item in page["notifications"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["4", "3", "2", "1", "0"]
    assert (await door.ask("GET", "/inbox?after=nothing")).code == "invalid"


async def test_another_owner_s_inbox_is_theirs(door: Door) -> None:
    await rested(door, await door.make_chat("/say mine"))
    (mine,) = await told(door, 1)
    other = await door.as_owner("somebody else")
    assert (await inbox(other))["notifications"] == []
    answer = await other.ask("PUT", f"/inbox/{mine['id']}/read")
    assert (answer.status, answer.code) == (404, "not_found")
    await other.ask("PUT", "/inbox/read-all")
    assert (await inbox(door))["unread_count"] == 1


async def test_what_is_told_is_pushed_to_its_owner_s_feed_once(door: Door) -> None:
    other = await door.as_owner("somebody else")
    feed, theirs = await door.stream("/feed"), await other.stream("/feed")
    await feed.until("resync")
    chat_id = await door.make_chat("/say pushed")
    event = (await feed.until("inbox")).json
    assert event["kind"] == "new"
    (listed,) = await told(door, 1)
    assert event["inbox_notification"] == listed
    await rested(other, await other.make_chat("/say theirs"))
    assert (await theirs.until("inbox")).json["inbox_notification"]["content"] == "theirs"
    await door.ask("DELETE", f"/chats/{chat_id}")
    assert (await inbox(door))["notifications"] == []
    await feed.close()
    await theirs.close()


async def test_a_lost_hint_is_made_good_by_the_poll() -> None:
    import random

    bus = FaultyBus(MemoryBus(), random.Random(1), drop=1.0)
    async with open_door(bus=bus, timing=Timing(watch=WatchTiming(poll_s=0.1))) as door:
        feed = await door.stream("/feed")
        await feed.until("resync")
        await door.make_chat("/say found")
        event = await feed.until("inbox")
        assert event.json["inbox_notification"]["content"] == "found"
        await door.make_chat("/say next")  # the poll that finds it has seen the first one again, and before it
        assert (await feed.until("inbox")).json["inbox_notification"]["content"] == "next"
        await feed.close()


async def test_a_chat_is_unread_until_it_is_read(door: Door) -> None:
    feed = await door.stream("/feed")
    chat_id = await door.make_chat("/say news")
    await rested(door, chat_id)
    assert (await door.chat(chat_id))["has_unread"] is True
    listed = (await door.ask("GET", "/chats")).json["chats"]
    assert next(chat for chat in listed if chat["id"] == chat_id)["has_unread"] is True
    await feed.until("chat", where=lambda event: event.json["chat"]["has_unread"])
    seq = (await door.chat(chat_id))["seq"]
    assert (await door.ask("PUT", f"/chats/{chat_id}/read")).json == {"seq": seq}
    await feed.until("chat", where=lambda event: not event.json["chat"]["has_unread"])
    assert (await door.chat(chat_id))["has_unread"] is False
    assert (await door.ask("PUT", f"/chats/{chat_id}/read", {"seq": 1})).json == {"seq": 1}
    assert (await door.chat(chat_id))["has_unread"] is False, "the cursor never goes back"
    answer = await door.ask("PUT", f"/chats/{chat_id}/read", {"seq": seq + 100})
    assert (answer.status, answer.code) == (422, "invalid")
    await feed.close()


async def test_the_diff_status_is_kept_shown_and_told(door: Door) -> None:
    chat_id = await door.make_chat()
    feed = await door.stream("/feed")
    stream = await door.stream(f"/chats/{chat_id}/stream")
    body = {
        "url": "https://example.org/pull/7",
        "pull_request_title": "Mend it",
        "additions": 3,
        "pr_number": 7,
        "approved": False,
        "refreshed_at": "2026-01-02T03:04:05Z",
    }
    answer = await door.ask("PUT", f"/chats/{chat_id}/diff-status", body)
    fact = await stream.until("diff_status_changed")
    assert fact.json["seq"] == answer.json["seq"]
    shown = (await door.chat(chat_id))["diff_status"]
    assert shown == fact.json["diff_status"]
    assert shown == {"chat_id": chat_id, "pull_request_draft": False, "changes_requested": False, "deletions": 0,
                     "changed_files": 0, **body}  # fmt: skip
    event = await feed.until("chat", where=lambda event: event.json["kind"] == "diff_status_change")
    assert event.json["chat"]["diff_status"] == shown
    assert decode(b"{}", ChatDiffStatus)
    again = await door.ask("PUT", f"/chats/{chat_id}/diff-status", body)
    assert again.json["seq"] == answer.json["seq"], "nothing changed"
    await feed.close()
    await stream.close()
