"""An editor whose stream was behind gets the state instead of events: all that it missed, and the end of its
prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from antiphon.api.acp.agent import Agent
from antiphon.client import AsyncClient
from antiphon.core.events import Delta, Event, FactEvent, Resync
from antiphon.core.parts import Text
from antiphon.errors import Unavailable
from support.waiting import DEADLINE_S, wait_until

from ..http.api_client import ApiClient
from .editor import calls_of, text_of
from .lines import Lines, text

pytestmark = pytest.mark.anyio


class Interrupted(AsyncClient):
    """Its stream stops after some deltas until `goes_on`, and goes on with the state, as after a long absence."""

    def __init__(self, *args: Any, deltas: int) -> None:
        super().__init__(*args)
        self._deltas = deltas
        self.is_stopped = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def watch(self, chat_id: str, **options: Any) -> AsyncGenerator[Event]:
        async with aclosing(super().watch(chat_id, **options)) as events:
            async for event in events:
                self._deltas -= isinstance(event, Delta)
                if isinstance(event, FactEvent) and event.type == "turn_ended":
                    break  # a busy machine has merged the deltas
                yield event
                if not self._deltas:
                    break
        self.is_stopped.set()
        await self.goes_on.wait()
        async with aclosing(super().watch(chat_id)) as events:
            async for event in events:
                if isinstance(event, Resync):
                    self.is_stopped.clear()
                yield event


@pytest.mark.parametrize("moment", ["in the same draft", "after the turn", "after many messages"])
async def test_what_was_missed_is_sent_once(api: ApiClient, moment: str) -> None:
    url, lines = f"http://127.0.0.1:{api.port}", Lines()
    async with Interrupted(url, api.token, deltas=4) as client, AsyncClient(url, api.token) as configuration:
        agent = Agent(client, lines, configuration=configuration, report=lambda words: None)
        running = asyncio.create_task(agent.run())
        session = {"sessionId": (await lines.ask("session/new", {"cwd": "/", "mcpServers": []}))["sessionId"]}
        prompt = lines.send("session/prompt", {**session, **text("/tokens 60\n/rate 100")})
        chat_id = session["sessionId"]
        await asyncio.wait_for(client.is_stopped.wait(), DEADLINE_S)
        expected = "".join(f"w{n} " for n in range(1, 61))
        if moment != "in the same draft":
            await api.rested(chat_id)
        if moment == "after many messages":
            for number in range(14):
                await api.send(chat_id, f'/say {number}\n/call search_files {{"word": "x"}}')
                await api.rested(chat_id)
                expected += str(number)
        client.goes_on.set()
        answer = await wait_until(lambda: lines.answers.get(prompt), "the prompt is answered")
        assert answer["result"]["stopReason"] == "end_turn"
        assert text_of(lines.updates) == expected
        if moment == "after many messages":
            assert text_of(lines.updates, "user_message_chunk").count("/say") == 14
            assert {call["status"] for call in calls_of(lines.updates).values()} == {"completed"}
        lines.end()
        await running


@pytest.mark.parametrize(
    ("words", "expected"),
    [("/tokens 4000\n/rate 100", "cancelled"), ("/tokens 50\n/rate 100\n/fail auth", None)],
    ids=["stopped", "failed"],
)
async def test_a_prompt_that_ended_meanwhile_is_answered(api: ApiClient, words: str, expected: str | None) -> None:
    url, lines = f"http://127.0.0.1:{api.port}", Lines()
    async with Interrupted(url, api.token, deltas=4) as client, AsyncClient(url, api.token) as configuration:
        agent = Agent(client, lines, configuration=configuration, report=lambda words: None)
        running = asyncio.create_task(agent.run())
        session = {"sessionId": (await lines.ask("session/new", {"cwd": "/", "mcpServers": []}))["sessionId"]}
        prompt = lines.send("session/prompt", {**session, **text(words)})
        await asyncio.wait_for(client.is_stopped.wait(), DEADLINE_S)
        if expected:
            await api.ask("POST", f"/chats/{session['sessionId']}/interrupt", {"turn_id": 2})
        await api.rested(session["sessionId"])
        client.goes_on.set()
        answer = await wait_until(lambda: lines.answers.get(prompt), "the prompt is answered")
        assert answer.get("result", {}).get("stopReason") == expected
        lines.end()
        await running


async def test_loads_of_one_session_at_once_are_all_answered(api: ApiClient) -> None:
    chat_id, url, lines = await api.make_chat("/say hi"), f"http://127.0.0.1:{api.port}", Lines()
    async with AsyncClient(url, api.token) as client:
        running = asyncio.create_task(Agent(client, lines, configuration=client, report=lambda words: None).run())
        opened = {"sessionId": chat_id, "cwd": "/", "mcpServers": []}
        loads = [lines.send("session/load", opened) for _ in range(3)]
        await wait_until(lambda: all(number in lines.answers for number in loads), "answers")
        assert ["result" in lines.answers[number] for number in loads] == [False, False, True]
        assert (await lines.ask("session/prompt", {"sessionId": chat_id, **text("/say two")}))["stopReason"]
        closed = [lines.send("session/load", opened), lines.send("session/close", {"sessionId": chat_id})]
        await wait_until(lambda: all(number in lines.answers for number in closed), "answers")
        lines.end()
        async with asyncio.timeout(DEADLINE_S):
            await running


async def test_a_revoked_token_does_not_end_the_connection(api: ApiClient) -> None:
    url, lines = f"http://127.0.0.1:{api.port}", Lines()
    async with AsyncClient(url, api.token) as client, AsyncClient(url, "revoked") as refused:
        agent = Agent(client, lines, configuration=client, report=lambda words: None)
        running = asyncio.create_task(agent.run())
        session = {"sessionId": (await lines.ask("session/new", {"cwd": "/", "mcpServers": []}))["sessionId"]}
        agent._configuration = refused
        assert await lines.ask("session/set_mode", {**session, "modeId": "steer"}) == {}
        number = lines.send("session/set_config_option", {**session, "configId": "when_busy", "value": "queue"})
        assert "error" in await wait_until(lambda: lines.answers.get(number), "the answer")
        assert (await lines.ask("session/list", {})) is not None
        lines.end()
        async with asyncio.timeout(DEADLINE_S):
            await running


class Lossy(AsyncClient):
    """It loses the answer to the creation of a chat."""

    async def create_chat(self, *args: Any, **fields: Any) -> Any:
        made = await super().create_chat(*args, **fields)
        if args[0] == (Text("/say one"),):
            raise Unavailable("the answer was lost")
        return made


async def test_a_session_goes_on_when_the_answer_to_its_creation_was_lost(api: ApiClient) -> None:
    url, lines = f"http://127.0.0.1:{api.port}", Lines()
    async with Lossy(url, api.token) as client:
        running = asyncio.create_task(Agent(client, lines, configuration=client, report=lambda words: None).run())
        session = {"sessionId": (await lines.ask("session/new", {"cwd": "/", "mcpServers": []}))["sessionId"]}
        assert await lines.ask("session/prompt", {**session, **text("/say one")}) is None
        assert (await lines.ask("session/prompt", {**session, **text("/say two")}))["stopReason"] == "end_turn"
        assert text_of(lines.updates) == "onetwo"
        lines.end()
        async with asyncio.timeout(DEADLINE_S):
            await running
