"""The AI SDK's own chat and transport (npm `ai`) against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from how_to.node import node_marks

from ..http.api_client import ApiClient
from .conftest import NodeClient, UiChat

pytestmark = [pytest.mark.anyio, *node_marks()]


async def open_chat(client: NodeClient, api: ApiClient, **options: Any) -> UiChat:
    return await client.open(f"http://127.0.0.1:{api.port}", api.token, **options)


async def test_a_message_is_answered_with_text_reasoning_and_metadata(
    node_client: NodeClient, api: ApiClient
) -> None:
    chat = await open_chat(node_client, api)
    seen = await chat.send("/think hm\n/tokens 4")
    assert (seen.failure, seen.status, seen.error) == (None, "ready", None)
    assert [part["type"] for part in seen.parts()] == ["step-start", "reasoning", "text"]
    assert all(part["state"] == "done" for part in seen.parts()[1:])
    assert (seen.text, seen.parts("reasoning")[0]["text"]) == ("w1 w2 w3 w4 ", "hm")
    metadata = seen.messages[-1]["metadata"]
    assert metadata["model"] == "rehearsal"
    assert metadata["usage"]["outputTokens"] == 4
    assert seen.finished == [{"isAbort": False, "isDisconnect": False, "isError": False, "finishReason": "stop"}]
    assert seen.requests[0]["stream"] == "v1"
    assert metadata["chatId"] == seen.requests[0]["chatId"]
    assert await api.texts(metadata["chatId"]) == ["user: /think hm\n/tokens 4", "assistant: w1 w2 w3 w4 "]
    seen = await chat.send("/say two")
    assert seen.text == "two"
    assert len(seen.messages) == 4
    assert len(await api.texts(metadata["chatId"])) == 4
