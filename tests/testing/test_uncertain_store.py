"""The store that loses the answers to commits."""

from __future__ import annotations

from random import Random

import pytest

from antiphon.core import commands as c
from antiphon.ports import Append, Appended, OutcomeUnknown
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.store import UncertainStore, WrappedStore
from antiphon.testing.store_suite import CHECKS, Case, Check, check_name, run_check
from antiphon.testing.stored_chat import StoredChat

pytestmark = pytest.mark.anyio


class Insisting(UncertainStore):
    """Repeat an append until its outcome is known."""

    async def append(self, append: Append) -> Appended:
        while True:
            try:
                return await super().append(append)
            except OutcomeUnknown:
                continue


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
async def test_asked_again_it_keeps_every_promise(check: Check) -> None:
    clock = FakeClock()
    store = Insisting(MemoryStore(clock=clock), Random(3), lost_after=0.3, lost_before=0.3)
    await run_check(check, Case(store, clock))


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
async def test_a_wrapped_store_keeps_every_promise(check: Check) -> None:
    clock = FakeClock()
    await run_check(check, Case(WrappedStore(MemoryStore(clock=clock)), clock))


async def test_it_sometimes_commits_and_sometimes_not() -> None:
    inner = MemoryStore(clock=FakeClock())
    store = UncertainStore(inner, Random(5), lost_after=0.3, lost_before=0.3)
    chat = await StoredChat(inner, "c").create()
    written = unwritten = 0
    for i in range(100):
        append = chat.make(c.Rename(title=f"{i}"))
        try:
            assert await store.append(append) is Appended.DONE
        except OutcomeUnknown:
            is_written = await inner.load("c") == append.chat
            written += is_written
            unwritten += not is_written
        await chat.load()
    assert (written, unwritten) == (store.committed_unknown, store.not_committed_unknown)
    assert 15 < written < 45
    assert 15 < unwritten < 45


async def test_no_append_stays_unknown_for_ever() -> None:
    inner = MemoryStore(clock=FakeClock())
    store = UncertainStore(inner, Random(5), lost_after=0.0, lost_before=1.0, lost_max=3)
    append = StoredChat(inner, "c").make(c.CreateChat(owner_id="o"))
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await store.append(append)
    assert await store.append(append) is Appended.DONE
