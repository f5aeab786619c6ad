"""Messages are sent once and in order, also through failures; refused and withdrawn ones are not."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.cli.conversation.outgoing import UNSENT_MAX, Outgoing, OutgoingQueue
from antiphon.errors import AntiphonError, Invalid, Unavailable
from support.waiting import wait_until

pytestmark = pytest.mark.anyio


class Server:
    """Accepts messages unless it is `away`; refuses `bad`."""

    def __init__(self) -> None:
        self.is_away = False
        self.tries: list[str] = []
        self.accepted: list[Outgoing] = []
        self.refused: list[str] = []

    async def send(self, item: Outgoing) -> None:
        self.tries.append(item.message_id)
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("away")
        if item.text == "bad":
            raise Invalid("content", "bad")
        self.accepted.append(item)

    def on_refused(self, item: Outgoing, error: AntiphonError) -> None:
        self.refused.append(item.text)


async def test_messages_keep_their_order_and_id_through_failures() -> None:
    server = Server()
    queue = OutgoingQueue(server.send, server.on_refused, retry_s=0.001)
    running = asyncio.create_task(queue.run())
    server.is_away = True
    for text in ("one", "bad", "two"):
        assert queue.put(Outgoing(text))
    await wait_until(lambda: len(server.tries) > 3)
    assert queue.texts == ["one", "bad", "two"]
    assert len(set(server.tries)) == 1
    server.is_away = False
    await queue.join()
    assert [item.text for item in server.accepted] == ["one", "two"]
    assert server.refused == ["bad"]
    server.is_away = True
    queue.put(Outgoing("an edit", edits=3))
    await wait_until(lambda: server.refused == ["bad", "an edit"], what="an edit is not repeated")
    queue.put(Outgoing("withdrawn"))
    tries = len(server.tries)
    await wait_until(lambda: len(server.tries) > tries)
    assert queue.clear() == 1
    server.is_away = False
    queue.put(Outgoing("three"))
    await queue.join()
    assert [item.text for item in server.accepted] == ["one", "two", "three"]
    server.is_away = True
    assert [queue.put(Outgoing("more")) for _ in range(UNSENT_MAX + 1)].count(False) == 1
    running.cancel()
