"""A chat as Markdown, for people. Pure: one piece for the head, and one for each message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from antiphon.core.facts import Entry, MessageAppended
from antiphon.core.model import Chat
from antiphon.core.parts import (
    Data,
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
from antiphon.wire.codec import decode_content
from antiphon.wire.gotime import format_time_us

_NAMES = {Role.USER: "You", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System", Role.TOOL: "Tool"}
_TICKS = re.compile(r"`+")


def chat_markdown(chat: Chat) -> str:
    """The title and what the chat is."""
    about = [f"Created {format_time_us(chat.created_at)}"]
    if chat.model:
        about.append(f"model {_line(chat.model)}")
    return f"# {_line(chat.title) or 'Chat'}\n\n{', '.join(about)}.\n"


def message_markdown(entry: Entry) -> str:
    """One message: a heading with its author and time, then its parts."""
    fact = entry.fact
    assert isinstance(fact, MessageAppended)
    name = _NAMES[fact.role]
    if fact.role is Role.ASSISTANT and fact.used:
        name += f" ({_line(fact.used[0].model)})"
    blocks = [f"## {name} · {format_time_us(entry.recorded.at)}"]
    blocks += _blocks(decode_content(entry.content or b"[]"))
    if fact.interrupted:
        blocks.append("*(Interrupted)*")
    return "\n" + "\n\n".join(block for block in blocks if block) + "\n"


def _blocks(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        match part:
            case Text(text=text):
                yield text.strip("\n")
            case Reasoning(text=text):
                yield f"<details><summary>Thoughts</summary>\n\n{text.strip()}\n\n</details>" if text.strip() else ""
            case ToolCall(tool_name=name, args=args):
                yield f"**Tool call:** {_code(name)}\n\n{_fenced(args)}"
            case ToolResult(tool_name=name, result=result, is_error=is_error):
                yield f"**{'Error' if is_error else 'Result'}** of {_code(name)}\n\n{_fenced(result)}"
            case Source(url=url, title=title):
                yield f"Source: {_line(title)} <{_address(url)}>"
            case File(name=name, media_type=kind):
                yield f"File: {_code(name or kind)}"
            case FileReference(file_id=file_id, file_name=name, content=content) if file_id and not content:
                yield f"File: {_code(name or file_id)} (`{_line(file_id)}`)"
            case FileReference(file_name=name, start_line=start, end_line=end, content=content):
                yield f"{_code(name)}, lines {start} to {end}\n\n{_fenced(content)}"
            case Data(data=data, name=name):
                yield f"**{_line(name) or 'Data'}**\n\n{_fenced(data)}"
            case _:
                yield f"(a part of type {_code(part.type)})"


def _fenced(value: Any) -> str:
    """A value in a code block whose fence is longer than any in it."""
    is_text = isinstance(value, str)
    text = value if is_text else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    return f"{fence}{'' if is_text else 'json'}\n{text}\n{fence}"


def _code(text: str) -> str:
    shown = _line(text)
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(shown)), default=0))
    return f"{ticks} {shown} {ticks}" if len(ticks) > 1 else f"`{shown}`"


def _line(text: str) -> str:
    return " ".join(text.split())


def _address(url: str) -> str:
    return re.sub(r"[<>\s]", "", url)
