"""One chat over every protocol at once: begun by `useChat`, watched by AG-UI, a WebSocket and a terminal, approved in an
editor, stopped by OpenAI's SDK, the server killed twice on the way. All end with the same words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from how_to.node import node_marks

from .every_protocol.course import open_course

pytestmark = [pytest.mark.anyio, *node_marks()]


async def test_all_clients_of_a_chat_end_with_the_same_words(tmp_path: Path) -> None:
    async with open_course(tmp_path, seed=1, on_worker_lost="continue") as course:
        await course.begin()
        await course.join()
        course.trial.release()
        await course.wait_shown(20)
        await course.kill_and_start()
        await course.wait_complete()

        course.send("second pay")
        await course.approve()
        await course.wait_shown(20)
        await course.kill_and_start()
        await course.wait_complete()

        course.send("third")
        turn_id = await course.wait_running()
        course.ag_ui.join()
        await course.wait_shown(20)
        following = asyncio.create_task(course.openai.follow(turn_id))
        await asyncio.sleep(0.1)
        status, text = await course.openai.cancel(turn_id)
        assert status == "cancelled"
        course.trial.record_stop(turn_id)
        assert await following == "cancelled"
        assert course.openai.streamed == text
        await course.wait_complete()
        evidence = await course.check_end()
        assert course.trial.server.kills == 2
        assert len(evidence.watched) == 3
