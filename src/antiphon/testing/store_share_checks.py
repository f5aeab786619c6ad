"""What a store promises about links to chats."""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.ports import Share
from antiphon.testing.store_case import Case


def share(share_id: str, chat_id: str = "c") -> Share:
    return Share(share_id=share_id, chat_id=chat_id, owner_id="o", created_at=0)


async def check_a_share_is_found_by_its_secret_and_listed_by_its_chat(case: Case) -> None:
    store = case.store
    first = await store.add_share(share("s1"), b"hash 1")
    second = await store.add_share(share("s2"), b"hash 2")
    other = await store.add_share(share("s3", "d"), b"hash 3")
    assert 0 < first.created_at <= second.created_at
    assert await store.find_share(b"hash 1") == first
    assert await store.find_share(b"hash") is None
    assert await store.list_shares("c") == (first, second)
    assert await store.list_shares("d") == (other,)
    assert await store.list_shares("e") == ()


async def check_a_deleted_share_is_gone(case: Case) -> None:
    store = case.store
    await store.add_share(share("s1"), b"hash 1")
    assert not await store.delete_share("d", "s1"), "it is another chat's"
    assert await store.delete_share("c", "s1")
    assert not await store.delete_share("c", "s1")
    assert await store.find_share(b"hash 1") is None


async def check_shares_are_deleted_with_their_chat(case: Case) -> None:
    chat = await case.chat().create(said="one")
    await case.store.add_share(share("s1"), b"hash 1")
    kept = await case.store.add_share(share("s2", "d"), b"hash 2")
    await chat.do(c.Delete())
    assert await case.store.list_shares("c") == ()
    assert await case.store.find_share(b"hash 2") == kept
