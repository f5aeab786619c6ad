"""The replies of a fake model server in the format of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.testing.model_answers import Answer, FakeCall, iter_tokens

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}
"""Other reasons (`refusal`, `pause_turn`) are sent as they are."""
SIGNATURE = "c2lnbmVk"
"""The signature of each thinking block."""


def beginning_of(body: dict[str, Any]) -> str:
    """The beginning from which a request asks the model to go on: the text of an assistant's last message."""
    last = (body.get("messages") or [{}])[-1]
    content = last.get("content") if last.get("role") == "assistant" else None
    texts = [content] if isinstance(content, str) else [block.get("text", "") for block in content or ()]
    return "".join(texts)


def iter_events(answer: Answer, call: int, body: dict[str, Any]) -> Iterator[bytes]:
    """The events of the stream as bytes: the message's start, the pieces, and the end. `answer.deltas` are raw
    events that are sent after the other content."""
    start = message_of(answer, call, body) | {"content": [], "stop_reason": None}
    yield event_of({"type": "message_start", "message": start | {"usage": usage_of(answer, 1)}})
    count = 0
    for index, (block, deltas) in enumerate(_blocks(answer, call, beginning_of(body))):
        opening = event_of({"type": "content_block_start", "index": index, "content_block": block})
        for delta in deltas:
            count += 1
            yield opening + event_of({"type": "content_block_delta", "index": index, "delta": delta})
            opening = b""
        yield opening + event_of({"type": "content_block_stop", "index": index})
    for raw in answer.deltas:
        yield event_of(raw)
    end = b""
    if answer.finish_reason:
        reason = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
        end += event_of({"type": "message_delta", "delta": reason, "usage": usage_of(answer, count)})
    if answer.sends_done:
        end += event_of({"type": "message_stop"})
    yield end


def whole_body(answer: Answer, call: int, body: dict[str, Any]) -> bytes:
    """The response to a request without streaming."""
    return msgspec.json.encode(message_of(answer, call, body))


def error_event(error: dict[str, Any]) -> bytes:
    return event_of({"type": "error", "error": error})


def message_of(answer: Answer, call: int, body: dict[str, Any]) -> dict[str, Any]:
    """The whole message."""
    content = [_whole(block, deltas) for block, deltas in _blocks(answer, call, beginning_of(body))]
    return {
        "id": f"msg_{call}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", ""),
        "content": content,
        "stop_reason": _stop_reason(answer),
        "stop_sequence": None,
        "usage": usage_of(answer, len(content)),
    }


def usage_of(answer: Answer, count: int) -> dict[str, Any]:
    return answer.usage or {"input_tokens": 10, "output_tokens": count}


def event_of(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _stop_reason(answer: Answer) -> str | None:
    if answer.calls and answer.finish_reason == "stop":
        return "tool_use"
    return STOP_REASONS.get(answer.finish_reason or "", answer.finish_reason)


def _blocks(answer: Answer, call: int, beginning: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each content block as it is opened, and its deltas."""
    if answer.reasoning:
        thinking = {"type": "thinking_delta", "thinking": answer.reasoning}
        signature = {"type": "signature_delta", "signature": SIGNATURE}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [thinking, signature]
    if tokens := list(iter_tokens(answer, call, beginning)):
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": token} for token in tokens]
    for number, tool_call in enumerate(answer.calls):
        yield _call_block(number, tool_call, call)


def _call_block(number: int, tool_call: FakeCall, call: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A call as the provider sends it: id and name first, then the input in three pieces."""
    args = msgspec.json.encode(tool_call.args).decode()
    third = len(args) // 3 + 1
    pieces = [args[start : start + third] for start in range(0, len(args), third)]
    block = {"type": "tool_use", "id": tool_call.id or f"toolu_{call}_{number}", "name": tool_call.name, "input": {}}
    return block, [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]


def _whole(block: dict[str, Any], deltas: list[dict[str, Any]]) -> dict[str, Any]:
    fields = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
    whole = dict(block)
    args = ""
    for delta in deltas:
        if field := fields.get(delta["type"]):
            whole[field] += delta[field]
        else:
            args += delta["partial_json"]
    return whole | {"input": msgspec.json.decode(args)} if args else whole
