"""The examples of the page about frameworks, each served by a real process: crash, stop, and two owners at once.

Each has a paid tool, whose effects are lines of a file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.testing.model_server import FOREVER, Answer, FakeCall, FakeModelServer, SeenRequest
from how_to.test_wrap_a_framework import FILES
from support.stopwatch import Stopwatch
from support.waiting import wait_until
from system.server_process import ServerProcess

pytestmark = pytest.mark.anyio

EXAMPLES = [name for name in FILES if name.startswith("shop_")]
LINES_MAX = 15
STOP_S = 1.0
"""How long a stop may take, in seconds (the bound of docs/reliability.md)."""
UNMETERED = ("shop_langchain.py", "shop_langgraph.py")
"""Their model asks a server that is not OpenAI's for its usage only with `stream_usage=True`."""
KILLED_ALWAYS, STOPPED_ALWAYS = ("shop_pydantic_ai.py",), ("shop_openai_agents.py", "shop_openai.py")
"""Starting a server with a framework takes seconds; the other examples are tried in the slow part of the suite."""
PAYS = Answer(text="Paying. ", calls=(FakeCall("pay", {"amount": 5}),))
Reply = Callable[[SeenRequest], Answer]


class Shop:
    """An example that is being served."""

    def __init__(self, folder: Path, name: str, models: FakeModelServer) -> None:
        self.models = models
        self.paid = folder / "paid.txt"
        for file, code in FILES.items():
            (folder / file).write_text(code)
        env = {
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": models.base_url,
            "ANTHROPIC_API_KEY": "k",
            "ANTHROPIC_BASE_URL": models.base_url.removesuffix("/v1"),
            "PYTHONPATH": str(folder),
        }
        self.server = ServerProcess(folder / "data", app=f"{folder / name}:agent", cwd=folder, **env)  # type: ignore[arg-type]

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        status, answer = await self.server.ask(method, path, body, **options)
        assert status < 300, answer
        return answer

    async def start_chat(self, text: str = "pay", **options: Any) -> str:
        return f"/chats/{(await self.ask('POST', '/chats', {'content': text}, **options))['id']}"

    async def wait_ended(self, path: str, **options: Any) -> list[dict[str, Any]]:
        """The messages, after the turn has ended."""

        async def read() -> Any:
            return await self.ask("GET", path, **options)

        await wait_until(read, accept=lambda chat: chat["status"] in ("waiting", "error"))
        messages: list[dict[str, Any]] = (await self.ask("GET", f"{path}/messages", **options))["messages"]
        return messages


@asynccontextmanager
async def serving(folder: Path, name: str, default: Reply | None = None) -> AsyncIterator[Shop]:
    async with FakeModelServer(default=default) as models:
        shop = Shop(folder, name, models)
        await shop.server.start()
        try:
            yield shop
        finally:
            await shop.server.kill()


def has_result(request: SeenRequest) -> bool:
    """Whether the request has the result of a tool after the last question."""
    items = request.body.get("input") or request.body["messages"]
    last = items[-1]
    blocks = last["content"] if isinstance(last.get("content"), list) else []
    is_result = last.get("role") == "tool" or last.get("type") == "function_call_output"
    return is_result or any(block["type"] == "tool_result" for block in blocks)


def texts_of(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["content"] if part["type"] == "text"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_short(name: str) -> None:
    code = [line for line in FILES[name].splitlines() if line.strip()]
    assert len(code) <= LINES_MAX


def examples(always: tuple[str, ...]) -> list[Any]:
    return [pytest.param(name, marks=() if name in always else pytest.mark.slow) for name in EXAMPLES]


@pytest.mark.parametrize("name", examples(KILLED_ALWAYS))
async def test_killed_in_the_second_model_call_the_tool_ran_once_and_the_answer_is_whole(
    tmp_path: Path, name: str
) -> None:
    async with serving(tmp_path, name) as shop:
        half = Answer(text="half of it", stall_after=1, stall_s=FOREVER)
        shop.models.plan(PAYS, half, Answer(text="All is paid."))
        path = await shop.start_chat()
        await wait_until(lambda: len(shop.models.requests) == 2 and shop.models.requests[1].pieces_sent > 0)
        await shop.server.kill()
        await shop.server.start()
        messages = await shop.wait_ended(path)
        assert len(shop.paid.read_text().splitlines()) == 1
        assert texts_of(messages[-1]) == ["All is paid."]
        assert next(text for message in messages[1:] for text in texts_of(message)) == "Paying. "
        assert has_result(shop.models.requests[-1])
        usage = (await shop.ask("GET", path))["usage"]
        assert name in UNMETERED or usage["input_tokens"] >= 20, "the tokens are counted"


async def check_stop(shop: Shop) -> None:
    """A stop ends the turn and its request within a second."""
    shop.models.plan(Answer(text="one two three", stall_after=2, stall_s=FOREVER))
    before = len(shop.models.requests)
    path = await shop.start_chat()
    await wait_until(lambda: len(shop.models.requests) > before and shop.models.requests[before].pieces_sent > 1)
    turn_id = (await shop.ask("GET", path))["turn_id"]
    stopwatch = Stopwatch(shop.server.pid)
    await shop.ask("POST", f"{path}/interrupt", {"turn_id": turn_id})
    messages = await shop.wait_ended(path)
    assert stopwatch.elapsed_s() < STOP_S
    await wait_until(lambda: shop.models.requests[before].is_abandoned)
    assert messages[-1]["interrupted"] is True


@pytest.mark.parametrize("name", examples(STOPPED_ALWAYS))
async def test_owners_are_never_mixed_and_a_stop_ends_the_turn_and_its_request_within_a_second(
    tmp_path: Path, name: str
) -> None:
    async with serving(tmp_path, name, lambda seen: Answer(text="ok") if has_result(seen) else PAYS) as shop:
        owners = ["ada", "bob"]
        made = [await shop.ask("POST", "/tokens", {"owner": owner}) for owner in owners]
        tokens = [one["token"] for one in made] * 3
        paths = [await shop.start_chat(token=token) for token in tokens]
        for path, token in zip(paths, tokens, strict=True):
            await shop.wait_ended(path, token=token)
        assert sorted(shop.paid.read_text().splitlines()) == sorted(f"{one['owner_id']} 5" for one in made * 3)
        await check_stop(shop)
