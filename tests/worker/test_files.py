"""Uploaded files in a chat: each model gets the bytes in its own form, up to a limit."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from antiphon import Agent, Turn
from antiphon.clock import SystemClock
from antiphon.core.model import Outcome
from antiphon.core.parts import File, FileReference, Part, Text
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.openai import OpenAIModel
from antiphon.models.responses import ResponsesModel
from antiphon.ports import StoredFile
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.model_server import FakeModelServer
from antiphon.testing.store import WrappedStore

from .running import Talk, running

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2_000
"""More than one piece of a file."""
PNG_DATA = base64.b64encode(PNG).decode()
PDF = b"%PDF-1.7 short"
PDF_DATA = base64.b64encode(PDF).decode()

FORMS: dict[Callable[..., Any], list[Any]] = {
    OpenAIModel: [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_DATA}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF_DATA}"}},
        {"type": "text", "text": "plain é"},
    ],
    ResponsesModel: [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG_DATA}"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF_DATA}"},
        {"type": "input_text", "text": "plain é"},
    ],
    AnthropicModel: [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_DATA}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF_DATA},
            "title": "a.pdf",
        },
        {"type": "text", "text": "plain é"},
    ],
}


async def stored(instance: EmbeddedInstance, data: bytes, media_type: str = "", name: str = "") -> StoredFile:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    return await instance.files.upload(instance.owner_id, pieces(), media_type=media_type, name=name)


async def asked(instance: EmbeddedInstance, *content: Part | StoredFile) -> Talk:
    """A chat whose first turn has ended."""
    parts = [FileReference(file_id=part.file_id) if isinstance(part, StoredFile) else part for part in content]
    done = await instance.chats.create(content=parts)
    talk = Talk(instance, done.chat_id)
    await talk.wait_ended()
    return talk


def words(sent: Any) -> list[str]:
    """The texts of the last message of a request."""
    content = sent["messages"][-1]["content"]
    return [content] if isinstance(content, str) else [piece.get("text", piece["type"]) for piece in content]


@pytest.mark.parametrize("model", FORMS, ids=lambda model: model.__name__)
async def test_each_model_gets_a_file_in_its_own_form(model: Callable[..., Any]) -> None:
    async with FakeModelServer() as server:
        opened = model("test-model", api_key="k", base_url=server.base_url)
        async with running(Agent(model=opened)) as instance:
            files = [
                await stored(instance, PNG, "image/png"),
                await stored(instance, PDF, "application/pdf", "a.pdf"),
                await stored(instance, "plain é".encode(), "text/plain"),
            ]
            await asked(instance, Text("What is this?"), *files)
        body = server.requests[0].body
        message = body["input"][-1] if "input" in body else body["messages"][-1]
        sent = [{k: v for k, v in piece.items() if k != "cache_control"} for piece in message["content"]]
        assert sent == FORMS[model]
        await opened.aclose()


async def test_a_file_that_is_too_large_for_a_model_is_named(tmp_path: Any) -> None:
    """The newest files come first, until all files have the maximum size."""
    async with FakeModelServer() as server:
        opened = OpenAIModel("test-model", api_key="k", base_url=server.base_url)
        limits = {"model_file_bytes": 100, "model_files_bytes": 150}
        async with running(Agent(model=opened), limits=limits) as instance:
            large = await stored(instance, b"x" * 101, "text/plain", "large.txt")
            first = await stored(instance, b"1" * 100, "text/plain", "first.txt")
            second = await stored(instance, b"2" * 100, "text/plain", "second.txt")
            small = await stored(instance, b"s" * 50, "text/plain")
            talk = await asked(instance, first, large)
            assert words(server.requests[0].body) == [
                f"{'1' * 100}\n[the file large.txt (text/plain, 101 bytes) is too large to be sent to the model]"
            ]
            await instance.chats.send(talk.chat_id, [FileReference(file_id=f.file_id) for f in (second, small)])
            await talk.wait(lambda chat: chat.seq > 8 and not chat.turn_id)
        sent = [message["content"] for message in server.requests[1].body["messages"] if message["role"] == "user"]
        assert sent == [
            "[the file first.txt (text/plain, 100 bytes) is too large to be sent to the model]\n"
            "[the file large.txt (text/plain, 101 bytes) is too large to be sent to the model]",
            f"{'2' * 100}\n{'s' * 50}",
        ]
        await opened.aclose()


class ForgetfulStore(WrappedStore):
    """Loses the rows of files after they were named."""

    async def find_file(self, file_id: str) -> StoredFile | None:
        return None


async def test_a_file_that_is_missing_is_named() -> None:
    async with FakeModelServer() as server:
        opened = OpenAIModel("test-model", api_key="k", base_url=server.base_url)
        store = ForgetfulStore(MemoryStore(clock=SystemClock()))
        async with running(Agent(model=opened), store=store) as instance:
            own = await stored(instance, b"own", "text/plain")
            talk = await asked(instance, own)
            assert await talk.endings() == [Outcome.ANSWERED]
        assert words(server.requests[0].body) == [f"[the file {own.file_id} does not exist any more]"]
        await opened.aclose()


async def test_an_agent_loads_the_files_of_its_messages() -> None:
    seen: list[Any] = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append(turn.message.content)
        seen.append((await turn.load_files())[-1].content)
        seen.append((await turn.load_files([turn.message]))[0].content)
        yield "done"

    def blocking(turn: Any) -> Any:
        seen.append(turn.load_files()[-1].content)
        yield "done"

    for function in (agent, blocking):
        async with running(function) as instance:
            file = await stored(instance, PNG, "image/png", "a.png")
            reference = FileReference("b.png", content="", file_id=file.file_id)
            talk = await asked(instance, Text("see"), reference)
            assert await talk.said() == ["done"]
    loaded = (Text("see"), File("image/png", PNG_DATA, name="b.png"))
    assert isinstance(seen[0][1], FileReference), "an agent gets the message as it is stored"
    assert seen[1:] == [loaded, loaded, loaded]


async def test_lines_that_are_quoted_with_a_file_are_kept() -> None:
    async with FakeModelServer() as server:
        opened = OpenAIModel("test-model", api_key="k", base_url=server.base_url)
        async with running(Agent(model=opened)) as instance:
            file = await stored(instance, b"whole", "text/plain")
            await asked(instance, FileReference("a.py", 1, 2, "x = 1", file_id=file.file_id))
        assert words(server.requests[0].body) == ["whole\na.py, lines 1 to 2:\n```\nx = 1\n```"]
        await opened.aclose()
