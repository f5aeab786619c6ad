"""Messages and tools as the body of a chat-completions request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from antiphon.core.parts import (
    File,
    FileReference,
    Part,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)
from antiphon.models.continuation import Form
from antiphon.models.files import decode_file, named_file, reference_text
from antiphon.models.history import results_with_files
from antiphon.models.names import accepted_name, short_id
from antiphon.ports import Message, ModelRequest, ToolSpec

REASONING_FIELD = "reasoning_field"
"""The key of the metadata that has the name of the field in which a reasoning text arrived."""
REASONING_FIELDS = ("reasoning_content", "reasoning")
EXTRA_CONTENT = "extra_content"
"""The field with a tool call's thought signature; Gemini refuses the next request without it."""

AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
"""The name of an audio format, by its media type."""


def request_body(
    name: str,
    request: ModelRequest,
    *,
    provider: str,
    asks_usage: bool,
    has_short_ids: bool = False,
    form: Form | None = None,
) -> bytes:
    """The JSON of a request for the model `name` of `provider`. `form` says how it goes on from a beginning."""
    messages = chat_messages(request, provider)
    if has_short_ids:
        _shorten_ids(messages)
    body: dict[str, Any] = request.parameters | {"model": name, "stream": True, "messages": messages}
    if request.beginning:
        is_prefix = {"prefix": True} if form is Form.PREFIX else {}
        messages.append({"role": "assistant", "content": request.beginning} | is_prefix)
        body |= {"continue_final_message": True, "add_generation_prompt": False} if form is Form.FINAL else {}
    if asks_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [function_tool(tool) for tool in request.tools]
    if (output := request.output) is not None:
        schema = {"name": output.name, "schema": output.schema, "strict": output.is_strict}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return msgspec.json.encode(body)


def _shorten_ids(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["id"] = short_id(call["id"])
        if "tool_call_id" in message:
            message["tool_call_id"] = short_id(message["tool_call_id"])


def chat_messages(request: ModelRequest, provider: str) -> list[dict[str, Any]]:
    """The history in this protocol's form. Reasoning is sent back only in turns with tool calls, only to the provider
    that sent it, and in the same field: some providers refuse the next request without it, others refuse it in any
    other place."""
    messages = [{"role": "system", "content": request.system}] if request.system else []
    for turn in _turns(request.messages):
        has_calls = any(isinstance(part, ToolCall) for message in turn for part in message.content)
        for message in turn:
            messages += _chat_message(message, provider if has_calls else "")
    return messages


def _turns(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The messages from one user message to the next."""
    turn: list[Message] = []
    for message in messages:
        if message.role is Role.USER and turn:
            yield turn
            turn = []
        turn.append(message)
    if turn:
        yield turn


def _chat_message(message: Message, provider: str) -> list[dict[str, Any]]:
    match message.role:
        case Role.SYSTEM:
            return [{"role": "system", "content": text_of(message.content)}]
        case Role.USER:
            return [{"role": "user", "content": _user_content(message.content)}]
        case Role.ASSISTANT:
            return _assistant_message(message, provider)
        case Role.TOOL:
            return [_tool_result(result, files) for result, files in results_with_files(message)]


def _assistant_message(message: Message, provider: str) -> list[dict[str, Any]]:
    """Empty for a partial answer without text and calls: servers refuse an assistant message without content."""
    text = text_of(message.content)
    calls = [_tool_call(part, provider) for part in message.content if isinstance(part, ToolCall)]
    if not text and not calls:
        return []
    answer: dict[str, Any] = {"role": "assistant", "content": text or None} | _reasoning_fields(message, provider)
    return [answer | {"tool_calls": calls} if calls else answer]


def _reasoning_fields(message: Message, provider: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in message.content:
        if isinstance(part, Reasoning | ToolCall) and (field := reasoning_field_of(part.provider_metadata, provider)):
            text = part.text if isinstance(part, Reasoning) else ""  # the field was empty
            fields[field] = fields.get(field, "") + text
    return fields


def reasoning_field_of(metadata: Any, provider: str) -> str:
    """The field in which this provider sent its reasoning; empty if another provider sent it."""
    field = _own_metadata(metadata, provider).get(REASONING_FIELD)
    return field if field in REASONING_FIELDS else ""


def _own_metadata(metadata: Any, provider: str) -> dict[str, Any]:
    """The metadata that this provider sent with a part."""
    own = metadata.get(provider) if isinstance(metadata, dict) else None
    return own if isinstance(own, dict) else {}


def _tool_call(call: ToolCall, provider: str) -> dict[str, Any]:
    """Providers take back an object only; what else a model wrote goes back inside one, for the model to see. What
    came with the call goes back with it."""
    args = call.args if isinstance(call.args, dict) else {"invalid_arguments": call.args}
    function = {"name": accepted_name(call.tool_name), "arguments": msgspec.json.encode(args).decode()}
    sent = {"id": accepted_name(call.tool_call_id), "type": "function", "function": function}
    extra = _own_metadata(call.provider_metadata, provider).get(EXTRA_CONTENT)
    return sent | {EXTRA_CONTENT: extra} if isinstance(extra, dict) else sent


def _tool_result(part: ToolResult, files: Sequence[Part]) -> dict[str, Any]:
    """Only text: this protocol takes nothing else from a tool, so that other files are named."""
    text = part.result if isinstance(part.result, str) else msgspec.json.encode(part.result).decode()
    content = "\n".join([f"Error: {text}" if part.is_error else text, *map(_words_of, files)])
    return {"role": "tool", "tool_call_id": accepted_name(part.tool_call_id), "content": content}


def _words_of(part: Part) -> str:
    """A file of a tool's result as text."""
    match part:
        case File():
            piece = _file(part)
            return str(piece["text"]) if piece["type"] == "text" else named_file(part)
        case FileReference():
            return reference_text(part)
    return text_of((part,))


def function_tool(tool: ToolSpec) -> dict[str, Any]:
    """A tool as the protocol describes it to a model."""
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
            return _text(reference_text(part))
        case Source(url=url, title=title):
            return _text(f"{title} {url}".strip())
    return None


def _file(file: File) -> dict[str, Any]:
    """As an image, audio, text or document. One whose bytes are not here, or are no base64, is named in words: no
    provider takes it, and the chat goes on."""
    media_type, data, content = decode_file(file)
    if not content:
        return _text(f"[a file of type {media_type or 'unknown'} that cannot be shown here]")
    if media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}}
    if media_type in AUDIO_FORMATS:
        return {"type": "input_audio", "input_audio": {"data": data, "format": AUDIO_FORMATS[media_type]}}
    if media_type.startswith("text/") or media_type == "application/json":
        return _text(content.decode("utf-8", "replace"))
    name = file.name or default_name(media_type)
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{media_type};base64,{data}"}}


def default_name(media_type: str) -> str:
    """The name that a file without one gets: the API refuses a file without a name."""
    return f"file.{media_type.rpartition('/')[2]}"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
