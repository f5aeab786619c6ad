"""What every serving process does between its start and its stop, in any role."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc

from antiphon.core.values import Value

YOUNG_MAX = 20_000
"""Number of new container objects after which the garbage collector runs."""

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Parameters of mallopt, from glibc's malloc.h."""
LARGE_BLOCK_BYTES = 256 * 1024
"""Size of a block that is returned to the system when it is freed, in bytes."""
ARENAS_MAX = 2
"""Maximum number of malloc arenas."""


class Ready(Value):
    """This process serves requests at `url`, as primary, replica, or a standby that forwards them. `token` is the
    admin token of the data directory (empty while the primary of a new directory has not created it)."""

    instance_id: str
    role: str
    url: str
    token: str


def collect_seldom() -> None:
    """Make the garbage collector run rarely. The objects of the start are permanent, and immutable values form no
    cycles, so there is little to collect. With the default threshold of 700 it took a sixth of a busy server's
    time."""
    return_large_blocks()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)


def return_large_blocks() -> None:
    """Have glibc return freed blocks of a message's size to the system. By default it raises its threshold when one
    is freed, and keeps all later ones on its heaps, which become fragmented."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        libc.mallopt(M_ARENA_MAX, ARENAS_MAX)


async def until_stopped(stopping: asyncio.Event, *running: asyncio.Task[None] | None) -> None:
    """Wait until `stopping` is set. Raises the error of a background task that has failed."""
    waiting = asyncio.create_task(stopping.wait())
    tasks = [task for task in running if task is not None]
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
