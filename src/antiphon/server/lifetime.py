"""What every serving process does between its start and its end, whatever its role."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc

from antiphon.core.values import Value

YOUNG_MAX = 20_000
"""So many new objects that could form cycles before the garbage collector looks at them."""


M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Of glibc's malloc.h."""
LARGE_BLOCK_BYTES = 256 * 1024
ARENAS_MAX = 2


class Ready(Value):
    """Requests are answered at `url`: as the primary, a replica, or a standby that hands them on. `token` is the
    data directory's own (empty while a new directory's primary has not made it)."""

    instance_id: str
    role: str
    url: str
    token: str


def collect_seldom() -> None:
    """What there is at the start stays; values are no garbage of cycles. So the collector has little to find, and
    looking for it at every 700th object cost a sixth of a busy server's time."""
    return_large_blocks()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)


def return_large_blocks() -> None:
    """Have glibc give freed blocks of a message's size back to the system. By default it raises its own threshold
    when one is freed, and keeps all later ones on its heaps, where they leave holes."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        libc.mallopt(M_ARENA_MAX, ARENAS_MAX)


async def until_stopped(stopping: asyncio.Event, *running: asyncio.Task[None] | None) -> None:
    """Until a signal; a background task that dies takes the whole down, loudly."""
    waiting = asyncio.create_task(stopping.wait())
    tasks = [task for task in running if task is not None]
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
