"""A chat as Markdown, for a person or a model that reads it as a resource."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.model import Chat
from antiphon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from antiphon.errors import one_line
from antiphon.wire.codec import decode_content, encode
from antiphon.wire.gotime import format_time_us
from antiphon.wire.stream import OpenCall

TRANSCRIPT_BYTES_MAX = 1024 * 1024
"""Maximum size of the messages of a transcript, in bytes. At least one is shown."""
TITLE_MAX = 200
ROLES = {"user": "User", "assistant": "Assistant", "tool": "Tools"}


def transcript(
    chat_id: str, chat: Chat, messages: Sequence[Entry], *, has_more: bool, open_calls: Sequence[OpenCall] = ()
) -> str:
    """The newest messages of a chat that fit, oldest first; it says where earlier ones are left out."""
    shown: list[str] = []
    size, first = 0, 0
    for entry in reversed(messages):
        text = _message(entry)
        size += len(text.encode("utf-8", "replace"))
        if shown and size > TRANSCRIPT_BYTES_MAX:
            has_more = True
            break
        shown.append(text)
        first = entry.seq
    head = f"# {one_line(chat.title, TITLE_MAX) or 'Chat'}\n\nChat `{chat_id}`, status: {chat.status}\n"
    if has_more:
        head += f"\n(Earlier messages are left out: read_chat returns them, with before_id {first}.)\n"
    waiting = "".join(
        f"\n## Waiting for {call.needs}\n\n{call.question}\n\n{_block(_call(call.tool_name, call.args))}\n"
        for call in open_calls
    )
    return head + "".join(f"\n{text}" for text in reversed(shown)) + waiting


def _message(entry: Entry) -> str:
    fact = entry.fact
    assert isinstance(fact, MessageAppended)
    interrupted = ", interrupted" if fact.interrupted else ""
    head = f"## {ROLES[fact.role]} ({format_time_us(entry.recorded.at)}, message {entry.seq}{interrupted})"
    return "\n\n".join((head, *(_part(part) for part in decode_content(entry.content or b"[]")))) + "\n"


def _part(part: Part) -> str:
    match part:
        case Text(text=text):
            return text
        case Reasoning(text=text):
            return "\n".join(f"> {line}" for line in text.splitlines())
        case ToolCall(tool_name=name, args=args):
            return f"Calls:\n\n{_block(_call(name, args))}"
        case ToolResult(tool_name=name, result=result, is_error=is_error):
            head = f"{'Error' if is_error else 'Result'} of {one_line(name, TITLE_MAX)}:"
            return f"{head}\n\n{_block(result if isinstance(result, str) else encode(result).decode())}"
    raw: Any = part.raw if isinstance(part, Unknown) else msgspec.to_builtins(part)
    return _block(encode({name: value for name, value in raw.items() if name != "provider_metadata"}).decode())


def _call(name: str, args: Any) -> str:
    return f"{one_line(name, TITLE_MAX)} {encode(args).decode()}"


def _block(text: str) -> str:
    """A code block that the text cannot end."""
    longest = max((len(found) for found in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}\n{fence}"
