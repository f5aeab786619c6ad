"""The replies of a fake model server: values, and their bytes in the format of chat completions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

DEFAULT_TOKEN_COUNT = 8


class FakeCall(msgspec.Struct, frozen=True):
    """A tool call in an answer. Two with the same `id` are a duplicate."""

    name: str
    args: Any = msgspec.field(default_factory=dict)
    id: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and the faults while it is sent.

    Without `text` it has `token_count` tokens, each with the number of the call and its own: `c3t1 c3t2 `. A fault
    `..._after` occurs after that number of pieces (tokens, then pieces of tool calls).
    """

    text: str | None = None
    token_count: int = DEFAULT_TOKEN_COUNT
    reasoning: str = ""
    calls: tuple[FakeCall, ...] = ()
    deltas: tuple[dict[str, Any], ...] = ()
    """Raw deltas that are sent last, for the quirks of a provider."""
    finish_reason: str | None = "stop"
    usage: dict[str, Any] | None = None
    """Replaces the counted usage."""
    sends_usage: bool = True
    repeats_beginning: bool = False
    """Whether an answer that goes on from a beginning repeats it first, as Mistral's does."""
    sends_done: bool = True

    tokens_per_s: float = 0.0
    stall_headers_s: float | None = None
    """Silence before the headers; `FOREVER` lasts until the client leaves or `release` is called."""
    stall_after: int | None = None
    stall_s: float = float("inf")
    keep_alive: bool = False
    """A comment (`: keep-alive`) at the start of the stall."""
    cut_after: int | None = None
    """The connection is closed in the middle of the next piece."""
    error_after: int | None = None
    error: dict[str, Any] = msgspec.field(default_factory=lambda: {"message": "it broke", "type": "server_error"})
    write_bytes: int = 0
    """Size of each write to the socket, in bytes (0: one write per piece). 1 splits every multi-byte character."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error response with an error object, and headers such as Retry-After. With `body` it is any response, byte
    for byte."""

    status: int
    code: str | None = None
    type: str | None = None
    message: str = "no"
    headers: dict[str, str] = {}
    body: bytes | None = None

    @property
    def content(self) -> bytes:
        """The body's bytes."""
        if self.body is not None:
            return self.body
        return msgspec.json.encode({"error": {"message": self.message, "type": self.type, "code": self.code}})


FOREVER = float("inf")

Reply = Answer | Fault


def beginning_of(body: dict[str, Any]) -> str:
    """The beginning from which a request asks the model to go on; empty if it does not."""
    messages = body.get("messages") or [{}]
    last = messages[-1]
    is_final = body.get("continue_final_message") is True and body.get("add_generation_prompt") is False
    if last.get("role") != "assistant" or not (is_final or last.get("prefix") is True):
        return ""
    return str(last.get("content") or "")


def iter_deltas(answer: Answer, call: int, beginning: str = "") -> Iterator[dict[str, Any]]:
    """The pieces of the answer, in order, without the first one, which has the role."""
    if answer.reasoning:
        yield {"reasoning_content": answer.reasoning}
    for token in iter_tokens(answer, call, beginning):
        yield {"content": token}
    for index, tool_call in enumerate(answer.calls):
        yield from _call_deltas(index, tool_call, call)
    yield from answer.deltas


def iter_tokens(answer: Answer, call: int, beginning: str = "") -> Iterator[str]:
    """The words of the text. What goes on from a beginning is the rest of the planned text, or the tokens that the
    beginning does not have yet."""
    if beginning and answer.repeats_beginning:
        yield beginning
    if answer.text is not None:
        yield from re.findall(r"\s*\S+\s*$|\s*\S+|\s+", answer.text.removeprefix(beginning))
    elif not answer.calls and not answer.deltas:
        done = len(beginning.split())
        space = " " if beginning and not beginning[-1].isspace() else ""
        for n in range(done + 1, answer.token_count + 1):
            yield f"{space}c{call}t{n} "
            space = ""


def _call_deltas(index: int, tool_call: FakeCall, call: int) -> Iterator[dict[str, Any]]:
    """A tool call as providers send it: id and name first, then the arguments in three pieces."""
    args = msgspec.json.encode(tool_call.args).decode()
    call_id = tool_call.id or f"call_{call}_{index}"
    opening = {"index": index, "id": call_id, "type": "function"}
    yield {"tool_calls": [opening | {"function": {"name": tool_call.name, "arguments": ""}}]}
    third = len(args) // 3 + 1
    for start in range(0, len(args), third):
        yield {"tool_calls": [{"index": index, "function": {"arguments": args[start : start + third]}}]}


def iter_events(answer: Answer, call: int, body: dict[str, Any]) -> Iterator[bytes]:
    """The events of the stream as bytes: the role, the pieces, and the end, which may be empty. `body` is the
    request."""
    model, options = body.get("model", ""), body.get("stream_options") or {}
    frame = {"id": f"chatcmpl-{call}", "object": "chat.completion.chunk", "created": 0, "model": model}

    def event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return data_line(frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    yield event({"role": "assistant", "content": ""})
    count = 0
    for delta in iter_deltas(answer, call, beginning_of(body)):
        count += 1
        yield event(delta)
    end = b""
    if answer.finish_reason:
        reason = "tool_calls" if answer.calls and answer.finish_reason == "stop" else answer.finish_reason
        end += event({}, reason)
    if options.get("include_usage") and answer.sends_usage:
        end += data_line(frame | {"choices": [], "usage": usage_of(answer, count)})
    if answer.sends_done:
        end += b"data: [DONE]\n\n"
    yield end


def error_event(error: dict[str, Any]) -> bytes:
    """An error in the stream."""
    return data_line({"error": error})


def whole_body(answer: Answer, call: int, body: dict[str, Any]) -> bytes:
    """The response to a request without streaming."""
    calls = [
        {
            "id": tool_call.id or f"call_{call}_{index}",
            "type": "function",
            "function": {"name": tool_call.name, "arguments": msgspec.json.encode(tool_call.args).decode()},
        }
        for index, tool_call in enumerate(answer.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(iter_tokens(answer, call, beginning_of(body)))}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls and answer.finish_reason == "stop" else answer.finish_reason
    return msgspec.json.encode(
        {
            "id": f"chatcmpl-{call}",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model", ""),
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": usage_of(answer, sum(1 for _ in iter_deltas(answer, call, beginning_of(body)))),
        }
    )


def usage_of(answer: Answer, count: int) -> dict[str, Any]:
    return answer.usage or {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}


def data_line(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
