"""Open Responses (openresponses.org): the seven cases of its acceptance tests, against types made from its schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openresponses_types import types as t

from ..http.api_client import ApiClient

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
ASK_WEATHER = '/call get_weather {"location": "Rome"}'
EVENTS: dict[str, Any] = {
    "response.created": t.ResponseCreatedStreamingEvent,
    "response.in_progress": t.ResponseInProgressStreamingEvent,
    "response.completed": t.ResponseCompletedStreamingEvent,
    "response.output_item.added": t.ResponseOutputItemAddedStreamingEvent,
    "response.output_item.done": t.ResponseOutputItemDoneStreamingEvent,
    "response.content_part.added": t.ResponseContentPartAddedStreamingEvent,
    "response.content_part.done": t.ResponseContentPartDoneStreamingEvent,
    "response.output_text.delta": t.ResponseOutputTextDeltaStreamingEvent,
    "response.output_text.done": t.ResponseOutputTextDoneStreamingEvent,
    "response.reasoning_summary_part.added": t.ResponseReasoningSummaryPartAddedStreamingEvent,
    "response.reasoning_summary_part.done": t.ResponseReasoningSummaryPartDoneStreamingEvent,
    "response.reasoning_summary_text.delta": t.ResponseReasoningSummaryDeltaStreamingEvent,
    "response.reasoning_summary_text.done": t.ResponseReasoningSummaryDoneStreamingEvent,
    "response.function_call_arguments.delta": t.ResponseFunctionCallArgumentsDeltaStreamingEvent,
    "response.function_call_arguments.done": t.ResponseFunctionCallArgumentsDoneStreamingEvent,
}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


CASES: dict[str, tuple[list[Any], list[Any], str]] = {
    "basic response": ([said("user", "/say one two three")], [], "message"),
    "system prompt": ([said("system", "Be brief."), said("user", "/think hm\n/say hello")], [], "message"),
    "tool calling": ([said("user", ASK_WEATHER)], [WEATHER], "function_call"),
    "image input": (
        [said("user", [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL}])],
        [],
        "message",
    ),
    "multi-turn": (
        [said("user", "I am Alice."), said("assistant", "Hello Alice."), said("user", "Who am I?")],
        [],
        "message",
    ),
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("case", CASES)
async def test_responses_and_events_fit_the_schema(api: ApiClient, case: str, is_streamed: bool) -> None:
    given, tools, wanted = CASES[case]
    body = {"model": "rehearsal", "input": given, "stream": is_streamed} | ({"tools": tools} if tools else {})
    answer = await api.ask("POST", "//v1/responses", body)
    assert answer.status == 200, answer.body
    final = answer.json if not is_streamed else _checked(answer.body, wanted)
    response = t.ResponseResource.model_validate(final)
    assert response.status == "completed"
    assert response.completed_at is not None
    assert response.completed_at >= response.created_at
    assert wanted in [item["type"] for item in final["output"]]


def _checked(stream: bytes, wanted: str) -> Any:
    """The response of the last event, after each event was validated."""
    events = [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]
    for event in events:
        EVENTS[event["type"]].model_validate(event)
    kinds = [event["type"] for event in events]
    added = [event["item"]["type"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert wanted in added
    assert added == done
    if wanted == "function_call":
        assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= set(kinds)
    return events[-1]["response"]
