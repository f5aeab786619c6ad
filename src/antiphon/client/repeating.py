"""Asking again while an instance is away: only what carries an id of the client's, so that it takes effect once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from antiphon.client.backoff import backoff_s, wish_of
from antiphon.client.calls import Call
from antiphon.errors import Unavailable

A = TypeVar("A")


async def ask_again(call: Call[A], ask: Callable[[Call[A]], Awaitable[A]], *, random: Random, retry_s: float) -> A:
    """What `ask` answers, for up to `retry_s` seconds; the last `Unavailable` where it comes to no answer."""
    deadline, tries = time.monotonic() + retry_s, 0
    while True:
        try:
            return await ask(call)
        except Unavailable as error:
            tries += 1
            delay_s = backoff_s(tries, random=random, wish_ms=wish_of(error))
            if not call.is_repeatable or time.monotonic() + delay_s > deadline:
                raise
        await asyncio.sleep(delay_s)
