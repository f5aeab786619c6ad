"""The active chat of several instances on one store."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.chats.active_chat import ActiveChat
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import FakeClock
from antiphon.testing.stored_chat import StoredChat

pytestmark = pytest.mark.anyio


class SlowWriteStore(MemoryStore):
    """A written value can be read before the write returns."""

    def __init__(self) -> None:
        super().__init__(clock=FakeClock(), is_shared=True)
        self.may_return = asyncio.Event()

    async def write_setting(self, name: str, value: str) -> None:
        await super().write_setting(name, value)
        await self.may_return.wait()


async def test_an_own_change_is_not_reported_as_one_of_another_instance() -> None:
    store = SlowWriteStore()
    chat = await StoredChat(store, "c").create()
    active = ActiveChat(store=store, bus=MemoryBus())
    reported: list[str] = []
    active.changed_by_other.subscribe(reported.append)
    activating = asyncio.ensure_future(active.activate(chat.chat_id))
    await asyncio.sleep(0)
    await active._refresh()
    store.may_return.set()
    await activating
    await active._refresh()
    assert (active.chat_id, reported) == ("c", [])
    await MemoryStore.write_setting(store, "active_session", "")
    await active._refresh()
    await MemoryStore.write_setting(store, "active_session", "c")
    await active._refresh()
    assert reported == ["c"], "as if another instance wrote it"
    active.close()
