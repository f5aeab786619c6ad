"""Messages and tools as the body of a request of Anthropic's Messages API.

The API is stricter than chat completions: roles alternate, beginning with the user's; no text is empty; every tool
call is answered at the beginning of the next message; thinking is sent back unchanged, with its signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from antiphon.core.parts import File, FileReference, Part, Reasoning, Role, Source, Text, ToolCall, ToolResult
from antiphon.models.files import decode_file, named_file, reference_text
from antiphon.models.history import iter_calls, results_with_files, since_last_user
from antiphon.models.names import accepted_name
from antiphon.ports import Message, ModelRequest, ToolSpec

THINKING = "thinking"
"""The key of a reasoning part's metadata that has its blocks, in order: `{"length": code points of its text,
"signature": ...}`, or `{"length": ..., "redacted": data}`."""
REDACTED_TEXT = "[redacted]"
"""Stands in the reasoning for a block that the provider has encrypted."""
CONTINUE = "Continue."
"""Sent if the history ends with an answer: the API refuses to continue one."""
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_CACHED = {"cache_control": {"type": "ephemeral"}}

Block = dict[str, Any]


def request_body(name: str, request: ModelRequest, *, provider: str, continued: Sequence[Block] = ()) -> bytes:
    """The JSON of a request for the model `name` of `provider`.

    Args:
        name: The model's name.
        request: The history, the tools and the parameters.
        provider: The name under which this provider's metadata is stored.
        continued: The blocks of a paused answer, which the model continues.
    """
    messages = chat_messages(request, provider)
    if not continued:
        messages[-1]["content"][-1] |= _CACHED  # the next request repeats everything up to here
    if beginning := [*([_text(request.beginning)] if request.beginning else []), *continued]:
        messages.append({"role": "assistant", "content": beginning})
    body: dict[str, Any] = {"max_tokens": tokens_max(name)} | request.parameters
    body |= {"model": name, "stream": True, "messages": messages}
    if system := "\n\n".join(filter(None, [request.system, *_system_texts(request)])):
        body["system"] = [{"type": "text", "text": system} | _CACHED]
    if request.tools:
        body["tools"] = [function_tool(tool) for tool in request.tools] + list(request.parameters.get("tools") or ())
    elif names := dict.fromkeys(call.tool_name for call in iter_calls(request.messages)):
        # The API refuses calls in the history without tools: these can only be read.
        body["tools"] = [{"name": accepted_name(name), "input_schema": {"type": "object"}} for name in names]
        body["tool_choice"] = {"type": "none"}
    if request.output is not None:
        form = {"type": "json_schema", "schema": request.output.schema}
        body["output_config"] = (request.parameters.get("output_config") or {}) | {"format": form}
    if "thinking" in body and _lacks_thinking(request, provider):
        del body["thinking"]
    return msgspec.json.encode(body)


def tokens_max(name: str) -> int:
    """The maximum of tokens in an answer, which the API requires: the most that every model of a generation allows.
    The parameter `max_tokens` sets another."""
    if name.startswith(("claude-3-opus", "claude-3-sonnet", "claude-3-haiku", "claude-2", "claude-instant")):
        return 4_096
    return 8_192 if name.startswith("claude-3-5") else 32_000


def chat_messages(request: ModelRequest, provider: str, *, keeps_thinking: bool = False) -> list[Block]:
    """The history in this protocol's form: the roles alternate, beginning and ending with the user's.

    Args:
        request: The history.
        provider: The name under which this provider's metadata is stored.
        keeps_thinking: Whether the thinking of earlier turns is included, which the API accepts and ignores.
    """
    messages: list[Block] = []
    thinking_from = 0 if keeps_thinking else len(request.messages) - len(since_last_user(request.messages))
    for number, message in enumerate(request.messages):
        blocks = list(_blocks(message, provider if number >= thinking_from else ""))
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if blocks and messages and messages[-1]["role"] == role == "user":
            messages[-1]["content"] += blocks
        elif blocks and messages and messages[-1]["role"] == role:
            # The kept part of an answer whose worker was lost, and the model's next one.
            messages += [{"role": "user", "content": [_text(CONTINUE)]}, {"role": role, "content": blocks}]
        elif blocks:
            messages.append({"role": role, "content": blocks})
    if not messages or messages[0]["role"] != "user":
        messages.insert(0, {"role": "user", "content": [_text(CONTINUE)]})
    if messages[-1]["role"] != "user":
        messages.append({"role": "user", "content": [_text(CONTINUE)]})
    return messages


def _system_texts(request: ModelRequest) -> Iterator[str]:
    """The texts of system messages in the history, which have no place among the messages of this API."""
    for message in request.messages:
        if message.role is Role.SYSTEM:
            yield from (part.text for part in message.content if isinstance(part, Text))


def _lacks_thinking(request: ModelRequest, provider: str) -> bool:
    """Whether the turn has tool calls of an answer without this provider's thinking: another model began it, and the
    API refuses to think in such a turn."""
    for message in since_last_user(request.messages):
        if message.role is Role.ASSISTANT and any(isinstance(part, ToolCall) for part in message.content):
            first = message.content[0]
            return not (isinstance(first, Reasoning) and thinking_of(first.provider_metadata, provider))
    return False


def thinking_of(metadata: Any, provider: str) -> list[Any]:
    """The thinking blocks in the metadata that this provider sent; empty if there are none."""
    own = metadata.get(provider) if isinstance(metadata, dict) else None
    found = own.get(THINKING) if isinstance(own, dict) else None
    return found if isinstance(found, list) else []


def _blocks(message: Message, provider: str) -> Iterator[Block]:
    if message.role is Role.SYSTEM:
        return
    if message.role is Role.TOOL:
        yield from (_tool_result(result, files) for result, files in results_with_files(message))
        return
    for part in message.content:
        match part:
            case Text(text=text) if text.strip():
                yield _text(text)
            case Reasoning() if message.role is Role.ASSISTANT and provider:
                yield from _thinking(part, provider)
            case ToolCall():
                args = part.args if isinstance(part.args, dict) else {"invalid_arguments": part.args}
                call_id, name = accepted_name(part.tool_call_id), accepted_name(part.tool_name)
                yield {"type": "tool_use", "id": call_id, "name": name, "input": args}
            case File() if message.role is not Role.ASSISTANT:
                yield _file(part)
            case FileReference():
                yield _text(reference_text(part))
            case Source(url=url, title=title) if message.role is not Role.ASSISTANT:
                yield _text(f"{title} {url}".strip() or "[a source]")


def _thinking(part: Reasoning, provider: str) -> Iterator[Block]:
    """The blocks of a reasoning part, as the provider sent them; none if another provider sent it."""
    start = 0
    for block in thinking_of(part.provider_metadata, provider):
        end = start + block["length"]
        if "redacted" in block:
            yield {"type": "redacted_thinking", "data": block["redacted"]}
        elif block.get("is_hidden"):
            yield {"type": "thinking", "thinking": "", "signature": block["signature"]}
        elif block.get("signature"):
            yield {"type": "thinking", "thinking": part.text[start:end], "signature": block["signature"]}
        start = end


def _tool_result(part: ToolResult, files: Sequence[Part]) -> Block:
    """Images belong inside the result; an error has only text."""
    text = part.result if isinstance(part.result, str) else msgspec.json.encode(part.result).decode()
    result: Block = {"type": "tool_result", "tool_use_id": accepted_name(part.tool_call_id)}
    blocks = list(_file_blocks(files, is_error=part.is_error))
    if blocks:
        result["content"] = [*([_text(text)] if text.strip() else []), *blocks]
    elif text.strip():
        result["content"] = text
    return result | {"is_error": True} if part.is_error else result


def _file_blocks(files: Sequence[Part], *, is_error: bool) -> Iterator[Block]:
    for part in files:
        match part:
            case File():
                yield _text(named_file(part)) if is_error else _file(part)
            case Text(text=text) if text.strip():
                yield _text(text)
            case FileReference():
                yield _text(reference_text(part))


def function_tool(tool: ToolSpec) -> Block:
    """A tool as the API describes it to a model."""
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}


def _file(file: File) -> Block:
    """As an image, a document or text. One whose bytes are not here, or that the API does not take, is named in
    words, and the chat goes on."""
    media_type, data, content = decode_file(file)
    source = {"type": "base64", "media_type": media_type, "data": data}
    if content and media_type in IMAGE_TYPES:
        return {"type": "image", "source": source}
    if content and media_type == "application/pdf":
        return {"type": "document", "source": source} | ({"title": file.name} if file.name else {})
    is_text = media_type.startswith("text/") or media_type == "application/json"
    if is_text and (text := content.decode("utf-8", "replace")).strip():
        return _text(text)
    return _text(f"[a file of type {media_type or 'unknown'} that cannot be shown here]")


def _text(text: str) -> Block:
    return {"type": "text", "text": text}
