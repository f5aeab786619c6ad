"""Watchers that accept nothing are closed, and each is counted once."""

from __future__ import annotations

import asyncio

import pytest

from antiphon import open_instance
from antiphon.observe.metrics import METRICS
from antiphon.options import Timing, WatchTiming
from support.waiting import wait_until

pytestmark = pytest.mark.anyio


async def test_a_slow_watcher_is_counted_once_while_its_connection_ends() -> None:
    before = METRICS.slow_watchers._value.get()
    checks = 0

    def stop_sending() -> None:
        nonlocal checks
        checks += 1  # its connection is not lost yet

    async with open_instance(drain_s=0, timing=Timing(watch=WatchTiming(ping_s=0.15, slow_s=0.1))) as instance:
        chat_id = (await instance.chats.create()).chat_id
        async with instance.watch.open_watcher(chat_id, (0, 0)) as watcher:
            watcher.stop_sending = stop_sending
            watcher.sending_since = asyncio.get_running_loop().time() - 1
            await wait_until(lambda: checks >= 3)
            assert METRICS.slow_watchers._value.get() - before == 1
