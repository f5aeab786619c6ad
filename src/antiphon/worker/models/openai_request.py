"""Our messages and tools as the body of a chat-completions request."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from antiphon.core.parts import (
    File,
    FileReference,
    Part,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)
from antiphon.ports import Message, ModelRequest, ToolSpec

_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def request_body(name: str, request: ModelRequest, *, asks_usage: bool) -> bytes:
    """The JSON of the request for the model `name`."""
    body: dict[str, Any] = request.parameters | {"model": name, "stream": True, "messages": chat_messages(request)}
    if asks_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    return msgspec.json.encode(body)


def chat_messages(request: ModelRequest) -> list[dict[str, Any]]:
    """The history in the provider's words. Reasoning stays here: this protocol has no way to give it back."""
    messages = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        messages += _chat_message(message)
    return messages


def _chat_message(message: Message) -> list[dict[str, Any]]:
    match message.role:
        case Role.SYSTEM:
            return [{"role": "system", "content": text_of(message.content)}]
        case Role.USER:
            return [{"role": "user", "content": _user_content(message.content)}]
        case Role.ASSISTANT:
            return _assistant_message(message)
        case Role.TOOL:
            return [_tool_result(part) for part in message.content if isinstance(part, ToolResult)]


def _assistant_message(message: Message) -> list[dict[str, Any]]:
    """None for a partial that kept no words: servers refuse an assistant's message without content."""
    text = text_of(message.content)
    calls = [_tool_call(part) for part in message.content if isinstance(part, ToolCall)]
    if not text and not calls:
        return []
    answer: dict[str, Any] = {"role": "assistant", "content": text or None}
    return [answer | {"tool_calls": calls} if calls else answer]


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.args).decode()
    return {"id": call.tool_call_id, "type": "function", "function": {"name": call.tool_name, "arguments": arguments}}


def _tool_result(part: ToolResult) -> dict[str, Any]:
    text = part.result if isinstance(part.result, str) else msgspec.json.encode(part.result).decode()
    content = f"Error: {text}" if part.is_error else text
    return {"role": "tool", "tool_call_id": part.tool_call_id, "content": content}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _user_content(content: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    """A plain string where there is only text (all servers take it), else a list of pieces."""
    pieces = [piece for part in content if (piece := _user_piece(part)) is not None]
    if all(piece["type"] == "text" for piece in pieces):
        return "\n".join(piece["text"] for piece in pieces)
    return pieces


def _user_piece(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text=text):
            return _text(text)
        case File():
            return _file(part)
        case FileReference():
            lines = f"lines {part.start_line} to {part.end_line}"
            return _text(f"{part.file_name}, {lines}:\n```\n{part.content}\n```")
        case Source(url=url, title=title):
            return _text(f"{title} {url}".strip())
    return None


def _file(file: File) -> dict[str, Any]:
    """As an image, audio, text or document; a file that is only a reference is named, for its bytes are not here."""
    media_type = file.media_type.partition(";")[0].strip().lower()
    if not file.data:
        return _text(f"[a file of type {media_type or 'unknown'} that cannot be shown here]")
    if media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{file.data}"}}
    if media_type in _AUDIO_FORMATS:
        return {"type": "input_audio", "input_audio": {"data": file.data, "format": _AUDIO_FORMATS[media_type]}}
    if media_type.startswith("text/") or media_type == "application/json":
        try:
            return _text(base64.b64decode(file.data).decode("utf-8", "replace"))
        except binascii.Error:
            return _text(f"[a file of type {media_type} that cannot be read]")
    name = f"file.{media_type.rpartition('/')[2]}"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{media_type};base64,{file.data}"}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
