"""The result of a tool that clients run names files of the owner, as results of the server's tools do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import Agent, Turn
from antiphon.chats.client_tools import ClientTool
from antiphon.chats.doctor import examine
from antiphon.core.model import Status
from antiphon.core.parts import FileReference, ToolResult
from antiphon.errors import Invalid, NotAllowedNow, NotFound
from antiphon.models.anthropic import AnthropicModel
from antiphon.ports import StoredFile
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer
from antiphon.wire.stream import OpenCall
from support.waiting import wait_until

from .running import Talk, running

pytestmark = pytest.mark.anyio

PICK = ClientTool(name="pick")
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (32).to_bytes(4, "big") + (16).to_bytes(4, "big") + bytes(9)


async def upload(instance: EmbeddedInstance, owner_id: str = "", data: bytes = PNG) -> StoredFile:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    return await instance.files.upload(owner_id or instance.owner_id, pieces(), name="a.png")


async def waiting(instance: EmbeddedInstance, text: str = "/call pick {}\n/say done") -> tuple[Talk, OpenCall]:
    done = await instance.chats.create(content=text, tools=[PICK])
    talk = Talk(instance, done.chat_id)
    await talk.wait_status(Status.REQUIRES_ACTION)
    (call,) = await instance.chats.open_calls(talk.chat_id)
    return talk, call


def named(file_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": "file-reference", "file_id": file_id} | fields


async def test_a_result_names_an_uploaded_file_which_the_chat_then_uses() -> None:
    async with running() as instance:
        file = await upload(instance)
        talk, call = await waiting(instance)
        given = {"picked": [named(file.file_id.upper(), file_name="cat.png", note="mine", size=5)], "count": 1}
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, given)
        await talk.wait_ended()
        (content,) = (content for _, content in await talk.history() if isinstance(content[0], ToolResult))
        result, reference = content
        assert isinstance(result, ToolResult)
        shown = named(file.file_id, file_name="cat.png", media_type="image/png", size=len(PNG), note="mine")
        assert result.result == {"picked": [shown], "count": 1}
        assert isinstance(reference, FileReference)
        assert (reference.file_id, reference.file_name, reference.size) == (file.file_id, "cat.png", len(PNG))
        assert (reference.width, reference.height) == (32, 16)
        assert await instance.store.files_of_chat(talk.chat_id) == {file.file_id}
        assert (await examine(instance.store)).findings == ()
        await instance.chats.delete(talk.chat_id)

        async def is_removed() -> bool:
            return await instance.store.find_file(file.file_id) is None

        await wait_until(is_removed)


async def test_a_model_gets_the_image_that_a_client_names() -> None:
    async with FakeModelServer() as server:
        model = AnthropicModel("any", api_key="k", base_url=server.base_url)
        async with running(Agent(model=model)) as instance:
            server.plan(Answer(text="", calls=(FakeCall("pick", {}),)), Answer(text="A cat."))
            file = await upload(instance)
            talk, call = await waiting(instance, "Pick.")
            await instance.chats.submit_result(talk.chat_id, call.tool_call_id, named(file.file_id))
            await talk.wait_ended()
            (sent,) = server.requests[1].body["messages"][-1]["content"]
            assert [block["type"] for block in sent["content"]] == ["text", "image"]
        await model.aclose()


async def test_a_file_of_another_owner_or_none_is_refused_and_the_call_still_waits() -> None:
    async with running() as instance:
        other = await upload(instance, await instance.owner_id_of("other"))
        mine = await upload(instance)
        talk, call = await waiting(instance)
        submit = instance.chats.submit_result
        for wrong in (other.file_id, "nothing"):
            with pytest.raises(NotFound, match="file"):
                await submit(talk.chat_id, call.tool_call_id, [named(mine.file_id), named(wrong)])
        with pytest.raises(Invalid, match="at most 64 files"):
            await submit(talk.chat_id, call.tool_call_id, [named(f"f{number}") for number in range(65)])
        with pytest.raises(Invalid, match="name has at most"):
            await submit(talk.chat_id, call.tool_call_id, named(mine.file_id, file_name="x" * 257))
        with pytest.raises(Invalid, match="file_id"):
            await submit(talk.chat_id, call.tool_call_id, named("x" * 129))
        assert (await talk.chat()).status is Status.REQUIRES_ACTION
        await submit(talk.chat_id, call.tool_call_id, {"type": "file-reference", "file_id": ""})
        await talk.wait_ended()
        assert [result.result for result in await talk.results()] == [{"type": "file-reference", "file_id": ""}]
        with pytest.raises(NotAllowedNow):
            await submit(talk.chat_id, call.tool_call_id, named(mine.file_id))


async def test_an_answer_to_a_question_names_a_file() -> None:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        answer = await turn.ask("Which picture?")
        yield f"{answer['file_name']}"

    async with running(agent) as instance:
        file = await upload(instance)
        talk, call = await waiting(instance, "hi")
        await instance.chats.answer_question(talk.chat_id, call.tool_call_id, named(file.file_id))
        await talk.wait_ended()
        assert (await talk.said())[-1] == "a.png"
        assert await instance.store.files_of_chat(talk.chat_id) == {file.file_id}
