"""The stored content of a chat as AG-UI's messages: what a snapshot has, one message for each part.

The first text of a model call and its tool calls are one message of the assistant; further texts, reasoning, and what
AG-UI has no message for (sources, files, values: activities) are messages of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from antiphon.core.parts import (
    Data,
    File,
    FileReference,
    Part,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from antiphon.wire.agui.ids import Names
from antiphon.wire.codec import encode
from antiphon.wire.file_addresses import file_url

Json = dict[str, Any]

NAMESPACE = "antiphon"
"""Of activities, custom events and metadata that AG-UI does not define."""
NOT_FINISHED = "The call was not finished."
PROVIDER = NAMESPACE
"""Of the sources `file` that name files of this server."""
_MEDIA = ("image", "audio", "video")


def answer_messages(
    names: Names, draft: int | str, content: Iterable[Part], *, seq: int, dropped: Sequence[Json] = ()
) -> list[Json]:
    """The messages of one model call. `dropped` are calls that the model has not finished, and `seq` is the fact of
    the message."""
    found: list[Json] = []
    answer: Json = {"id": names.answer(draft), "role": "assistant"}
    number = 0
    for part in content:
        if isinstance(part, ToolResult) or (isinstance(part, Text | Reasoning) and not part.text):
            continue
        is_first = len(answer) == 2
        if isinstance(part, ToolCall):
            answer.setdefault("toolCalls", []).append(_call(part.tool_call_id, part.tool_name, arguments_of(part)))
        elif isinstance(part, Text) and "content" not in answer:
            answer["content"] = part.text
            number += 1
        else:
            found.append(_part_message(part, names.part(draft, number)))
            number += 1
        if is_first and len(answer) > 2:
            found.append(answer)
    if dropped:
        if len(answer) == 2:
            found.append(answer)
        calls = [_call(call["tool_call_id"], call["tool_name"], "") for call in dropped]
        answer.setdefault("toolCalls", []).extend(calls)
    results = (_not_finished(names, call, seq, at) for at, call in enumerate(dropped))
    return [*found, *results]


def _call(call_id: str, name: str, arguments: str) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _not_finished(names: Names, call: Json, seq: int, number: int) -> Json:
    return {
        "id": names.dropped(seq, number),
        "role": "tool",
        "toolCallId": call["tool_call_id"],
        "content": NOT_FINISHED,
        "error": NOT_FINISHED,
    }


def _part_message(part: Part, message_id: str) -> Json:
    if isinstance(part, Text):
        return {"id": message_id, "role": "assistant", "content": part.text}
    if isinstance(part, Reasoning):
        return {"id": message_id, "role": "reasoning", "content": part.text}
    kind, content = activity_of(part)
    return {"id": message_id, "role": "activity", "activityType": kind, "content": content}


def arguments_of(call: ToolCall) -> str:
    return encode(call.args).decode()


def activity_of(part: Part) -> tuple[str, Json]:
    """The type and content of an activity for a part that AG-UI has no event for: nothing is left out."""
    match part:
        case Source(url=url, title=title, source_id=source_id):
            return f"{NAMESPACE}.source", {"url": url, "title": title, "sourceId": source_id}
        case Data(data=data, name=name):
            return f"{NAMESPACE}.data", {"name": name, "data": data}
        case File() | FileReference(file_id=str()) if url := file_url(part):
            name = part.name if isinstance(part, File) else part.file_name
            return f"{NAMESPACE}.file", {"url": url, "mediaType": part.media_type, "name": name}
    if isinstance(part, Unknown):
        return f"{NAMESPACE}.{part.type}", part.raw
    shown: Json = msgspec.to_builtins(part)
    return f"{NAMESPACE}.{shown.pop('type')}", shown


def result_message(names: Names, result: ToolResult, *, seq: int, number: int) -> Json:
    """The message of a tool's result. `number` is its place in its fact."""
    text = result_text(result.result)
    shown = {"id": names.result(seq, number), "role": "tool", "toolCallId": result.tool_call_id, "content": text}
    return shown | ({"error": text} if result.is_error else {})


def result_text(value: Any) -> str:
    """A tool's result as text: a text itself, any other value as JSON."""
    return value if isinstance(value, str) else encode(value).decode()


def user_message(content: Sequence[Part], message_id: str) -> Json:
    """A user's message; a plain text where that is all it has."""
    shown: Any = [_content_part(part) for part in content]
    if len(content) == 1 and isinstance(content[0], Text):
        shown = content[0].text
    return {"id": message_id, "role": "user", "content": shown}


def _content_part(part: Part) -> Json:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case File(data=data, media_type=media_type, name=name) if data:
            source = {"type": "data", "value": data, "mimeType": media_type or "application/octet-stream"}
            return _media_part(media_type, source, name)
        case FileReference(file_id=file_id, media_type=media_type, file_name=name) if file_id:
            source = {"type": "file", "value": file_id, "provider": PROVIDER}
            return _media_part(media_type, source | ({"mimeType": media_type} if media_type else {}), name)
        case FileReference(file_name=name, content=text):  # lines of a file
            return {"type": "text", "text": text, "metadata": {"filename": name}}
    kind, value = activity_of(part)
    return {"type": "text", "text": encode(value).decode(), "metadata": {"type": kind}}


def _media_part(media_type: str, source: Json, name: str) -> Json:
    kind = media_type.partition("/")[0]
    shown = {"type": kind if kind in _MEDIA else "document", "source": source}
    return shown | ({"metadata": {"filename": name}} if name else {})
