"""A watcher that fails does not affect the other watchers of a chat."""

from __future__ import annotations

import pytest

from antiphon.server.open_instance import open_instance
from antiphon.wire.stream import Frame
from support.waiting import wait_until

pytestmark = pytest.mark.anyio


class CountingWatcher:
    def __init__(self, *, fails: bool) -> None:
        self.wakes = 0
        self._fails = fails

    def wake(self) -> None:
        self.wakes += 1
        if self._fails:
            raise RuntimeError("this watcher fails")

    def notify(self, kind: str, notice: Frame) -> None: ...


async def test_a_watcher_that_fails_does_not_keep_the_others_from_being_woken() -> None:
    async with open_instance() as instance:
        chat_id = (await instance.chats.create()).chat_id
        reader = await instance.watch.acquire_reader(chat_id)
        failing, other = CountingWatcher(fails=True), CountingWatcher(fails=False)
        reader.watchers |= {failing: None, other: None}
        await instance.chats.send(chat_id, "/say one")
        await wait_until(lambda: other.wakes, "the other watcher is woken")
        assert failing.wakes, "it was woken before"
        for watcher in (failing, other):
            del reader.watchers[watcher]
        instance.watch.release_reader(reader)
