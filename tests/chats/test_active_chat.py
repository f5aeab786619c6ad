"""The active chat, as each of several instances on a store knows it."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.active_chat import ActiveChat
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import StoredChat

pytestmark = pytest.mark.anyio


class SlowToAnswer(MemoryStore):
    """What was written can be read before its writer hears of it."""

    def __init__(self) -> None:
        super().__init__(clock=FakeClock(), is_shared=True)
        self.may_answer = asyncio.Event()

    async def write_setting(self, name: str, value: str) -> None:
        await super().write_setting(name, value)
        await self.may_answer.wait()


async def test_what_is_made_active_here_is_not_told_as_made_elsewhere() -> None:
    store = SlowToAnswer()
    chat = await StoredChat(store, "c").create()
    active = ActiveChat(store=store, bus=MemoryBus())
    told: list[str] = []
    active.observe(told.append)
    activating = asyncio.ensure_future(active.activate(chat.chat_id))
    await asyncio.sleep(0)
    await active._look()
    store.may_answer.set()
    await activating
    await active._look()
    assert (active.chat_id, told) == ("c", [])
    await MemoryStore.write_setting(store, "active_session", "")
    await active._look()
    await MemoryStore.write_setting(store, "active_session", "c")
    await active._look()
    assert told == ["c"], "as another instance does it"
    active.close()
