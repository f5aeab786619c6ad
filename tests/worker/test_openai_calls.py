"""Tool calls as servers send them, brought into the order the port promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.core.parts import (
    Role,
    Text,
    ToolCall,
    ToolCallArgs,
    ToolCallOpened,
)
from antiphon.ports import Message
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer

from .asking import answer, calls, request, text

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server


def call_piece(index: int | None, id: str | None, name: str | None, args: Any) -> dict[str, Any]:  # noqa: A002
    function = {"name": name, "arguments": args}
    piece = {
        "index": index,
        "id": id,
        "function": {key: value for key, value in function.items() if value is not None},
    }
    return {"tool_calls": [{key: value for key, value in piece.items() if value is not None}]}


async def test_tool_calls_come_with_their_arguments_in_pieces(server: FakeModelServer) -> None:
    server.plan(Answer(calls=(FakeCall("add", {"a": 1, "b": "é"}, id="x"), FakeCall("now", id="y"))))
    events = await answer(server)
    assert events[0] == ToolCallOpened("x", "add")
    assert [type(event) for event in events[1:4]] == [ToolCallArgs] * 3
    assert calls(events) == [ToolCall("x", "add", {"a": 1, "b": "é"}), ToolCall("y", "now", {})]


async def test_interleaved_calls_are_sent_one_after_another(server: FakeModelServer) -> None:
    server.plan(
        Answer(
            deltas=(
                call_piece(0, "x", "f", ""),
                call_piece(1, "y", "g", '{"b"'),
                call_piece(0, None, None, '{"a"'),
                call_piece(1, None, None, ": 2}"),
                call_piece(0, None, None, ": 1}"),
                call_piece(2, "z", "h", '{"c": 3}'),
            )
        )
    )
    events = await answer(server)
    assert calls(events) == [ToolCall("x", "f", {"a": 1}), ToolCall("y", "g", {"b": 2}), ToolCall("z", "h", {"c": 3})]


async def test_text_between_the_pieces_of_a_call_waits_for_its_end(server: FakeModelServer) -> None:
    deltas = (call_piece(0, "x", "f", '{"a"'), {"content": "Wait"}, call_piece(0, None, None, ": 1}"))
    server.plan(Answer(deltas=deltas))
    events = await answer(server)
    assert calls(events) == [ToolCall("x", "f", {"a": 1})]
    assert text(events) == "Wait"


async def test_calls_without_arguments_keep_their_order(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=(call_piece(0, "x", "f", ""), call_piece(1, "y", "g", None), {"content": "ok"})))
    events = await answer(server)
    assert calls(events) == [ToolCall("x", "f", {}), ToolCall("y", "g", {})]
    assert text(events) == "ok"


async def test_a_repeated_id_is_renamed(server: FakeModelServer) -> None:
    server.plan(Answer(calls=(FakeCall("f", {"a": 1}, id="x"), FakeCall("f", {"a": 2}, id="x"))))
    assert calls(await answer(server)) == [ToolCall("x", "f", {"a": 1}), ToolCall("x#2", "f", {"a": 2})]


async def test_an_id_that_the_chat_has_used_is_renamed(server: FakeModelServer) -> None:
    server.plan(Answer(calls=(FakeCall("f", id="x"),)))
    history = (
        Message(id=2, role=Role.USER, content=(Text("Hi"),)),
        Message(id=4, role=Role.ASSISTANT, content=(ToolCall("x", "f"), ToolCall("x#2", "f"))),
    )
    assert calls(await answer(server, request(*history))) == [ToolCall("x#3", "f", {})]


async def test_missing_ids_are_generated(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=(call_piece(0, None, "f", '{"a": 1}'), call_piece(1, "", "g", "{}"))))
    assert calls(await answer(server)) == [ToolCall("call-2-1", "f", {"a": 1}), ToolCall("call-2-2", "g", {})]


async def test_an_id_and_a_name_repeated_on_each_piece_are_one_call(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=(call_piece(0, "x", "f", '{"a"'), call_piece(0, "x", "f", ": 1}"))))
    assert calls(await answer(server)) == [ToolCall("x", "f", {"a": 1})]


async def test_other_ids_under_the_same_index_are_other_calls(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=(call_piece(0, "x", "f", '{"a": 1}'), call_piece(0, "y", "g", '{"b": 2}'))))
    assert calls(await answer(server)) == [ToolCall("x", "f", {"a": 1}), ToolCall("y", "g", {"b": 2})]


async def test_calls_without_an_index_are_distinguished_by_their_ids(server: FakeModelServer) -> None:
    deltas = (
        call_piece(None, "x", "f", '{"a"'),
        call_piece(None, None, None, ": 1}"),
        call_piece(None, "y", "g", ""),
        call_piece(None, "y", None, '{"b": 2}'),
    )
    server.plan(Answer(deltas=deltas))
    assert calls(await answer(server)) == [ToolCall("x", "f", {"a": 1}), ToolCall("y", "g", {"b": 2})]


async def test_arguments_as_an_object_are_accepted(server: FakeModelServer) -> None:
    server.plan(Answer(deltas=(call_piece(0, "x", "f", {"a": 1}),)))
    assert calls(await answer(server)) == [ToolCall("x", "f", {"a": 1})]
