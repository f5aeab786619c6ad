"""Notifications of unwatched events: created, listed, read, and visible to their owner only."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.options import Timing, WatchTiming
from antiphon.testing.bus import FaultyBus
from antiphon.wire.codec import decode
from antiphon.wire.notify import ChatDiffStatus
from support.waiting import wait_until

from .api_client import ApiClient, open_api

pytestmark = pytest.mark.anyio


async def inbox(api: ApiClient, query: str = "") -> dict[str, Any]:
    answer = await api.ask("GET", f"/inbox{query}")
    assert answer.status == 200
    return dict(answer.json)


async def rested(api: ApiClient, chat_id: str) -> None:
    """Wait until the turn of the chat has ended, without watching it."""

    async def rests() -> bool:
        return (await api.chat(chat_id))["status"] in ("waiting", "error", "requires_action")

    await wait_until(rests)


async def notifications(api: ApiClient, count: int) -> list[dict[str, Any]]:
    """Wait for `count` notifications."""

    async def are_there() -> Any:
        found = (await inbox(api))["notifications"]
        return found if len(found) >= count else None

    return list(await wait_until(are_there))


async def test_an_unwatched_answer_creates_a_notification(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say It is   **done**.", title="A question")
    (found,) = await notifications(api, 1)
    assert found["title"] == "A question has an answer"
    assert found["content"] == "It is **done**."
    assert found["icon"] == "answer"
    assert found["targets"] == [chat_id]
    assert found["user_id"] == api.owner_id
    assert found["actions"] == [{"label": "Open", "url": f"/#/chat/{chat_id}"}]
    assert found["read_at"] is None


async def test_failures_and_waiting_calls_create_notifications_and_interrupts_do_not(api: ApiClient) -> None:
    await api.make_chat("/fail auth", title="Broken")
    asking = await api.make_chat("/call pay {}", title="Paying")
    stopped = await api.make_chat("/stall 600", title="Stopped")
    turn_id = (await api.chat(stopped))["turn_id"]
    await api.ask("POST", f"/chats/{stopped}/interrupt", {"turn_id": turn_id})
    await rested(api, stopped)
    found = {item["title"]: item for item in await notifications(api, 2)}
    assert set(found) == {"Broken failed", "Paying needs you"}
    assert found["Paying needs you"]["content"] == "pay"
    assert found["Paying needs you"]["targets"] == [asking]


async def test_a_watched_turn_creates_no_notification(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    stream = await api.stream(f"/chats/{chat_id}/stream")
    await stream.until("caught_up")
    await api.send(chat_id, "/say seen")
    await stream.until("turn_ended")
    await stream.close()

    async def is_left() -> bool:
        return chat_id not in api.instance.watched

    await wait_until(is_left)
    await api.send(chat_id, "/say unseen")
    assert [item["content"] for item in await notifications(api, 1)] == ["unseen"]


async def test_notifications_are_read_one_by_one_and_all_at_once(api: ApiClient) -> None:
    for number in range(3):
        await rested(api, await api.make_chat(f"/say {number}"))
    found = await notifications(api, 3)
    assert [item["content"] for item in found] == ["2", "1", "0"]
    assert (await inbox(api))["unread_count"] == 3
    answer = await api.ask("PUT", f"/inbox/{found[1]['id']}/read")
    assert answer.json["read_at"]
    assert (await api.ask("PUT", f"/inbox/{found[1]['id']}/read")).json == answer.json
    unread = await inbox(api, "?unread=true")
    assert [item["content"] for item in unread["notifications"]] == ["2", "0"]
    assert unread["unread_count"] == 2
    assert (await api.ask("PUT", "/inbox/read-all")).json == {"unread_count": 0}
    assert (await inbox(api, "?unread=true"))["notifications"] == []


async def test_the_inbox_is_paged(api: ApiClient) -> None:
    for number in range(5):
        await rested(api, await api.make_chat(f"/say {number}"))
    await notifications(api, 5)
    seen, after = [], ""
    while True:
        page = await inbox(api, f"?limit=2{after}")
        seen += [item["content"] for item in page["notifications"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["4", "3", "2", "1", "0"]
    assert (await api.ask("GET", "/inbox?after=nothing")).code == "invalid"


async def test_another_owner_s_inbox_is_theirs(api: ApiClient) -> None:
    await rested(api, await api.make_chat("/say mine"))
    (mine,) = await notifications(api, 1)
    other = await api.as_owner("another owner")
    assert (await inbox(other))["notifications"] == []
    answer = await other.ask("PUT", f"/inbox/{mine['id']}/read")
    assert (answer.status, answer.code) == (404, "not_found")
    await other.ask("PUT", "/inbox/read-all")
    assert (await inbox(api))["unread_count"] == 1


async def test_a_notification_is_sent_to_the_feed_of_its_owner_once(api: ApiClient) -> None:
    other = await api.as_owner("another owner")
    feed, theirs = await api.stream("/feed"), await other.stream("/feed")
    await feed.until("resync")
    chat_id = await api.make_chat("/say pushed")
    event = (await feed.until("inbox")).json
    assert event["kind"] == "new"
    (listed,) = await notifications(api, 1)
    assert event["inbox_notification"] == listed
    await rested(other, await other.make_chat("/say theirs"))
    assert (await theirs.until("inbox")).json["inbox_notification"]["content"] == "theirs"
    await api.ask("DELETE", f"/chats/{chat_id}")
    assert (await inbox(api))["notifications"] == []
    await feed.close()
    await theirs.close()


async def test_a_lost_hint_is_recovered_by_the_poll() -> None:
    import random

    bus = FaultyBus(MemoryBus(), random.Random(1), drop=1.0)
    async with open_api(bus=bus, timing=Timing(watch=WatchTiming(poll_s=0.1))) as api:
        feed = await api.stream("/feed")
        await feed.until("resync")
        await api.make_chat("/say found")
        event = await feed.until("inbox")
        assert event.json["inbox_notification"]["content"] == "found"
        await api.make_chat("/say next")  # the poll that finds it has seen the first one again, and before it
        assert (await feed.until("inbox")).json["inbox_notification"]["content"] == "next"
        await feed.close()


async def test_a_chat_is_unread_until_it_is_read(api: ApiClient) -> None:
    feed = await api.stream("/feed")
    chat_id = await api.make_chat("/say news")
    await rested(api, chat_id)
    assert (await api.chat(chat_id))["has_unread"] is True
    listed = (await api.ask("GET", "/chats")).json["chats"]
    assert next(chat for chat in listed if chat["id"] == chat_id)["has_unread"] is True
    await feed.until("chat", where=lambda event: event.json["chat"]["has_unread"])
    seq = (await api.chat(chat_id))["seq"]
    assert (await api.ask("PUT", f"/chats/{chat_id}/read")).json == {"seq": seq}
    await feed.until("chat", where=lambda event: not event.json["chat"]["has_unread"])
    assert (await api.chat(chat_id))["has_unread"] is False
    assert (await api.ask("PUT", f"/chats/{chat_id}/read", {"seq": 1})).json == {"seq": 1}
    assert (await api.chat(chat_id))["has_unread"] is False, "the cursor never goes back"
    answer = await api.ask("PUT", f"/chats/{chat_id}/read", {"seq": seq + 100})
    assert (answer.status, answer.code) == (422, "invalid")
    await feed.close()


async def test_the_diff_status_is_stored_shown_and_published(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    feed = await api.stream("/feed")
    stream = await api.stream(f"/chats/{chat_id}/stream")
    body = {
        "url": "https://example.org/pull/7",
        "pull_request_title": "Mend it",
        "additions": 3,
        "pr_number": 7,
        "approved": False,
        "refreshed_at": "2026-01-02T03:04:05Z",
    }
    answer = await api.ask("PUT", f"/chats/{chat_id}/diff-status", body)
    fact = await stream.until("diff_status_changed")
    assert fact.json["seq"] == answer.json["seq"]
    shown = (await api.chat(chat_id))["diff_status"]
    assert shown == fact.json["diff_status"]
    assert shown == {"chat_id": chat_id, "pull_request_draft": False, "changes_requested": False, "deletions": 0,
                     "changed_files": 0, **body}  # fmt: skip
    event = await feed.until("chat", where=lambda event: event.json["kind"] == "diff_status_change")
    assert event.json["chat"]["diff_status"] == shown
    assert decode(b"{}", ChatDiffStatus)
    again = await api.ask("PUT", f"/chats/{chat_id}/diff-status", body)
    assert again.json["seq"] == answer.json["seq"], "nothing changed"
    await feed.close()
    await stream.close()
