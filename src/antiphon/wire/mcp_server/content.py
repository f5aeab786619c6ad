"""Parts of messages in the results of tools, within a maximum size: the reader is a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import msgspec

from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.model import Queued
from antiphon.core.parts import File, Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from antiphon.wire.codec import decode_content, encode
from antiphon.wire.gotime import format_time_us
from antiphon.wire.mcp_server.tools import MessageResult, OpenCallResult
from antiphon.wire.stream import OpenCall

RESULT_BYTES_MAX = 200 * 1024
"""Maximum size of the texts and values of one answer or message, as JSON. A result has them twice, once escaped, and
clients accept an event of 1 MiB."""
PAGE_BYTES_MAX = 512 * 1024
"""Maximum size of the messages of a page, as JSON. At least one message is returned."""


class Budget:
    """Cuts texts and leaves out values when the maximum size is reached. `is_cut` says that it did."""

    def __init__(self, bytes_max: int = RESULT_BYTES_MAX) -> None:
        self._left = bytes_max
        self.is_cut = False

    def text(self, text: str) -> str:
        """The beginning of a text that fits."""
        size = len(encode(text))
        if size > self._left:
            self.is_cut = True
            text = text[: len(text) * self._left // size]
            if (size := len(encode(text))) > self._left:  # the beginning has more escapes than the rest
                text = text[: self._left // 6]
                size = len(encode(text))
        self._left = max(0, self._left - size)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value if it fits; else its size."""
        size = len(encode(value))
        if size > self._left:
            self.is_cut = True
            kind = {"type": value["type"]} if isinstance(value, dict) and isinstance(value.get("type"), str) else {}
            return {**kind, "omitted_bytes": size}
        self._left -= size
        return value


def attachments_of(parts: Iterable[Part], budget: Budget) -> list[Any]:
    """The parts of an answer beside its text, reasoning and calls: files, sources, values, and unknown ones."""
    others = (part for part in parts if not isinstance(part, Text | Reasoning | ToolCall | ToolResult))
    return [budget.value(_shown(part)) for part in others]


def _shown(part: Part) -> dict[str, Any]:
    if isinstance(part, Unknown):
        return part.raw
    shown: dict[str, Any] = msgspec.to_builtins(part)
    shown.pop("provider_metadata", None)
    if isinstance(part, File) and part.data:
        shown["data"] = {"omitted_bytes": len(part.data)}
    return shown


def open_call_results(open_calls: Iterable[OpenCall], budget: Budget) -> list[OpenCallResult]:
    return [
        OpenCallResult(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            needs=call.needs.value,  # type: ignore[arg-type]
            deadline=format_time_us(call.deadline),
            args=budget.value(call.args),
            question=budget.text(call.question),
        )
        for call in open_calls
    ]


def message_result(entry: Entry) -> MessageResult:
    """A message of the history."""
    fact = entry.fact
    assert isinstance(fact, MessageAppended)
    role = cast('Literal["user", "assistant", "tool"]', fact.role.value)
    return _result(entry.seq, role, entry.recorded.at, entry.content, is_interrupted=fact.interrupted)


def queued_result(item: Queued, content: bytes | None) -> MessageResult:
    """A message that waits in the queue."""
    return _result(item.id, "user", item.created_at, content)


def _result(
    message_id: int,
    role: Literal["user", "assistant", "tool"],
    at: int,
    content: bytes | None,
    *,
    is_interrupted: bool = False,
) -> MessageResult:
    parts, budget = decode_content(content or b"[]"), Budget()
    text = budget.text("\n".join(part.text for part in parts if isinstance(part, Text)))
    calls = [budget.value(_shown(part)) for part in parts if isinstance(part, ToolCall | ToolResult)]
    attachments = attachments_of(parts, budget)
    reasoning = budget.text("\n".join(part.text for part in parts if isinstance(part, Reasoning)))
    return MessageResult(
        message_id=message_id,
        role=role,
        created_at=format_time_us(at),
        text=text,
        calls=calls,
        attachments=attachments,
        reasoning=reasoning,
        is_interrupted=is_interrupted,
        is_cut=budget.is_cut,
    )


def fitting_messages(messages: Iterable[MessageResult], bytes_max: int = PAGE_BYTES_MAX) -> list[MessageResult]:
    """The first messages that fit into a page; at least one."""
    found: list[MessageResult] = []
    for message in messages:
        bytes_max -= len(encode(message))
        if found and bytes_max < 0:
            break
        found.append(message)
    return found
