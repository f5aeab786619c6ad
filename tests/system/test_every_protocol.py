"""One chat over every protocol at once: begun by `useChat`, watched over AG-UI, a WebSocket, server-sent events, in
the web UI and in a terminal, approved in an editor, stopped by OpenAI's SDK, and read over MCP, the server killed
twice on the way. All end with the same words."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from how_to.node import node_marks
from programs import CHROMIUM, needs_program

from .every_protocol.course import Course, open_course

pytestmark = [pytest.mark.anyio, needs_program(*CHROMIUM), *node_marks()]


async def follow(course: Course, kills_after: tuple[int, int], stop_after: int) -> None:
    """The chat's course. The numbers are those of the tokens that every watcher shows when the server is killed, and
    when the last turn is stopped."""
    await course.begin()
    await course.join()
    await course.open_screens()
    course.trial.release()
    await course.wait_shown(kills_after[0])
    await course.kill_and_start()
    await course.wait_complete()

    course.send("second pay")
    await course.approve()
    await course.wait_shown(kills_after[1])
    await course.kill_and_start()
    await course.wait_complete()

    course.send("third")
    await course.stop(stop_after)
    await course.wait_complete()
    await course.check_end()


async def test_all_clients_of_a_chat_end_with_the_same_words(tmp_path: Path) -> None:
    async with open_course(tmp_path, seed=1, on_worker_lost="continue") as course:
        await follow(course, (20, 20), 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_they_do_whenever_the_server_is_killed(tmp_path: Path, seed: int) -> None:
    rnd = random.Random(seed)
    async with open_course(tmp_path, seed=seed, on_worker_lost=("restart", "keep", "continue")[seed % 3]) as course:
        await follow(course, (rnd.randint(1, 60), rnd.randint(1, 60)), rnd.randint(1, 60))
