"""The examples run as their first lines say, and do what they show."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from antiphon import open_instance
from antiphon.client import AsyncClient
from antiphon.core.events import Delta, FactEvent
from antiphon.core.parts import ToolProgress
from antiphon.testing.model_server import Answer, FakeModelServer, Fault
from support.ports import free_port

from .serving import ROOT, answer, last_text, process, served

pytestmark = pytest.mark.anyio


async def test_text_reads_the_question_backwards(tmp_path: Path) -> None:
    async with served("text.py:agent", tmp_path) as client:
        view, events = await answer(client, "one two three")
        assert view.status == "waiting"
        assert [part["type"] for part in view.messages[-1]["content"]] == ["reasoning", "text"]
        assert last_text(view) == "three two one "
        assert sum(isinstance(event, Delta) for event in events) >= 2


async def test_tools_add_and_roll_with_progress(tmp_path: Path) -> None:
    async with served("tools.py:agent", tmp_path) as client:
        view, events = await answer(client, '/call add {"a": 1, "b": 2}\n/call roll {"count": 3}\n/say Done.')
        assert view.status == "waiting"
        results = {
            part["tool_name"]: part["result"]
            for message in view.messages
            if message["role"] == "tool"
            for part in message["content"]
        }
        assert results["add"] == 3
        assert len(results["roll"]) == 3
        assert all(1 <= die <= 6 for die in results["roll"])
        reported = [
            event.part.text for event in events if isinstance(event, Delta) and isinstance(event.part, ToolProgress)
        ]
        assert reported == [f"die {n} of 3 ..." for n in (1, 2, 3)]
        assert last_text(view) == "Done."


async def test_an_sdk_of_ones_own_streams_counts_and_is_tried_again(tmp_path: Path) -> None:
    async with FakeModelServer() as server:
        server.plan(Fault(status=429), Answer(text="Hello from the SDK."), Answer(text="And again."))
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "key", "EXAMPLE_MODEL": "my-model"}
        async with served("openai_sdk.py:agent", tmp_path, **env) as client:
            view, events = await answer(client, "hello")
            assert last_text(view) == "Hello from the SDK."
            (retry,) = [event for event in events if isinstance(event, FactEvent) and event.type == "retry_scheduled"]
            assert (retry.data["kind"], retry.data["provider"]) == ("rate_limit", "openai")
            usage = view.messages[-1]["usage"]
            assert (usage["input_tokens"], usage["output_tokens"]) == (10, 4)
            chat_id = view.messages[-1]["chat_id"]
            await client.send(chat_id, "go on")
            await server.wait_until(lambda: len(server.requests) == 3)
            assert [message["content"] for message in server.requests[2].body["messages"]] == [
                "hello",
                "Hello from the SDK.",
                "go on",
            ]
            assert server.requests[2].body["model"] == "my-model"


# --- embedded


async def make_token(data: Path) -> str:
    """A token of the data directory, made before the app takes it."""
    async with open_instance(data=data) as instance:
        made = await instance.tokens.create("admin")
        return made.secret


@asynccontextmanager
async def embedded(folder: Path, *options: str) -> AsyncIterator[tuple[httpx2.AsyncClient, AsyncClient]]:
    """The app under uvicorn: a plain client for all of it, and one for the chats below /chat."""
    data, port = folder / "data", free_port()
    token = await make_token(data)
    command = ("-m", "uvicorn", "--app-dir", "examples", "embedded:app", "--port", str(port), *options)

    async def is_ready(pid: int) -> bool:
        try:
            return (await http.get("/chat/healthz")).status_code == 200
        except httpx2.TransportError:
            return False

    async with (
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http,
        AsyncClient(f"http://127.0.0.1:{port}/chat", token) as client,
        process(*command, log=folder / "log", ready=is_ready, EXAMPLE_DATA=str(data)),
    ):
        yield http, client


async def test_an_app_with_chats_inside(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (http, client):
        asked = (await http.get("/ask", params={"q": "/say Hello."})).json()
        assert asked["messages"] == 2
        assert [chat["id"] for chat in (await client.chats())["chats"]] == [asked["chat_id"]]
        view, _ = await answer(client, "/say Hello from the mount.")
        assert last_text(view) == "Hello from the mount."
        assert (await http.get("/chat/api/v1/chats")).status_code == 401
        assert (await http.get("/api/v1/chats")).status_code == 404


async def test_the_page_is_whole_where_it_is_mounted(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (http, _):
        await check_page(http)


async def check_page(http: httpx2.AsyncClient) -> None:
    """The page is at /chat/, and all that it loads, and all that that loads, is there, too."""
    redirect = await http.get("/chat")
    assert (redirect.status_code, redirect.headers["location"]) == (307, f"{http.base_url}/chat/")
    page = await http.get("/chat/")
    assert page.headers["content-type"].startswith("text/html")
    wanted = [urljoin("/chat/", place) for place in re.findall(r'(?:src|href)="([^"#]+)"', page.text)]
    seen: set[str] = set()
    while wanted:
        place = wanted.pop()
        if place in seen:
            continue
        seen.add(place)
        assert place.startswith("/chat/"), f"{place} is not below where the app is mounted"
        asset = await http.get(place)
        assert asset.status_code == 200, place
        if place.endswith(".js"):
            assert asset.headers["content-type"].startswith("text/javascript")
            imports = re.findall(r"""^(?:import|export)\b[^'";]*?['"](\.[^'"]+)['"]""", asset.text, re.MULTILINE)
            wanted += [urljoin(place, name) for name in imports]
    bare = {re.sub(r"/assets/[0-9a-f]{16}/", "/assets/", place) for place in seen}
    assert {
        "/chat/assets/bundles/main.js",
        "/chat/assets/bundles/main.css",
        "/chat/manifest.webmanifest",
    } <= bare | seen


async def test_an_app_with_an_embedded_instance_stops_while_a_stream_is_open(tmp_path: Path) -> None:
    """With a server that does not wait for open streams, as uvicorn does by default."""
    async with embedded(tmp_path, "--timeout-graceful-shutdown", "1") as (_, client):
        chat = await client.create_chat("/say Hello.")
        is_watched = asyncio.Event()
        watching = asyncio.create_task(watch_for_ever(client, chat["id"], is_watched))
        await is_watched.wait()
    watching.cancel()
    await asyncio.wait({watching})


async def watch_for_ever(client: AsyncClient, chat_id: str, is_watched: asyncio.Event) -> None:
    async with aclosing(client.watch(chat_id)) as events:
        async for _ in events:
            is_watched.set()


def test_every_example_says_how_it_is_run() -> None:
    for example in (ROOT / "examples").glob("*.py"):
        assert re.search(r"^Run it: .*\./dev (run|exec) ", example.read_text(), re.MULTILINE), example.name
