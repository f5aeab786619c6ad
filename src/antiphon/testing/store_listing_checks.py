"""Checks of what a store says across chats: listings, what changed, owners and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from antiphon.core import commands as c
from antiphon.core.model import Parent
from antiphon.errors import NotFound
from antiphon.ports import Mark, Session, Token
from antiphon.testing.store_case import Case
from antiphon.testing.stored_chat import ALL, StoredChat


async def listed(case: Case, owner_id: str = "o", **filters: Any) -> list[str]:
    """The ids of an owner's chats; a filter that is not given is off."""
    chosen: dict[str, Any] = {"archived": None, "label": None, "title": "", "limit": ALL, "after": None}
    chosen |= filters
    return [item.chat_id for item in await case.store.list_chats(owner_id, **chosen)]


async def check_chats_are_listed_by_latest_change(case: Case) -> None:
    for chat_id in ("a", "b", "c"):
        await case.chat(chat_id).create()
        case.clock.advance(1)
    await case.chat("other").create(owner_id="another")
    assert await listed(case) == ["c", "b", "a"]
    chat = case.chat("a")
    await chat.load()
    await chat.do(c.Rename(title="now the latest"))
    assert await listed(case) == ["a", "c", "b"]
    found = await case.store.list_chats("o", archived=None, label=None, title="", limit=1, after=None)
    assert found[0].chat == chat.chat
    assert await listed(case, "unknown") == []
    await chat.do(c.Delete())
    assert await listed(case) == ["c", "b"]


async def check_archived_chats_are_listed_separately(case: Case) -> None:
    for chat_id in ("a", "b"):
        await case.chat(chat_id).create()
        case.clock.advance(1)
    chat = case.chat("a")
    await chat.load()
    await chat.do(c.Archive())
    assert await listed(case, archived=True) == ["a"]
    assert await listed(case, archived=False) == ["b"]
    assert await listed(case, archived=None) == ["a", "b"]
    await chat.do(c.Unarchive())
    assert await listed(case, archived=True) == []


async def check_child_chats_are_listed_by_their_parent_only(case: Case) -> None:
    await case.chat("a").create()
    for chat_id, depth in (("b", 1), ("c", 1), ("d", 2)):
        case.clock.advance(1)
        above = "a" if depth == 1 else "c"
        parent = Parent(chat_id=above, tool_call_id="call", root_chat_id="a", depth=depth)
        await case.chat(chat_id).create(parent=parent, title=chat_id)
    assert await listed(case) == ["a"]
    assert await case.store.count_chats("o") == 1
    assert await listed(case, parent="a") == ["c", "b"]
    assert await listed(case, parent="a", limit=1) == ["c"]
    assert await listed(case, parent="a", title="b") == ["b"]
    assert await listed(case, parent="c") == ["d"]
    assert await listed(case, "another", parent="a") == []
    assert await listed(case, parent="unknown") == []
    chat = case.chat("c")
    await chat.load()
    await chat.do(c.Archive())
    assert await listed(case, parent="a", archived=False) == ["b"]
    assert await listed(case, parent="a", archived=True) == ["c"]
    await chat.do(c.Delete())
    assert await listed(case, parent="a") == ["b"]


async def check_chats_are_found_by_label(case: Case) -> None:
    odd = 'q"uo\\te ü😀\u2028$.x'
    labels: list[dict[str, str]] = [{}, {"env": "prod"}, {"env": "prod", "team": "a"}, {odd: odd}]
    for i, each in enumerate(labels):
        await case.chat(f"c{i}").create(labels=each)
        case.clock.advance(1)
    assert await listed(case, label=("env", "prod")) == ["c2", "c1"]
    assert await listed(case, label=("env", "pro")) == []
    assert await listed(case, label=("team", "a")) == ["c2"]
    assert await listed(case, label=("prod", "env")) == []
    assert await listed(case, label=(odd, odd)) == ["c3"]
    chat = case.chat("c1")
    await chat.load()
    await chat.do(c.SetLabels(labels={}))
    assert await listed(case, label=("env", "prod")) == ["c2"]


async def check_chats_are_found_by_any_part_of_the_title(case: Case) -> None:
    titles = ["100% sure", "1000 sure", "snake_case", "snakeXcase", "Ärger 😀 im Büro", "back\\slash", ""]
    for i, title in enumerate(titles):
        await case.chat(f"c{i}").create(title=title)
        case.clock.advance(1)
    for query, found in {
        "100%": ["c0"],
        "%": ["c0"],
        "snake_": ["c2"],
        "_": ["c2"],
        "SNAKE": ["c3", "c2"],
        "😀 im": ["c4"],
        "Büro": ["c4"],
        "\\": ["c5"],
        "sure": ["c1", "c0"],
        "'": [],
        "x" * 100_000: [],
    }.items():
        assert await listed(case, title=query) == found, query[:20]


async def check_pages_of_a_listing_are_stable(case: Case) -> None:
    """Also where several chats changed at the same instant: the id decides."""
    for i in range(10):
        await case.chat(f"c{i}").create(title="even" if i % 2 == 0 else "odd")
        if i % 3 == 0:
            case.clock.advance(1)
    everything = await listed(case)
    assert sorted(everything) == [f"c{i}" for i in range(10)]
    for title, archived in (("", None), ("even", None), ("", False)):
        expected = await listed(case, title=title, archived=archived)
        after: tuple[int, str] | None = None
        seen: list[str] = []
        while page := await case.store.list_chats(
            "o", archived=archived, label=None, title=title, limit=3, after=after
        ):
            seen += [item.chat_id for item in page]
            after = (page[-1].chat.updated_at, page[-1].chat_id)
        assert seen == expected


async def check_changes_after_a_mark_are_listed(case: Case) -> None:
    store = case.store
    changed, mark = await store.changed(None, limit=ALL)
    assert changed == (), "without a mark, only the current mark is returned"
    assert await store.changed(mark, limit=ALL) == ((), mark)
    one, two = await case.chat("one").create(), await case.chat("two").create()
    changed, mark_2 = await store.changed(mark, limit=ALL)
    assert changed == (("one", 1), ("two", 1))
    await one.send("hi")
    await one.send("more")
    changed, mark_3 = await store.changed(mark_2, limit=ALL)
    assert changed == (("one", 3),), "once, with its last seq"
    assert await store.changed(mark_3, limit=ALL) == ((), mark_3)
    await two.do(c.Delete())
    changed, _ = await store.changed(mark, limit=ALL)
    assert changed == (("one", 3), ("two", 2))
    assert (await store.changed(None, limit=ALL))[1] != mark_3


async def check_changes_are_listed_page_by_page(case: Case) -> None:
    _, mark = await case.store.changed(None, limit=ALL)
    expected = {f"c{i}": 1 for i in range(7)}
    for chat_id in expected:
        await case.chat(chat_id).create()
    pages: list[tuple[tuple[str, int], ...]] = []
    while not pages or len(pages[-1]) == 3:
        page, mark = await case.store.changed(mark, limit=3)
        pages.append(page)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert dict(change for page in pages for change in page) == expected


async def check_no_change_is_missed_while_many_write(case: Case) -> None:
    """Polling from mark to mark finds the last seq of each chat, although appends are committed in any order."""
    store, chats = case.store, [case.chat(f"c{i}") for i in range(8)]
    found: dict[str, int] = {}
    _, mark = await store.changed(None, limit=ALL)

    async def write(chat: StoredChat) -> None:
        await chat.create()
        for i in range(5):
            await chat.do(c.Rename(title=str(i)))

    async def poll(mark: Mark) -> Mark:
        changed, mark = await store.changed(mark, limit=ALL)
        for chat_id, seq in changed:
            assert seq >= found.get(chat_id, 0), "no chat goes back"
            found[chat_id] = seq
        return mark

    writing = asyncio.gather(*(write(chat) for chat in chats))
    while not writing.done():
        mark = await poll(mark)
        await asyncio.sleep(0)
    await writing
    await poll(mark)
    assert found == {chat.chat_id: chat.chat.seq for chat in chats}


async def check_every_chat_id_is_listed(case: Case) -> None:
    assert await case.store.iter_chat_ids() == ()
    for chat_id in ("b", "a", "c"):
        await case.chat(chat_id).create()
    chat = case.chat("a")
    await chat.load()
    await chat.do(c.Delete())
    assert await case.store.iter_chat_ids() == ("a", "b", "c"), "deleted ones included"


async def check_an_owner_is_created_once_per_name(case: Case) -> None:
    store = case.store
    assert await store.owner_count() == 0
    admin = await store.create_owner("admin", is_admin=True)
    user = await store.create_owner("user")
    assert admin != user
    assert await store.create_owner("admin") == admin
    assert await store.create_owner("user", is_admin=True) == user
    assert await store.owner_count() == 2


async def check_tokens_are_found_by_their_hash_and_revoked_once(case: Case) -> None:
    store, clock = case.store, case.clock
    admin = await store.create_owner("admin", is_admin=True)
    user = await store.create_owner("user")
    created_at = clock.now_us()
    await store.add_token(admin, "t1", b"hash 1")
    clock.advance(1)
    await store.add_token(user, "t2", b"hash 2")
    first = Token(token_id="t1", owner_id=admin, owner_name="admin", is_admin=True, created_at=created_at)
    assert await store.find_token(b"hash 1") == first
    assert await store.find_token(b"hash 3") is None
    tokens = await store.list_tokens()
    assert [token.token_id for token in tokens] == ["t1", "t2"]
    assert not tokens[1].is_admin
    assert await store.revoked_of(("t1", "t2", "missing")) == frozenset()
    assert await store.revoke_token("t1")
    assert await store.revoked_of(("t1", "t2", "missing")) == {"t1"}
    assert not await store.revoke_token("t1"), "it is revoked already"
    assert not await store.revoke_token("missing")
    revoked = await store.find_token(b"hash 1")
    assert revoked is not None
    assert revoked.revoked_at == clock.now_us()
    assert (await store.list_tokens())[0] == revoked


async def check_sessions_are_found_by_their_hash_used_and_revoked_once(case: Case) -> None:
    store, clock = case.store, case.clock
    admin = await store.create_owner("admin", is_admin=True)
    await store.add_token(admin, "t1", b"hash 1")
    token = await store.find_token(b"hash 1")
    assert token is not None
    clock.advance(1)
    opened_at = clock.now_us()
    await store.add_session("s1", "t1", b"session 1")
    clock.advance(1)
    await store.add_session("s2", "t1", b"session 2")
    assert await store.find_session(b"session 1") == Session(
        session_id="s1", token=token, created_at=opened_at, used_at=opened_at
    )
    assert await store.find_session(b"hash 1") is None
    assert await store.find_token(b"session 1") is None
    assert await store.sessions_of("t1") == ("s1", "s2")
    clock.advance(1)
    await store.touch_session("s1")
    await store.touch_session("missing")
    used = await store.find_session(b"session 1")
    assert used is not None
    assert (used.created_at, used.used_at) == (opened_at, clock.now_us())
    assert await store.sessions_of("t1") == ("s2", "s1"), "the longest unused first"
    assert await store.revoke_session("s2")
    assert not await store.revoke_session("s2"), "it is revoked already"
    assert not await store.revoke_session("missing")
    assert await store.revoked_of(("s1", "s2", "t1", "missing")) == {"s2"}
    assert await store.sessions_of("t1") == ("s1",)
    revoked = await store.find_session(b"session 2")
    assert revoked is not None
    assert revoked.revoked_at == clock.now_us()


async def check_a_token_needs_its_owner_and_a_session_its_token(case: Case) -> None:
    store = case.store
    await store.add_token(await store.create_owner("admin", is_admin=True), "t1", b"hash 1")
    for token_id in ("missing", "", "T1"):
        await _is_not_found(store.add_session("s1", token_id, b"session 1"), "token")
    for owner_id in ("missing", "", "admin"):
        await _is_not_found(store.add_token(owner_id, "t2", b"hash 2"), "owner")
    assert await store.find_session(b"session 1") is None
    assert await store.find_token(b"hash 2") is None


async def _is_not_found(call: Awaitable[None], what: str) -> None:
    found = None
    try:
        await call
    except NotFound as error:
        found = error.what
    assert found == what, f"a missing {what} is refused"


async def check_a_revoked_token_revokes_its_sessions_and_old_ones_are_deleted(case: Case) -> None:
    store, clock = case.store, case.clock
    admin = await store.create_owner("admin", is_admin=True)
    await store.add_token(admin, "t1", b"hash 1")
    await store.add_session("old", "t1", b"old")
    clock.advance(10)
    await store.add_session("new", "t1", b"new")
    await store.delete_sessions(clock.now_us())
    assert await store.find_session(b"old") is None
    assert await store.sessions_of("t1") == ("new",)
    assert await store.revoke_token("t1")
    assert await store.revoked_of(("old", "new", "t1")) == {"new", "t1"}
    found = await store.find_session(b"new")
    assert found is not None
    assert found.token.revoked_at == clock.now_us()


async def check_pinned_chats_are_listed_by_their_pins(case: Case) -> None:
    chats = {}
    for chat_id, pin in (("a", 3), ("b", 1), ("c", 0), ("d", 2), ("e", 4), ("f", 5)):
        chats[chat_id] = await case.chat(chat_id).create(owner_id="p" if chat_id == "f" else "o")
        if pin:
            await chats[chat_id].do(c.SetPin(pin_order=pin))
    await chats["e"].do(c.Archive())
    await chats["a"].do(c.SetSystem(system='NUL \0, a quote " and "pin_order":9'))
    assert [listed.chat_id for listed in await case.store.list_pinned_chats("o", limit=9)] == ["b", "d", "a"]
    assert [listed.chat_id for listed in await case.store.list_pinned_chats("o", limit=2)] == ["b", "d"]
    await chats["d"].do(c.SetPin(pin_order=0))
    await chats["b"].do(c.Delete())
    assert [listed.chat_id for listed in await case.store.list_pinned_chats("o", limit=9)] == ["a"]
    assert await case.store.list_pinned_chats("q", limit=9) == ()
