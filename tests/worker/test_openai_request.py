"""What the OpenAI model is sent, seen by a fake server."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.core.parts import (
    File,
    FileReference,
    Part,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from antiphon.ports import Message, ToolSpec
from antiphon.testing.model_server import FakeModelServer

from .asking import KEY, PROMPT, answer, request

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server


async def test_the_request_has_the_model_and_the_key(server: FakeModelServer) -> None:
    tool = ToolSpec(name="add", description="Adds.", parameters={"type": "object"})
    await answer(server, request(system="Be brief.", tools=(tool,)))
    seen = server.requests[0]
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "test-model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
            }
        ],
    }


async def sent_messages(server: FakeModelServer, *messages: Message) -> list[dict[str, Any]]:
    await answer(server, request(*messages))
    sent: list[dict[str, Any]] = server.requests[0].body["messages"]
    return sent


async def test_tool_calls_and_their_results_are_sent(server: FakeModelServer) -> None:
    said: tuple[Part, ...] = (
        Reasoning("secret thought"),
        Text("Let me see."),
        ToolCall("x", "add", {"a": 1}),
        ToolCall("y", "now"),
    )
    sent = await sent_messages(
        server,
        Message(id=2, role=Role.USER, content=(Text("Go"), Text("on"))),
        Message(id=4, role=Role.ASSISTANT, content=said),
        Message(id=5, role=Role.TOOL, content=(ToolResult("x", "add", {"sum": 3}),)),
        Message(id=6, role=Role.TOOL, content=(ToolResult("y", "now", "no clock", is_error=True),)),
    )
    assert sent == [
        {"role": "user", "content": "Go\non"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                {"id": "y", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "x", "content": '{"sum":3}'},
        {"role": "tool", "tool_call_id": "y", "content": "Error: no clock"},
    ]


async def test_an_interrupted_partial_answer_is_sent_and_an_empty_one_omitted(server: FakeModelServer) -> None:
    sent = await sent_messages(
        server,
        Message(id=2, role=Role.USER, content=(Text("One"),)),
        Message(id=3, role=Role.ASSISTANT, content=(Text("Half an"),), is_interrupted=True),
        Message(id=4, role=Role.USER, content=(Text("Two"),)),
        Message(id=5, role=Role.ASSISTANT, content=(Reasoning("Hm"),), is_interrupted=True),
        Message(id=6, role=Role.USER, content=(Text("Three"),)),
    )
    assert [message["content"] for message in sent] == ["One", "Half an", "Two", "Three"]


async def test_images_and_files_are_sent_in_the_supported_forms(server: FakeModelServer) -> None:
    content: tuple[Part, ...] = (
        Text("Pictures:"),
        File("image/png", "AAAA"),
        File("application/pdf", "BBBB"),
        File("application/pdf", "DDDD", name="bill.pdf"),
        File("audio/mpeg", "CCCC"),
        File("text/plain; charset=utf-8", base64.b64encode("é".encode()).decode()),
        File("image/png", file_id="f1"),
        FileReference("a.py", 3, 4, "x = 1"),
        Source("s", "http://example.org", "Example"),
    )
    (sent,) = await sent_messages(server, Message(id=2, role=Role.USER, content=content))
    assert sent["content"] == [
        {"type": "text", "text": "Pictures:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,BBBB"}},
        {"type": "file", "file": {"filename": "bill.pdf", "file_data": "data:application/pdf;base64,DDDD"}},
        {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "mp3"}},
        {"type": "text", "text": "é"},
        {"type": "text", "text": "[a file of type image/png that cannot be shown here]"},
        {"type": "text", "text": "a.py, lines 3 to 4:\n```\nx = 1\n```"},
        {"type": "text", "text": "Example http://example.org"},
    ]
