"""The replies of a fake model server in the format of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.testing.model_answers import Answer, FakeCall, iter_tokens

REASONS = {"length": "max_output_tokens"}
"""The reason of an incomplete answer by `Answer.finish_reason`; others but `stop` are sent as they are."""
ENCRYPTED = "ZW5jcnlwdGVk"
"""The encrypted content of each reasoning item."""


def iter_events(answer: Answer, call: int, body: dict[str, Any]) -> Iterator[bytes]:
    """The events of the stream as bytes: the response's start, the pieces, and the end. `answer.deltas` are raw
    events that are sent after the other content."""
    yield event_of({"type": "response.created", "response": response_of(answer, call, body) | {"output": []}})
    count = 0
    for index, (item, pieces) in enumerate(_items(answer, call)):
        opening = event_of({"type": "response.output_item.added", "output_index": index, "item": _opened(item)})
        for piece in pieces:
            count += 1
            yield opening + event_of(piece | {"output_index": index, "item_id": item["id"]})
            opening = b""
        yield opening + event_of({"type": "response.output_item.done", "output_index": index, "item": item})
    for raw in answer.deltas:
        yield event_of(raw)
    end = b""
    if answer.finish_reason:
        response = response_of(answer, call, body)
        end += event_of({"type": f"response.{response['status']}", "response": response | _usage(answer, count)})
    yield end


def whole_body(answer: Answer, call: int, body: dict[str, Any]) -> bytes:
    """The response to a request without streaming."""
    return msgspec.json.encode(response_of(answer, call, body) | _usage(answer, 1))


def error_event(error: dict[str, Any]) -> bytes:
    return event_of({"type": "error"} | {name: value for name, value in error.items() if name != "type"})


def response_of(answer: Answer, call: int, body: dict[str, Any]) -> dict[str, Any]:
    """The whole response, without its usage."""
    reason = answer.finish_reason or "stop"
    response: dict[str, Any] = {
        "id": f"resp_{call}",
        "object": "response",
        "model": body.get("model", ""),
        "status": "completed" if reason == "stop" else "incomplete",
        "output": [item for item, _ in _items(answer, call)],
    }
    if reason != "stop":
        response["incomplete_details"] = {"reason": REASONS.get(reason, reason)}
    return response


def event_of(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _usage(answer: Answer, count: int) -> dict[str, Any]:
    return {"usage": answer.usage or {"input_tokens": 10, "output_tokens": count, "total_tokens": 10 + count}}


def _opened(item: dict[str, Any]) -> dict[str, Any]:
    """The item before its content has arrived."""
    empty: dict[str, Any] = {"content": [], "summary": [], "arguments": "", "encrypted_content": None}
    return item | {name: value for name, value in empty.items() if name in item}


def _items(answer: Answer, call: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each output item as it is when it is complete, and the events that bring its content."""
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        item = {"type": "reasoning", "id": f"rs_{call}", "summary": summary, "encrypted_content": ENCRYPTED}
        delta = {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": answer.reasoning}
        yield item, [delta]
    if tokens := list(iter_tokens(answer, call)):
        content = [{"type": "output_text", "text": "".join(tokens), "annotations": []}]
        item = {"type": "message", "id": f"msg_{call}", "role": "assistant", "content": content}
        yield item, [{"type": "response.output_text.delta", "content_index": 0, "delta": token} for token in tokens]
    for number, tool_call in enumerate(answer.calls):
        yield _call_item(number, tool_call, call)


def _call_item(number: int, tool_call: FakeCall, call: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    args = msgspec.json.encode(tool_call.args).decode()
    third = len(args) // 3 + 1
    pieces = [args[start : start + third] for start in range(0, len(args), third)]
    item = {
        "type": "function_call",
        "id": f"fc_{call}_{number}",
        "call_id": tool_call.id or f"call_{call}_{number}",
        "name": tool_call.name,
        "arguments": args,
    }
    return item, [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in pieces]
