"""The parts of people's messages and the names of models, by every way in: HTTP, ZeroMQ, commands, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import Turn
from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.client.zmq import RemoteInstance
from antiphon.core.parts import File, Text
from antiphon.errors import AntiphonError, Invalid

from .api_client import ApiClient, open_api

pytestmark = pytest.mark.anyio

IMAGE = [
    {"type": "input_text", "text": "what is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO\nRw=="}},
]
STORED = [
    {"type": "text", "text": "what is this?"},
    {"type": "file", "media_type": "image/png", "data": "iVBORw=="},
]
BAD = [[{"type": "input_audio", "x": 1}], [{"type": "file", "media_type": "a/b", "data": "%%%"}]]

Send = Callable[[Any], Awaitable[str]]


class Ways:
    """Each way in sends content and gives the chat; it raises an `AntiphonError` where it is refused."""

    def __init__(self, api: ApiClient, remote: RemoteInstance) -> None:
        self.api = api
        self.remote = remote

    async def _http(self, method: str, path: str, body: Any) -> Any:
        answer = await self.api.ask(method, path, body)
        if answer.status == 422:
            raise Invalid(answer.json["error"]["field"], answer.json["error"]["reason"])
        assert answer.status in (200, 201, 202), answer.body
        return answer.json

    async def create(self, content: Any) -> str:
        return str((await self._http("POST", "/chats", {"content": content}))["id"])

    async def send(self, content: Any) -> str:
        chat_id = await self.create("first")
        await self._http("POST", f"/chats/{chat_id}/messages", {"content": content})
        return chat_id

    async def edit(self, content: Any) -> str:
        chat_id = await self.create("first")
        await self._http("PATCH", f"/chats/{chat_id}/messages/2", {"content": content})
        return chat_id

    async def edit_queued(self, content: Any) -> str:
        chat_id = await self.create("/stall 600")
        sent = await self._http("POST", f"/chats/{chat_id}/messages", {"content": "waits"})
        await self._http("PATCH", f"/chats/{chat_id}/queue/{sent['seq']}", {"content": content})
        await self._http("POST", f"/chats/{chat_id}/queue/{sent['seq']}/promote", None)
        return chat_id

    async def session_create(self, content: Any) -> str:
        return (await self.remote.call("session.create", {"content": content}))["id"]  # type: ignore[no-any-return]

    async def command_send(self, content: Any) -> str:
        chat_id = await self.create("first")
        await self.remote.command(chat_id, "send_message", content=content)
        return chat_id

    async def command_edit(self, content: Any) -> str:
        chat_id = await self.create("first")
        await self.remote.command(chat_id, "edit_message", message_id=2, content=content)
        return chat_id

    async def in_process(self, content: Any) -> str:
        return (await self.api.instance.chats.create(content=content)).chat_id


WAYS = ("create", "send", "edit", "edit_queued", "session_create", "command_send", "command_edit", "in_process")


@pytest.fixture(scope="module")
async def ways(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    data: Path = tmp_path_factory.mktemp("ways") / "data"
    async with (
        open_api(data=data) as api,
        open_zmq_endpoint(api.instance, api.instance.asgi, data) as endpoint,
        RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint) as remote,
    ):
        yield Ways(api, remote)


async def last_sent(ways: Ways, chat_id: str) -> Any:
    async for _ in ways.api.instance.chats_of(ways.api.owner_id).watch(chat_id, until_idle=True):
        pass
    page = (await ways.api.ask("GET", f"/chats/{chat_id}/messages")).json
    return [message["content"] for message in page["messages"] if message["role"] == "user"][-1]


@pytest.mark.parametrize("way", WAYS)
async def test_parts_of_other_apis_are_translated_by_every_way_in(ways: Ways, way: str) -> None:
    assert await last_sent(ways, await getattr(ways, way)(IMAGE)) == STORED


@pytest.mark.parametrize("content", BAD, ids=["unknown", "no base64"])
@pytest.mark.parametrize("way", WAYS)
async def test_parts_that_cannot_reach_a_model_are_refused_by_every_way_in(
    ways: Ways, way: str, content: Any
) -> None:
    with pytest.raises(AntiphonError) as refused:
        await getattr(ways, way)(content)
    assert refused.value.code == "invalid"
    assert "content[0]" in str(refused.value)


async def test_parts_reach_an_agent_as_typed_values() -> None:
    seen: list[Any] = []

    async def agent(turn: Turn):
        seen.extend(turn.messages[-1].content)
        yield "ok"

    async with open_api(agent=agent) as api:
        chat_id = await api.make_chat(IMAGE)  # type: ignore[arg-type]
        await api.rested(chat_id)
        assert seen == [Text("what is this?"), File("image/png", "iVBORw==")]


# --- models that cannot exist


@pytest.mark.parametrize("model", ["nonsense", "nonsense:x", "openai:", ":x", "rehearsal:x", "Rehearsal"])
async def test_a_model_that_cannot_exist_is_refused_and_nothing_is_stored(ways: Ways, model: str) -> None:
    api = ways.api
    made = await api.ask("POST", "/chats", {"title": "t"})
    chat_id = made.json["id"]
    chats = (await api.ask("GET", "/chats?limit=500")).json["chats"]
    for method, path, body in (
        ("POST", "/chats", {"content": "hi", "model": model}),
        ("POST", f"/chats/{chat_id}/messages", {"content": "hi", "model": model}),
        ("PATCH", f"/chats/{chat_id}", {"model": model, "title": "changed"}),
    ):
        answer = await api.ask(method, path, body)
        assert (answer.status, answer.code) == (422, "invalid"), (path, answer.body)
        assert "there is no model" in answer.json["error"]["message"]
    assert (await api.chat(chat_id))["seq"] == made.json["seq"]
    assert len((await api.ask("GET", "/chats?limit=500")).json["chats"]) == len(chats)
    with pytest.raises(AntiphonError) as refused:
        await ways.remote.command(chat_id, "set_model", model=model)
    assert refused.value.code in ("invalid", "not_found")


@pytest.mark.parametrize("model", ["", "rehearsal", "openai:gpt-4o-mini"])
async def test_a_model_that_can_exist_is_taken(ways: Ways, model: str) -> None:
    made = await ways.api.ask("POST", "/chats", {"title": "t", "model": model})
    assert made.status == 201
    assert (await ways.api.ask("PATCH", f"/chats/{made.json['id']}", {"model": model})).status == 200


async def test_a_configured_model_is_taken_and_refused_when_it_is_gone_but_a_repeat_is_answered(
    tmp_path: Path,
) -> None:
    async with open_api(data=tmp_path / "data") as api:
        admin: dict[str, Any] = {"token": api.admin_token}
        body = {"name": "fast", "model": "rehearsal"}
        config = await api.ask("POST", "/model-configs", body, **admin)
        assert config.status == 201, config.body
        chat_id = await api.make_chat("first")
        await api.rested(chat_id)
        send = {"content": "hi", "model": "fast", "client_message_id": "c-1"}
        first = await api.ask("POST", f"/chats/{chat_id}/messages", send)
        assert first.status == 201
        await api.rested(chat_id)
        assert (await api.ask("DELETE", f"/model-configs/{config.json['id']}", **admin)).status == 204
        again = await api.ask("POST", f"/chats/{chat_id}/messages", send)
        assert (again.status, again.json["seq"]) == (201, first.json["seq"])
        other = await api.ask("POST", f"/chats/{chat_id}/messages", send | {"client_message_id": "c-2"})
        assert other.status == 422


async def test_an_agent_of_ones_own_takes_any_name_of_a_model() -> None:
    async def agent(turn: Turn):
        yield turn.model

    async with open_api(agent=agent) as api:
        assert (await api.ask("POST", "/chats", {"content": "hi", "model": "mine/v2"})).status == 201
