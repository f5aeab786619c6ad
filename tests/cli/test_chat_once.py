"""Ctrl-C at any moment of `antiphon chat TEXT`: no turn is left running that the command has started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import click
import pytest

from antiphon.cli.chat_once import answer_once
from antiphon.cli.chat_options import ChatOptions
from antiphon.client import AsyncClient
from antiphon.core.events import Event
from client.servers import ServerProcess, script

pytestmark = pytest.mark.anyio

SLOW = script("/rate 20", "/tokens 4000")


class Pressing(AsyncClient):
    """Presses Ctrl-C at a moment: when the message is `sent`, before its answer is handled; or when the stream is
    opened (`watching`), before its first event; or twice, to a server that does not answer (`sending`)."""

    def __init__(self, server: ServerProcess, moment: str) -> None:
        super().__init__(server.url, server.token)
        self._moment = moment
        self.sent: Any = None

    async def create_chat(self, *args: Any, **fields: Any) -> Any:
        if self._moment == "sending":
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        self.sent = await super().create_chat(*args, **fields)
        self._reach("sent")
        return self.sent

    async def watch(self, *args: Any, **options: Any) -> AsyncIterator[Event]:  # type: ignore[override]
        self._reach("watching")
        async with aclosing(super().watch(*args, **options)) as events:
            async for event in events:
                yield event

    def _reach(self, moment: str) -> None:
        if moment == self._moment:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("moment", ["sent", "watching"])
async def test_ctrl_c_before_the_first_event_interrupts_the_turn(
    server: ServerProcess, moment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Pressing(server, moment) as client:
        assert await answer_once(client, SLOW, ChatOptions(), as_json=False) == 1
        assert (await client.chat(client.sent["id"]))["status"] == "waiting"
    assert "the turn was interrupted" in capsys.readouterr().err


async def test_ctrl_c_twice_quits_while_the_server_does_not_answer(server: ServerProcess) -> None:
    async with Pressing(server, "sending") as client:
        with pytest.raises(click.Abort):
            await answer_once(client, SLOW, ChatOptions(), as_json=False)


async def test_ctrl_c_while_the_message_is_queued_quits(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Pressing(server, "watching") as client:
        chat = await client.create_chat(SLOW)
        options = ChatOptions(chat_id=chat["id"])
        assert await answer_once(client, "later", options, as_json=False) == 1
        assert (await client.chat(chat["id"]))["status"] == "running"
        await client.delete_chat(chat["id"])
    assert "the turn was left running" in capsys.readouterr().err
