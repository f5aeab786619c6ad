"""Files that tools and agents store: people see them in the chat, and models get them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from antiphon import Agent, AgentError, FileReference, FileRefused, ToolCall, ToolContext, Turn, tool
from antiphon.clock import SystemClock
from antiphon.core.model import Outcome
from antiphon.core.parts import Part, Role, Text, ToolResult
from antiphon.errors import Unavailable
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.openai import OpenAIModel
from antiphon.models.responses import ResponsesModel
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer
from antiphon.testing.store import WrappedStore
from antiphon.worker.turn_files import CALL_FILES_MAX

from .running import Talk, ask, running

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000000200000001008060000") + bytes(600_000)
"""The head of an image of 32 × 16 pixels; more than two pieces."""


@tool
async def draw(name: str, context: ToolContext) -> Any:
    """Draw a picture."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(PNG), 100_000):
            yield PNG[start : start + 100_000]

    return {"drawn": [await context.store_file(pieces(), name=name)], "note": "done"}


@tool
def export(context: ToolContext) -> Any:
    """Export text, SVG and PDF files."""
    files = ((b"a,b", "text/csv", "a.csv"), (b"<svg/>", "image/svg+xml", "b.svg"), (b"%PDF-1.7", "", "c.pdf"))
    return [context.store_file_blocking(data, media_type=kind, name=name) for data, kind, name in files]


@tool
def plot(context: ToolContext) -> Any:
    """Plot, in a thread."""
    return context.store_file_blocking(PNG, media_type="image/png", name="plot.png")


def calling(name: str, args: Any = None) -> Any:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        result = await turn.call(ToolCall(name, args or {}))
        yield f"{result.result}"

    return agent


async def tool_message(talk: Talk) -> tuple[Part, ...]:
    return next(content for role, content in await talk.history() if role is Role.TOOL)


async def result_of(function: Any) -> ToolResult:
    """The result of a call of a tool without arguments."""
    async with running(calling(function.name), tools=[function]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        return (await talk.results())[0]


async def test_a_tool_returns_a_file() -> None:
    async with running(calling("draw", {"name": "../a\n/my cat.png"}), tools=[draw]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        result, reference = await tool_message(talk)
        assert isinstance(result, ToolResult)
        assert isinstance(reference, FileReference)
        assert (reference.file_name, reference.media_type) == ("my cat.png", "image/png")
        assert (reference.size, reference.width, reference.height) == (len(PNG), 32, 16)
        shown = {"type": "file-reference", "file_id": reference.file_id, "file_name": "my cat.png"}
        shown |= {"media_type": "image/png", "size": len(PNG)}
        assert result.result == {"drawn": [shown], "note": "done"}
        file = await instance.files.get(instance.owner_id, reference.file_id)
        assert b"".join([piece async for piece in await instance.files.open(file, 0, file.size)]) == PNG
        assert await instance.store.files_of_chat(talk.chat_id) == {reference.file_id}


async def test_a_plain_function_stores_a_file_from_its_thread() -> None:
    async with running(calling("plot"), tools=[plot]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        result, reference = await tool_message(talk)
        assert isinstance(result, ToolResult)
        assert result.result["file_name"] == "plot.png"
        assert isinstance(reference, FileReference)


async def test_equal_files_are_stored_once() -> None:
    async with running(calling("plot"), tools=[plot]) as instance:
        for _ in range(2):
            await (await ask(instance)).wait_ended()
        assert await instance.store.file_usage(instance.owner_id) == (1, len(PNG))


async def test_agents_yield_the_files_that_they_store() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield "Here: "
        yield await turn.store_file(PNG, name="a.png")
        yield " and there."

    def blocking(turn: Any) -> Any:
        yield "Here: "
        yield turn.store_file(PNG, name="a.png")
        yield " and there."

    for function in (agent, blocking):
        async with running(function) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            (_, content) = (await talk.history())[-1]
            first, reference, last = content
            assert (first, last) == (Text("Here: "), Text(" and there."))
            assert isinstance(reference, FileReference)
            assert reference.width == 32
            assert await instance.store.files_of_chat(talk.chat_id) == {reference.file_id}


async def test_an_agent_yields_no_file_of_another_chat() -> None:
    stored: list[FileReference] = []

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        if not stored:
            stored.append(await turn.store_file(PNG))
        else:
            yield "text"
            yield stored[0]

    async with running(agent) as instance:
        await (await ask(instance)).wait_ended()
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.FAILED]
        assert await instance.store.files_of_chat(talk.chat_id) == frozenset()


async def test_a_result_names_only_files_of_its_chat() -> None:
    """A result may be text of another program, which must not bring in the files of other chats."""
    stored: list[str] = []

    @tool
    async def steal(context: ToolContext) -> Any:
        """Name a file of another chat."""
        if not stored:
            stored.append((await context.store_file(PNG)).file_id)
            return "stored"
        return [{"type": "file-reference", "file_id": stored[0]}, {"type": "file-reference", "file_id": 3}]

    async with running(calling("steal"), tools=[steal]) as instance:
        await (await ask(instance)).wait_ended()
        talk = await ask(instance)
        await talk.wait_ended()
        assert len(await tool_message(talk)) == 1
        assert await instance.store.files_of_chat(talk.chat_id) == frozenset()


async def test_a_tool_returns_a_file_that_a_person_has_sent() -> None:
    @tool
    def again(file_id: str) -> Any:
        """Return a file of the chat."""
        return FileReference(file_id=file_id)

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        (sent,) = (part for part in turn.message.content if isinstance(part, FileReference))
        await turn.call(ToolCall("again", {"file_id": sent.file_id}))
        yield "done"

    async with running(agent, tools=[again]) as instance:
        file = await instance.files.store(instance.owner_id, _one(PNG), name="sent.png")
        done = await instance.chats.create(content=[Text("see"), FileReference(file_id=file.file_id)])
        talk = Talk(instance, done.chat_id)
        await talk.wait_ended()
        (_, reference) = await tool_message(talk)
        assert isinstance(reference, FileReference)
        assert (reference.file_name, reference.size, reference.height) == ("sent.png", len(PNG), 16)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_file_that_no_result_names_expires() -> None:
    @tool
    async def forget(context: ToolContext) -> str:
        """Store a file, and do not return it."""
        await context.store_file(b"forgotten")
        return "nothing"

    async with running(calling("forget"), tools=[forget], limits={"file_unused_s": 0.001}) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert len(await tool_message(talk)) == 1
        assert await instance.store.remove_expired_files(limit=9) == 1


async def test_a_file_of_an_interrupted_tool_expires() -> None:
    """Its result is never committed: the file is like an upload that no chat names."""
    begun = asyncio.Event()

    @tool
    async def hang(context: ToolContext) -> Any:
        """Store a file, and hang before returning it."""
        reference = await context.store_file(b"lost")
        begun.set()
        await asyncio.Event().wait()
        return reference

    async with running(calling("hang"), tools=[hang], limits={"file_unused_s": 0.001}) as instance:
        talk = await ask(instance)
        await begun.wait()
        await instance.chats.interrupt(talk.chat_id, (await talk.chat()).turn_id)
        await talk.wait_ended()
        assert await instance.store.files_of_chat(talk.chat_id) == frozenset()
        assert await instance.store.remove_expired_files(limit=9) == 1


@pytest.mark.parametrize("model", [OpenAIModel, ResponsesModel, AnthropicModel])
async def test_files_of_a_result_that_are_no_images_are_named_and_not_read(model: Callable[..., Any]) -> None:
    """A model would read all of an export, and providers refuse requests with types that they do not know."""
    async with FakeModelServer() as server:
        server.plan(Answer(calls=(FakeCall("export"),)))
        opened = model("test-model", api_key="k", base_url=server.base_url)
        async with running(Agent(model=opened, tools=[export])) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            assert len(await tool_message(talk)) == 4
        sent = repr(server.requests[1].body)
        for named in (
            "a.csv (text/csv, 3 bytes)",
            "b.svg (image/svg+xml, 6 bytes)",
            "c.pdf (application/pdf, 8 bytes)",
        ):
            assert f"[the file {named} that cannot be shown here]" in sent
        assert base64.b64encode(b"<svg/>").decode() not in sent
        await opened.aclose()


# --- limits


@pytest.mark.parametrize(
    ("data", "media_type", "code"),
    [
        (b"", "", "invalid"),
        (b"no image", "image/png", "invalid"),
        (b"x" * 2_000, "", "too_large"),
        (3, "", "invalid"),
    ],
)
async def test_a_file_is_stored_by_the_rules_of_uploads(data: Any, media_type: str, code: str) -> None:
    @tool
    async def store(context: ToolContext) -> Any:
        """Store a file that is not allowed."""
        return await context.store_file(data, media_type=media_type)

    async with running(calling("store"), tools=[store], limits={"file_bytes": 1_000}) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        (result,) = await talk.results()
        assert result.is_error
        assert result.result["error"] == code
        assert await instance.store.file_usage(instance.owner_id) == (0, 0)


async def test_a_call_stores_a_maximum_of_files() -> None:
    @tool
    async def many(context: ToolContext) -> Any:
        """Store one file too many."""
        stored = [await context.store_file(b"%d" % n) for n in range(CALL_FILES_MAX)]
        with pytest.raises(FileRefused, match=f"at most {CALL_FILES_MAX}"):
            await context.store_file(b"more")
        return [reference.file_id for reference in stored]

    assert len((await result_of(many)).result) == CALL_FILES_MAX


async def test_a_turn_stores_a_maximum_of_bytes() -> None:
    refused: list[str] = []

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        yield await turn.store_file(b"x" * 600)
        try:
            await turn.store_file(b"y" * 600)
        except FileRefused as error:
            refused.append(f"{error.code}: {error}")

    async with running(agent, limits={"turn_files_bytes": 1_000}) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]
        assert await instance.store.file_usage(instance.owner_id) == (1, 600)
    assert refused == [
        "too_large: The file was not stored: The sum of the files stored in one turn (in bytes) is too large: "
        "at most 1000 are allowed."
    ]


async def test_a_turn_that_has_ended_stores_no_file() -> None:
    turns: list[Turn] = []

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        turns.append(turn)
        yield "done"

    async with running(agent) as instance:
        await (await ask(instance)).wait_ended()
        with pytest.raises(FileRefused, match="ended"):
            await turns[0].store_file(b"late")


async def test_a_store_that_fails_is_an_error_of_the_call() -> None:
    class FullStore(WrappedStore):
        async def write_file_piece(self, file_id: str, offset: int, piece: bytes) -> None:
            raise Unavailable("the disk is full")

    caught: list[AgentError] = []

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        try:
            await turn.store_file(b"x")
        except AgentError as error:
            caught.append(error)
        yield "done"

    async with running(agent, store=FullStore(MemoryStore(clock=SystemClock()))) as instance:
        await (await ask(instance)).wait_ended()
    assert [error.kind for error in caught] == ["server"]


async def test_an_agent_that_starts_again_repeats_its_files() -> None:
    runs: list[int] = []

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        runs.append(1)
        yield await turn.store_file(PNG, name="a.png")
        await turn.call(ToolCall("plot"))
        if len(runs) == 1:
            raise AgentError("overloaded")
        yield "done"

    async with running(agent, tools=[plot]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]
        said = [content for role, content in await talk.history() if role is Role.ASSISTANT]
        assert [sum(isinstance(part, FileReference) for part in content) for content in said] == [1, 0]
        assert await instance.store.file_usage(instance.owner_id) == (1, len(PNG))


# --- models


DATA = base64.b64encode(PNG).decode()
NAMED = '{"file_id":"ID","file_name":"plot.png","media_type":"image/png","size":SIZE,"type":"file-reference"}'
FORMS: dict[Callable[..., Any], Any] = {
    OpenAIModel: f"{NAMED}\n[the file plot.png (image/png, {len(PNG):,} bytes) cannot be shown here]",
    ResponsesModel: [
        {"type": "input_text", "text": NAMED},
        {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"},
    ],
    AnthropicModel: [
        {"type": "text", "text": NAMED},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    ],
}


@pytest.mark.parametrize("model", FORMS, ids=lambda model: model.__name__)
async def test_each_model_gets_the_files_of_a_result_in_its_own_form(model: Callable[..., Any]) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(calls=(FakeCall("plot"),)))
        opened = model("test-model", api_key="k", base_url=server.base_url)
        async with running(Agent(model=opened, tools=[plot])) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            (_, reference) = await tool_message(talk)
        body = server.requests[1].body
        if "input" in body:
            sent = next(item["output"] for item in body["input"] if item["type"] == "function_call_output")
        else:
            last = body["messages"][-1]
            sent = last["content"] if last["role"] == "tool" else last["content"][0]["content"]
        assert isinstance(reference, FileReference)
        shown = repr(sent).replace(reference.file_id, "ID").replace(str(len(PNG)), "SIZE")
        assert shown == repr(FORMS[model])
        await opened.aclose()
