"""JSON that nests deeper than any reader takes: refused where people send it, text where it was written by others,
and readable again where an earlier version stored it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon import ToolCall, Turn, tool
from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.chats.doctor import examine
from antiphon.client import AsyncClient
from antiphon.core import commands as c
from antiphon.core.facts import ActionRequired, CallOpened
from antiphon.core.model import Needs
from antiphon.core.parts import Text
from antiphon.errors import Invalid
from antiphon.testing.stored_chat import StoredChat
from antiphon.wire.codec import decode_content
from antiphon.wire.log import decode_fact
from api.zmq.peers import Peer

from .api_client import ApiClient, open_api

pytestmark = pytest.mark.anyio


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def message(depth: int) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": "x", "provider_metadata": nested(depth)}]}


@pytest.mark.parametrize("depth", [65, 66, 100, 253, 300])
async def test_a_message_that_nests_deeper_than_64_is_refused_at_every_way_in(api: ApiClient, depth: int) -> None:
    chat_id = await api.make_chat("/stall 60")
    await api.send(chat_id, "waits")
    queued_id = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["queued_messages"][0]["id"]
    for method, path in (
        ("POST", "/chats"),
        ("POST", f"/chats/{chat_id}/messages"),
        ("PATCH", f"/chats/{chat_id}/messages/2"),
        ("PATCH", f"/chats/{chat_id}/queue/{queued_id}"),
    ):
        answer = await api.ask(method, path, message(depth))
        assert (answer.status, answer.code) == (422, "invalid"), path
        assert "deep" in answer.json["error"]["message"]
    assert await api.queued(chat_id) == ["waits"]


async def test_a_message_that_nests_64_deep_is_taken_and_shown_by_the_client(api: ApiClient) -> None:
    chat_id = (await api.ask("POST", "/chats", message(64))).json["id"]
    async with AsyncClient(f"http://127.0.0.1:{api.port}", api.token) as client:
        page = await client.messages(chat_id)
        assert page["messages"][0]["content"] == message(64)["content"]
        events = [event async for event in client.watch(chat_id, after="0", until_idle=True)]
    assert events


async def test_parameters_of_a_model_may_nest_64_deep_and_no_deeper(api: ApiClient) -> None:
    fields = {"name": "deep", "model": "rehearsal", "is_default": False, "is_enabled": True}
    for depth, status in ((64, 201), (65, 422), (300, 422)):
        body = fields | {"name": f"deep {depth}", "parameters": nested(depth)}
        answer = await api.ask("POST", "/model-configs", body, token=api.admin_token)
        assert answer.status == status, (depth, answer.body)


async def test_the_embedding_program_and_the_instance_protocol_are_refused_alike(tmp_path: Path) -> None:
    async with (
        open_api(data=tmp_path / "data") as api,
        open_zmq_endpoint(api.instance, api.instance.asgi, tmp_path / "data") as zmq,
    ):
        chat_id = await api.make_chat()
        parts = decode_content(json.dumps(message(60)["content"]).encode())
        await api.instance.chats.send(chat_id, parts)
        deep = Text("x", provider_metadata=nested(70))
        with pytest.raises(Invalid, match="deep"):
            await api.instance.chats.send(chat_id, [deep])
        async with Peer(zmq) as peer:
            for depth in (65, 250):
                params = {"session_id": chat_id, "command": "send_message"} | message(depth)
                answer = await peer.call("antiphon.command", params)
                assert answer["error"]["data"]["code"] == "invalid"
            answer = await peer.call(
                "antiphon.command", {"session_id": chat_id, "command": "send_message"} | message(64)
            )
            assert "error" not in answer


@tool
def dig(depth: int = 1) -> Any:
    """Give something that nests."""
    return nested(depth)


async def test_results_and_arguments_that_agents_write_too_deep_become_text_and_the_chat_goes_on() -> None:
    seen: list[Any] = []

    async def agent(turn: Turn):
        result = await turn.call(ToolCall("dig", {"depth": 300}))
        seen.append(result.result)
        seen.append(await turn.call(ToolCall("dig", {"depth": 64})))
        await turn.call(ToolCall("dig", nested(300)))
        yield "done"

    async with open_api(agent=agent, tools=(dig,)) as api:
        chat_id = await api.make_chat("go")
        await api.rested(chat_id)
        messages = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
        parts = [part for message in messages for part in message["content"]]
        results = [part["result"] for part in parts if part["type"] == "tool-result"]
        args = [part["args"] for part in parts if part["type"] == "tool-call"]
        assert json.loads(results[0]) == nested(300)
        assert results[1] == nested(64)
        assert json.loads(args[2]) == nested(300)
        assert results[2]["error"] == "invalid_args"
        assert seen[0] == results[0], "the agent is given what is stored"
        assert messages[-1]["content"] == [{"type": "text", "text": "done"}]
        assert (await examine(api.instance.store)).is_sound
        again = await api.send(chat_id, "once more")
        assert again.status == 201
        assert (await api.rested(chat_id))["status"] == "waiting"


def deep_result(depth: int) -> bytes:
    """The content of a tool's message as an earlier version wrote it."""
    part = b'{"result":' + b'{"a":' * depth + b"[]" + b"}" * depth
    return b"[" + part + b',"tool_call_id":"t","tool_name":"t","type":"tool-result"}]'


@pytest.mark.parametrize("depth", [200, 253, 300, 900, 5_000])
async def test_a_chat_that_an_earlier_version_stored_too_deep_comes_back_to_life(tmp_path: Path, depth: int) -> None:
    async with open_api(data=tmp_path / "data") as api:
        chat = StoredChat(api.instance.store, "11111111-1111-4111-8111-111111111111")
        await chat.create(owner_id=api.owner_id, said="hi")
        attempt = await chat.start()
        call = CallOpened(tool_call_id="t", tool_name="t", needs=Needs.SERVER)
        said = (
            b'[{"type":"tool-call","tool_call_id":"t","tool_name":"t","args":' + b"[" * depth + b"]" * depth + b"}]"
        )
        fence = {"attempt": attempt, "draft": chat.chat.draft}
        await chat.do(c.CommitMessage(**fence, content=said, upto=1, calls=(call,)))
        await chat.do(c.CommitToolResult(attempt=attempt, tool_call_id="t", content=deep_result(depth)))
        await chat.do(c.ReleaseAttempt(attempt=attempt, draft=chat.chat.draft))
        assert (await api.rested(chat.chat_id))["status"] == "waiting", "a worker has read it and gone on"
        async with AsyncClient(f"http://127.0.0.1:{api.port}", api.token) as client:
            page = await client.messages(chat.chat_id)
            events = [event async for event in client.watch(chat.chat_id, after="0", until_idle=True)]
        (result,) = [p for m in page["messages"] for p in m["content"] if p["type"] == "tool-result"]
        assert '{"a":{"a":' in json.dumps(result["result"]).replace("\\", "").replace(" ", ""), (
            "the deep part is text"
        )
        assert sum(event.type == "message_appended" for event in events if hasattr(event, "type")) >= 3
        assert (await api.send(chat.chat_id, "and now?")).status == 201
        assert (await api.rested(chat.chat_id))["status"] == "waiting"
        report = await examine(api.instance.store)
        assert report.is_sound, report.findings


async def test_doctor_finds_what_no_reader_can_show(tmp_path: Path) -> None:
    async with open_api(data=tmp_path / "data") as api:
        chat = StoredChat(api.instance.store, "22222222-2222-4222-8222-222222222222")
        await chat.create(owner_id=api.owner_id, said="hi")
        attempt = await chat.start()
        fence = {"attempt": attempt, "draft": chat.chat.draft}
        await chat.do(c.CommitMessage(**fence, content=b'[{"type":"text","text":7}]', upto=1, is_last=True))
        findings = [str(finding) for finding in (await examine(api.instance.store)).findings]
    assert len(findings) == 1
    assert " at 4: it cannot be shown" in findings[0]


def test_a_fact_whose_arguments_an_earlier_version_stored_too_deep_is_read() -> None:
    body = b'{"type":"action_required","calls":[{"tool_call_id":"t","tool_name":"t","args":%b,"needs":"approval"}],'
    body += b'"deadline":1}'
    for depth in (64, 65, 300, 5_000):
        fact = decode_fact(body % (b"[" * depth + b"]" * depth))
        assert isinstance(fact, ActionRequired)
        assert ('"' in json.dumps(fact.calls[0].args)) == (depth > 64), "the deep part is text"
