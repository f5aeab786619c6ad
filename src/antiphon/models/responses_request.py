"""Messages and tools as the body of a request of OpenAI's Responses API.

Nothing is stored at the provider (`store` is false): the whole history is sent with each request. A reasoning item is
kept as it came, in the metadata of the part that follows it, and goes back before that part within its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from antiphon.core.parts import File, FileReference, Part, Role, Source, Text, ToolCall, ToolResult, text_of
from antiphon.models.files import decode_file, reference_text
from antiphon.models.history import results_with_files, since_last_user
from antiphon.models.names import accepted_name
from antiphon.models.openai_request import default_name
from antiphon.ports import Message, ModelRequest, ToolSpec

REASONING = "reasoning"
"""The key of a part's metadata that has the reasoning items before it."""
ENCRYPTED_REASONING = "reasoning.encrypted_content"

Item = dict[str, Any]


def request_body(name: str, request: ModelRequest, *, provider: str, has_reasoning: bool) -> bytes:
    """The JSON of a request for the model `name` of `provider`.

    Args:
        name: The model's name.
        request: The history, the tools and the parameters.
        provider: The name under which this provider's metadata is stored.
        has_reasoning: Whether the model gives its reasoning, encrypted; other models refuse to be asked for it.
    """
    body: dict[str, Any] = {"store": False} | request.parameters
    body |= {"model": name, "stream": True, "input": input_items(request, provider)}
    if has_reasoning:
        included = [item for item in request.parameters.get("include") or () if item != ENCRYPTED_REASONING]
        body["include"] = [*included, ENCRYPTED_REASONING]
    if request.system:
        body["instructions"] = request.system
    if request.tools:
        body["tools"] = [function_tool(tool) for tool in request.tools] + list(request.parameters.get("tools") or ())
    if (output := request.output) is not None:
        schema = {"name": output.name, "schema": output.schema, "strict": output.is_strict}
        body["text"] = (request.parameters.get("text") or {}) | {"format": {"type": "json_schema", **schema}}
    return msgspec.json.encode(body)


def input_items(request: ModelRequest, provider: str, *, keeps_reasoning: bool = False) -> list[Item]:
    """The history in this protocol's form.

    Args:
        request: The history.
        provider: The name under which this provider's metadata is stored.
        keeps_reasoning: Whether the reasoning of earlier turns is included.
    """
    items: list[Item] = []
    reasoning_from = 0 if keeps_reasoning else len(request.messages) - len(since_last_user(request.messages))
    for number, message in enumerate(request.messages):
        items += _items(message, provider if number >= reasoning_from else "")
    return items


def _items(message: Message, provider: str) -> Iterator[Item]:
    match message.role:
        case Role.SYSTEM:
            yield _message("developer", [{"type": "input_text", "text": text_of(message.content)}])
        case Role.USER:
            content = [piece for part in message.content if (piece := _user_piece(part)) is not None]
            yield _message("user", content or [{"type": "input_text", "text": ""}])
        case Role.ASSISTANT:
            for part in message.content:
                if isinstance(part, Text | ToolCall):
                    yield from reasoning_items(part.provider_metadata, provider)
                if isinstance(part, Text) and part.text:
                    yield _message("assistant", [{"type": "output_text", "text": part.text}])
                elif isinstance(part, ToolCall):
                    yield _call(part)
        case Role.TOOL:
            yield from (_result(result, files) for result, files in results_with_files(message))


def reasoning_items(metadata: Any, provider: str) -> list[Item]:
    """The reasoning items that this provider sent before a part."""
    own = metadata.get(provider) if isinstance(metadata, dict) else None
    found = own.get(REASONING) if isinstance(own, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _message(role: str, content: list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _call(call: ToolCall) -> Item:
    args = call.args if isinstance(call.args, dict) else {"invalid_arguments": call.args}
    return {
        "type": "function_call",
        "call_id": accepted_name(call.tool_call_id),
        "name": accepted_name(call.tool_name),
        "arguments": msgspec.json.encode(args).decode(),
    }


def _result(part: ToolResult, files: Sequence[Part]) -> Item:
    text = part.result if isinstance(part.result, str) else msgspec.json.encode(part.result).decode()
    output: str | list[Item] = f"Error: {text}" if part.is_error else text
    if pieces := [piece for file in files if (piece := _user_piece(file)) is not None]:
        output = [_text(str(output)), *pieces]
    return {"type": "function_call_output", "call_id": accepted_name(part.tool_call_id), "output": output}


def function_tool(tool: ToolSpec) -> Item:
    """A tool as the protocol describes it to a model."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "strict": False} | function


def _user_piece(part: Part) -> Item | None:
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


def _file(file: File) -> Item:
    """As an image, text or document. One whose bytes are not here, or are no base64, is named in words."""
    media_type, data, content = decode_file(file)
    if not content:
        return _text(f"[a file of type {media_type or 'unknown'} that cannot be shown here]")
    url = f"data:{media_type};base64,{data}"
    if media_type.startswith("image/"):
        return {"type": "input_image", "image_url": url}
    if media_type.startswith("text/") or media_type == "application/json":
        return _text(content.decode("utf-8", "replace"))
    name = file.name or default_name(media_type)
    return {"type": "input_file", "filename": name, "file_data": url}


def _text(text: str) -> Item:
    return {"type": "input_text", "text": text}
