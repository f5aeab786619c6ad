"""Repeats of the AI SDK's requests run nothing twice, whatever became of the chat meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.wire.ids import named_chat_id
from support.waiting import wait_until

from ..http.api_client import ApiClient

pytestmark = pytest.mark.anyio


def body(name: str, text: str) -> dict[str, Any]:
    message = {"id": name, "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": "c", "messages": [message], "trigger": "submit-message"}


async def test_a_queued_message_may_be_repeated_while_the_chat_waits_for_an_approval(api: ApiClient) -> None:
    chat_id = named_chat_id(api.owner_id, "ui", "c")
    asking = [asyncio.create_task(api.ask("POST", "//api/ui/chat", body("m1", "/stall 0.5\n/call pay {}")))]
    await wait_until(lambda: _status(api, chat_id), accept=lambda status: status == "running")
    asking.append(asyncio.create_task(api.ask("POST", "//api/ui/chat", body("m2", "/say second"))))
    await wait_until(lambda: _status(api, chat_id), accept=lambda status: status == "requires_action")
    asking.append(asyncio.create_task(api.ask("POST", "//api/ui/chat", body("m2", "/say second"))))
    await wait_until(lambda: len(api.instance.watch) == 2 or asking[-1].done(), "the first request has ended")
    for call in (await api.chat(chat_id))["open_calls"]:
        answer = {"tool_call_id": call["tool_call_id"], "approved": False}
        assert (await api.ask("POST", f"/chats/{chat_id}/approvals", answer)).status == 200
    answers = await asyncio.gather(*asking)
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [b"second" in answer.body for answer in answers] == [False, True, True]
    texts = await api.texts(chat_id)
    assert texts.count("user: /say second") == 1


async def _status(api: ApiClient, chat_id: str) -> str:
    answer = await api.ask("GET", f"/chats/{chat_id}")
    return str(answer.json["status"]) if answer.status == 200 else ""
