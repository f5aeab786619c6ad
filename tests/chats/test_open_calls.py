"""The open calls of a turn are found whatever the turn has stored before, and without reading contents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.chats.open_calls import READS_MAX, iter_open_calls, read_open_calls
from antiphon.clock import SystemClock
from antiphon.core import commands as c
from antiphon.core.facts import ActionNeeded, CallOpened, Entry
from antiphon.core.model import Needs
from antiphon.ports import SEQ_MAX
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.testing.store import WrappedStore
from antiphon.testing.stored_chat import StoredChat

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


class CountingStore(WrappedStore):
    """Counts the reads of facts, and refuses those that load contents."""

    reads = 0

    async def newest_entry(self, chat_id: str, kind: str, *, after_seq: int, upto: int = SEQ_MAX) -> Entry | None:
        self.reads += 1
        return await super().newest_entry(chat_id, kind, after_seq=after_seq, upto=upto)

    async def read_entries(self, *given: Any, **options: Any) -> tuple[Entry, ...]:
        raise AssertionError("contents were read")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    inner = await open_sqlite_store(tmp_path / "data" / "antiphon.db", clock=SystemClock())
    try:
        yield CountingStore(inner)
    finally:
        await inner.aclose()


async def use_tool(chat: StoredChat, name: str, size: int) -> None:
    """An answer of `size` bytes with a call, and its result of the same size."""
    fence = {"attempt": chat.chat.attempt, "draft": chat.chat.draft}
    call = CallOpened(tool_call_id=name, tool_name="t", needs=Needs.SERVER)
    await chat.do(
        c.CommitMessage(**fence, content=b'[{"type":"text","text":"' + b"x" * size + b'"}]', upto=1, calls=(call,))
    )
    await chat.do(c.CommitToolResult(attempt=chat.chat.attempt, tool_call_id=name, content=b"[]"))


async def ask(chat: StoredChat, name: str) -> None:
    """An answer with a call that waits for an approval."""
    call = CallOpened(tool_call_id=name, tool_name="pay", needs=Needs.APPROVAL)
    fence = {"attempt": chat.chat.attempt, "draft": chat.chat.draft}
    await chat.do(c.CommitMessage(**fence, content=b"[]", upto=1, calls=(call,)))
    needed = ActionNeeded(tool_call_id=name, tool_name="pay", args={"of": name}, needs=Needs.APPROVAL)
    fence = {"attempt": chat.chat.attempt, "draft": chat.chat.draft}
    await chat.do(c.RequireAction(**fence, calls=(needed,), deadline=1))


async def started(store: CountingStore, chat_id: str) -> StoredChat:
    chat = await StoredChat(store, chat_id).create(said="go")
    await chat.start()
    return chat


@pytest.mark.parametrize("sizes", [(16 * MIB, 16 * MIB), (40 * MIB,), (1,) * 200], ids=["two", "one", "many small"])
async def test_an_open_call_is_found_after_large_and_many_answers(
    store: CountingStore, sizes: tuple[int, ...]
) -> None:
    chat = await started(store, "c")
    for number, size in enumerate(sizes):
        await use_tool(chat, f"t{number}", size)
    await ask(chat, "wanted")
    (call,) = await read_open_calls(store, "c", chat.chat)
    assert (call.tool_call_id, call.args) == ("wanted", {"of": "wanted"})


async def test_an_open_call_of_an_earlier_turn_is_not_returned(store: CountingStore) -> None:
    chat = await started(store, "c")
    await ask(chat, "former")
    assert len(await read_open_calls(store, "c", chat.chat)) == 1
    await chat.do(c.Interrupt(turn_id=chat.chat.turn_id, by="o"))
    assert await read_open_calls(store, "c", chat.chat) == ()


async def test_only_chats_that_require_action_are_read_in_batches(store: CountingStore) -> None:
    chats = [await started(store, f"c{number}") for number in range(3 * READS_MAX)]
    states = [(chat.chat_id, chat.chat) for chat in chats]
    assert [item async for item in iter_open_calls(store, states)] == []
    assert store.reads == 0
    for chat in chats[::2]:
        await ask(chat, chat.chat_id)
    states = [(chat.chat_id, chat.chat) for chat in chats]
    found = [chat_id async for chat_id, _ in iter_open_calls(store, states)]
    assert found == [chat.chat_id for chat in chats[::2]]
    store.reads = 0
    async for _ in iter_open_calls(store, states):
        break
    assert store.reads == READS_MAX
