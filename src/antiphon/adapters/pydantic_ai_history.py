"""The history of a chat as messages of pydantic-ai."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from pydantic_ai import BinaryContent
from pydantic_ai import messages as m

from antiphon.core.parts import File, FileReference, Part, Reasoning, Role, Source, Text, ToolCall, ToolResult
from antiphon.ports import Message


def model_messages(messages: Sequence[Message]) -> list[m.ModelMessage]:
    """The messages as `message_history` takes them; messages of one side in a row are one."""
    made: list[m.ModelMessage] = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            said = [part for item in message.content if (part := _response_part(item)) is not None]
            if said and made and isinstance(made[-1], m.ModelResponse):
                made[-1].parts = [*made[-1].parts, *said]
            elif said:
                made.append(m.ModelResponse(parts=said))
            continue
        asked = _request_parts(message)
        if asked and made and isinstance(made[-1], m.ModelRequest):
            made[-1].parts = [*made[-1].parts, *asked]
        elif asked:
            made.append(m.ModelRequest(parts=asked))
    return made


def _response_part(part: Part) -> m.ModelResponsePart | None:
    match part:
        case Text(text=text) if text:
            return m.TextPart(content=text)
        case Reasoning(text=text) if text:
            return m.ThinkingPart(content=text)
        case ToolCall():
            return m.ToolCallPart(tool_name=part.tool_name, args=part.args, tool_call_id=part.tool_call_id)
    return None


def _request_parts(message: Message) -> list[m.ModelRequestPart]:
    results = [part for part in message.content if isinstance(part, ToolResult)]
    if results:
        return [
            m.ToolReturnPart(
                tool_name=part.tool_name,
                content=part.result,
                tool_call_id=part.tool_call_id,
                outcome="failed" if part.is_error else "success",
            )
            for part in results
        ]
    content = [piece for part in message.content if (piece := _user_piece(part)) is not None]
    if message.role is Role.SYSTEM:
        return [m.SystemPromptPart(content="\n".join(piece for piece in content if isinstance(piece, str)))]
    is_text = len(content) == 1 and isinstance(content[0], str)
    return [m.UserPromptPart(content=content[0] if is_text else content)] if content else []


def _user_piece(part: Part) -> Any:
    match part:
        case Text(text=text):
            return text
        case File(media_type=media_type, data=data) if data:
            return BinaryContent(data=base64.b64decode(data.rpartition("base64,")[2]), media_type=media_type)
        case FileReference():
            return f"{part.file_name}, lines {part.start_line} to {part.end_line}:\n{part.content}"
        case Source(url=url, title=title):
            return f"{title} {url}".strip()
    return None
