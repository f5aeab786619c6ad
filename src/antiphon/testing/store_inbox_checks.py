"""Checks of notifications, which are stored with their append, and of read cursors."""

from __future__ import annotations

from msgspec.structs import replace

from antiphon.core import commands as c
from antiphon.ports import NOTIFICATIONS_KEPT, Appended, Notification
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import ALL, StoredChat


def notification(case: Case, name: str, owner_id: str = "o", chat_id: str = "c") -> Notification:
    at = case.clock.now_us()
    return Notification(
        notification_id=name, owner_id=owner_id, chat_id=chat_id, body=b'{"title":"\\u0000"}', created_at=at
    )


async def notify(case: Case, chat: StoredChat, name: str) -> Notification:
    """Store one with an append of the chat."""
    made = notification(case, name, chat.chat.owner_id, chat.chat_id)
    append = replace(chat.make(c.Rename(title=name)), notification=made)
    assert await chat.offer(append) is Appended.DONE
    return made


async def listed(case: Case, owner_id: str = "o", *, is_unread: bool = False, limit: int = ALL) -> list[str]:
    found = await case.store.list_notifications(owner_id, is_unread=is_unread, limit=limit, after=None)
    return [item.notification_id for item in found]


async def check_a_notification_is_stored_with_its_append_or_not_at_all(case: Case) -> None:
    chat = await case.chat().create()
    made = await notify(case, chat, "n1")
    assert await case.store.list_notifications("o", is_unread=False, limit=ALL, after=None) == (made,)
    refused = replace(
        chat.make(c.Rename(title="never")), after_seq=1, append_id="x", notification=notification(case, "n2")
    )
    assert await case.store.append(refused) is Appended.CONFLICT
    assert await listed(case) == ["n1"]


async def check_a_repeated_append_stores_its_notification_once(case: Case) -> None:
    chat = await case.chat().create()
    append = replace(chat.make(c.Rename(title="n1")), notification=notification(case, "n1"))
    assert await chat.offer(append) is Appended.DONE
    assert await case.store.append(append) is Appended.DONE
    assert await listed(case) == ["n1"]


async def check_notifications_are_listed_newest_first_page_by_page(case: Case) -> None:
    chat = await case.chat().create()
    other = await case.chat("other").create(owner_id="p")
    made = []
    for name in ("n1", "n2", "n3"):
        case.clock.advance(1)
        made.append(await notify(case, chat, name))
    await notify(case, other, "theirs")
    assert await listed(case) == ["n3", "n2", "n1"]
    assert await listed(case, limit=2) == ["n3", "n2"]
    after = (made[1].created_at, "n2")
    rest = await case.store.list_notifications("o", is_unread=False, limit=ALL, after=after)
    assert [item.notification_id for item in rest] == ["n1"]
    new = await case.store.new_notifications(("o", "p"), made[1].created_at)
    assert [item.notification_id for item in new] == ["n2", "n3", "theirs"]
    assert await case.store.new_notifications(("q",), 0) == ()


async def check_notifications_are_read_by_their_owner_once(case: Case) -> None:
    chat = await case.chat().create()
    for name in ("n1", "n2", "n3"):
        case.clock.advance(1)
        await notify(case, chat, name)
    assert await case.store.count_unread("o") == 3
    case.clock.advance(1)
    read = await case.store.read_notification("o", "n2")
    assert read is not None
    assert read.read_at > read.created_at
    assert await case.store.read_notification("o", "n2") == read, "it stays as it was first read"
    assert await case.store.read_notification("p", "n1") is None
    assert await case.store.read_notification("o", "missing") is None
    assert await listed(case, is_unread=True) == ["n3", "n1"]
    await case.store.read_all_notifications("p")
    assert await case.store.count_unread("o") == 2
    await case.store.read_all_notifications("o")
    assert await case.store.count_unread("o") == 0
    assert await listed(case, is_unread=True) == []


async def check_the_newest_notifications_are_kept(case: Case) -> None:
    chat = await case.chat().create()
    old = [replace(notification(case, f"old{i}"), created_at=i) for i in range(3)]
    for item in old:
        append = replace(chat.make(c.Rename(title=item.notification_id)), notification=item)
        assert await chat.offer(append) is Appended.DONE
    assert NOTIFICATIONS_KEPT > 3
    found = await listed(case)
    assert found == ["old2", "old1", "old0"], found


async def check_the_notifications_of_a_deleted_chat_are_deleted(case: Case) -> None:
    chat, other = await case.chat().create(), await case.chat("other").create()
    await notify(case, chat, "n1")
    await notify(case, other, "n2")
    await case.store.move_read_cursor("c", 5)
    await chat.do(c.Delete())
    assert await listed(case) == ["n2"]


async def check_a_chat_is_unread_until_its_answers_are_read(case: Case) -> None:
    chat = await case.chat().create(said="hi")
    assert await case.store.unread_of(("c", "missing")) == frozenset()
    await chat.start()
    answer_id = await chat.answer("hello")
    assert await case.store.unread_of(("c", "missing")) == {"c"}
    await case.store.move_read_cursor("c", answer_id - 1)
    assert await case.store.unread_of(("c",)) == {"c"}
    await case.store.move_read_cursor("c", answer_id)
    await case.store.move_read_cursor("c", 1)
    assert await case.store.unread_of(("c",)) == frozenset(), "a cursor never goes back"
    await chat.send("again")
    assert await case.store.unread_of(("c",)) == frozenset(), "one's own message is no news"
    await chat.start()
    await chat.answer("hello again")
    assert await case.store.unread_of(("c",)) == {"c"}
