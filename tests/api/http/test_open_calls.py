"""Tool calls that wait for a user are part of the chat, so that a client that connects later can answer them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, tool
from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.client.zmq import RemoteInstance
from antiphon.core.events import Resync
from antiphon.core.view import View

from .api_client import ApiClient, open_api

pytestmark = pytest.mark.anyio


@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


TWO = '/call pay {"amount": 5}\n/call pay {"amount": 7}'


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiClient]:
    async with open_api(agent=Agent(tools=[pay]), data=tmp_path / "data") as opened:
        yield opened


async def waiting_chat(api: ApiClient) -> str:
    """A chat that requires action for two calls."""
    chat_id = await api.make_chat(TWO)
    async for _ in api.instance.chats_of(api.owner_id).watch(chat_id, until_idle=True):
        pass
    return chat_id


def amounts(calls: list[dict[str, Any]]) -> list[int]:
    for call in calls:
        assert set(call) == {"tool_call_id", "tool_name", "args", "needs", "deadline"}
        assert (call["tool_name"], call["needs"]) == ("pay", "approval")
        assert call["deadline"].startswith("20")
    return [call["args"]["amount"] for call in calls]


async def test_a_chat_shows_its_open_calls_wherever_http_shows_it(api: ApiClient) -> None:
    chat_id = await waiting_chat(api)
    assert amounts((await api.chat(chat_id))["open_calls"]) == [5, 7]
    assert amounts((await api.ask("GET", f"/chats/{chat_id}/messages")).json["open_calls"]) == [5, 7]
    (listed,) = (await api.ask("GET", "/chats")).json["chats"]
    assert amounts(listed["open_calls"]) == [5, 7]
    changed = await api.ask("PATCH", f"/chats/{chat_id}", {"title": "t"})
    assert amounts(changed.json["open_calls"]) == [5, 7]


async def test_a_chat_without_open_calls_has_an_empty_list(api: ApiClient) -> None:
    created = await api.ask("POST", "/chats", {"title": "t"})
    assert created.json["open_calls"] == []
    assert (await api.chat(created.json["id"]))["open_calls"] == []


async def test_an_answered_call_is_no_longer_open_and_the_other_still_is(api: ApiClient) -> None:
    chat_id = await waiting_chat(api)
    first, second = (await api.chat(chat_id))["open_calls"]
    body = {"tool_call_id": first["tool_call_id"], "approved": False, "reason": "no"}
    assert (await api.ask("POST", f"/chats/{chat_id}/approvals", body)).status == 200
    assert (await api.chat(chat_id))["open_calls"] == [second]
    body = {"tool_call_id": second["tool_call_id"], "approved": True}
    assert (await api.ask("POST", f"/chats/{chat_id}/approvals", body)).status == 200
    await api.rested(chat_id)
    assert (await api.chat(chat_id))["open_calls"] == []


async def test_many_facts_after_the_question_do_not_hide_it(api: ApiClient) -> None:
    chat_id = await waiting_chat(api)
    first, second = (await api.chat(chat_id))["open_calls"]
    for n in range(80):
        await api.ask("PATCH", f"/chats/{chat_id}", {"pin_order": n})
    body = {"tool_call_id": first["tool_call_id"], "approved": False}
    await api.ask("POST", f"/chats/{chat_id}/approvals", body)
    for n in range(40):
        await api.ask("PATCH", f"/chats/{chat_id}", {"pin_order": n})
    assert (await api.chat(chat_id))["open_calls"] == [second]


async def test_a_late_joiner_learns_of_open_calls_by_its_resync_and_can_answer(api: ApiClient) -> None:
    chat_id = await waiting_chat(api)
    chats = api.instance.chats_of(api.owner_id)
    view = View()
    async for event in chats.watch(chat_id, until_idle=True):
        view.apply(event)
        if isinstance(event, Resync):
            assert amounts(event.chat["open_calls"]) == [5, 7]
    assert amounts(view.open_calls) == [5, 7]
    whole = View()
    async for event in chats.watch(chat_id, after="0", until_idle=True):
        whole.apply(event)
    assert whole.open_calls == view.open_calls
    for call in view.open_calls:
        await chats.approve(chat_id, call["tool_call_id"])
    async for event in chats.watch(chat_id, after=view.cursor, until_idle=True):
        view.apply(event)
    assert (view.open_calls, view.status) == ([], "waiting")


async def test_the_open_calls_survive_a_restart(tmp_path: Path) -> None:
    async with open_api(agent=Agent(tools=[pay]), data=tmp_path / "data") as api:
        chat_id = await waiting_chat(api)
        before = (await api.chat(chat_id))["open_calls"]
        owner_id = api.owner_id
    async with open_api(agent=Agent(tools=[pay]), data=tmp_path / "data") as api:
        chats = api.instance.chats_of(owner_id)
        assert [call.args["amount"] for call in await chats.open_calls(chat_id)] == amounts(before)


async def test_state_sync_and_commands_over_zeromq_show_open_calls(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with (
        open_api(agent=Agent(tools=[pay]), data=data) as api,
        open_zmq_endpoint(api.instance, api.instance.asgi, data) as endpoint,
        RemoteInstance(endpoint.pub_endpoint, endpoint.rpc_endpoint) as remote,
    ):
        assert (await remote.state_sync()).antiphon is None
        chat_id = (await api.instance.chats.create(content=TWO)).chat_id
        async for _ in api.instance.chats.watch(chat_id, until_idle=True):
            pass
        synced = (await remote.state_sync()).antiphon
        assert synced is not None
        opened = synced.open_calls[chat_id]
        assert amounts(list(opened)) == [5, 7]
        assert amounts((await remote.command(chat_id, "rename", title="t"))["open_calls"]) == [5, 7]
        read: Any = await remote.read(chat_id)
        assert amounts(read.events[0]["chat"]["open_calls"]) == [5, 7]
        call_id = opened[0]["tool_call_id"]
        await remote.command(chat_id, "deny", tool_call_id=call_id)
        again = (await remote.state_sync()).antiphon
        assert again is not None
        assert amounts(list(again.open_calls[chat_id])) == [7]
