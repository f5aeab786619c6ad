"""Histories as messages of pydantic-ai, in both directions.

What the format cannot express, or this converter does not keep:

- Messages of one side in a row are one. Back, each result of a tool is a message of its own.
- Parts of people: a file reference and a source become text. The names of files are not kept.
- Parts of answers: sources are left out.
- Results of tools: their files follow the value, and a value None with files is left out.
- Back: what a response says about itself (usage, time, reason of its end) and what the agent had
  (instructions, tools, settings) are not kept.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic_ai import BinaryContent
from pydantic_ai import messages as m

from antiphon.adapters.foreign_history import HistoryBuilder, add_block, args_of, blocks_of
from antiphon.adapters.recorded_calls import plain, text_of
from antiphon.core.parts import File, FileReference, Part, Reasoning, Role, Source, Text, ToolCall, ToolResult
from antiphon.errors import Invalid
from antiphon.models.history import data_as_text, results_with_files
from antiphon.ports import Message

PROVIDER = "pydantic-ai"
"""The name under which the metadata of parts has what pydantic-ai must get back."""
BOOKKEEPING = (
    "capability-load-delta",
    "instruction-baseline",
    "instruction-delta",
    "model-settings-delta",
    "tool-availability-delta",
)
"""Kinds of request parts that record what the agent had: its instructions, tools and settings."""
KEPT = ("id", "signature", "provider_name", "provider_details")
"""The fields of response parts that are kept there."""


def to_model_messages(messages: Sequence[Message]) -> list[m.ModelMessage]:
    """Messages of Antiphon as `message_history` accepts them.

    Args:
        messages: The history, such as `turn.messages`.

    Returns:
        The messages.
    """
    made: list[m.ModelMessage] = []
    for message in data_as_text(messages):
        if message.role is Role.ASSISTANT:
            said = [one for part in message.content for one in _response_parts(part)]
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


def from_model_messages(messages: Iterable[m.ModelMessage], *, first_id: int = 1) -> list[Message]:
    """Messages of pydantic-ai (`result.all_messages()`) as messages of Antiphon.

    Args:
        messages: The messages.
        first_id: The id of the first message; they are numbered without holes.

    Returns:
        The messages.

    Raises:
        Invalid: A message has something that has no place in Antiphon: a file by its address, a call of a tool that
            the provider runs.
    """
    history = HistoryBuilder(first_id)
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if isinstance(message, m.ModelResponse):
            history.add(Role.ASSISTANT, parts_of(message.parts, where))
            continue
        for part in message.parts:
            history.add(*_asked(part, where))
    return history.messages


def metadata_of(part: Any) -> dict[str, Any]:
    """What is stored with a text or a tool call; empty if there is nothing."""
    kept = {name: plain(value) for name in KEPT if (value := getattr(part, name, None)) is not None}
    return {PROVIDER: kept} if kept else {}


def add_thinking(reasoning: Reasoning, part: m.ThinkingPart) -> Reasoning:
    """The reasoning part with one more part of thinking."""
    return add_block(reasoning, part.content, metadata_of(part).get(PROVIDER, {}), PROVIDER)


def parts_of(parts: Sequence[m.ModelResponsePart], where: str = "parts") -> list[Part]:
    """The parts of a response. Neighbouring parts of thinking are one. Raises `Invalid`."""
    made: list[Part] = []
    for part in parts:
        match part:
            case m.TextPart():
                made.append(Text(part.content, metadata_of(part) or None))
            case m.ThinkingPart():
                last = made.pop() if made and isinstance(made[-1], Reasoning) else Reasoning("")
                assert isinstance(last, Reasoning), "only reasoning is continued"
                made.append(add_thinking(last, part))
            case m.ToolCallPart():
                args = args_of(part.args) if isinstance(part.args, str) else part.args or {}
                made.append(ToolCall(part.tool_call_id, part.tool_name, args, metadata_of(part) or None))
            case m.FilePart(content=content):
                made.append(File(content.media_type, content.base64))
            case _:
                raise Invalid(where, f"a {part.part_kind} part has no place in an answer of Antiphon")
    return made


def _response_parts(part: Part) -> Iterator[m.ModelResponsePart]:
    match part:
        case Text(text=text) if text:
            yield m.TextPart(content=text, **_own(part))
        case Reasoning(text=text) if text:
            blocks = list(blocks_of(part, PROVIDER)) or [(text, {})]
            yield from (m.ThinkingPart(content=content, **fields) for content, fields in blocks)
        case ToolCall():
            args = part.args if isinstance(part.args, dict) else text_of(part.args)
            yield m.ToolCallPart(tool_name=part.tool_name, args=args, tool_call_id=part.tool_call_id, **_own(part))
        case File(data=data) if data:
            yield m.FilePart(content=_binary(part))


def _own(part: Text | ToolCall) -> dict[str, Any]:
    """The fields that pydantic-ai gave the part."""
    metadata = part.provider_metadata
    own = metadata.get(PROVIDER) if isinstance(metadata, dict) else None
    return {name: value for name, value in own.items() if name in KEPT} if isinstance(own, dict) else {}


def _request_parts(message: Message) -> list[m.ModelRequestPart]:
    results = list(results_with_files(message))
    if results:
        return [
            m.ToolReturnPart(
                tool_name=part.tool_name,
                content=_return_content(part.result, files),
                tool_call_id=part.tool_call_id,
                outcome="failed" if part.is_error else "success",
            )
            for part, files in results
        ]
    content = [piece for part in message.content if (piece := _user_piece(part)) is not None]
    if message.role is Role.SYSTEM:
        return [m.SystemPromptPart(content="\n".join(piece for piece in content if isinstance(piece, str)))]
    is_text = len(content) == 1 and isinstance(content[0], str)
    return [m.UserPromptPart(content=content[0] if is_text else content)] if content else []


def _return_content(result: Any, files: Sequence[Part]) -> Any:
    """A result with its loaded files. Those that are not loaded are named in the result."""
    pieces = [_user_piece(part) for part in files if isinstance(part, Text) or (isinstance(part, File) and part.data)]
    if not pieces:
        return result
    if result is not None:
        return [result, *pieces]
    return pieces[0] if len(pieces) == 1 else pieces


def _user_piece(part: Part) -> Any:
    match part:
        case Text(text=text):
            return text
        case File(data=data) if data:
            return _binary(part)
        case FileReference():
            return f"{part.file_name}, lines {part.start_line} to {part.end_line}:\n{part.content}"
        case Source(url=url, title=title):
            return f"{title} {url}".strip()
    return None


def _binary(file: File) -> BinaryContent:
    data = base64.b64decode(file.data.rpartition("base64,")[2])
    return BinaryContent.narrow_type(BinaryContent(data=data, media_type=file.media_type))


def _asked(part: Any, where: str) -> tuple[Role, list[Part]]:
    match part:
        case m.SystemPromptPart(content=text):
            return Role.SYSTEM, [Text(text)]
        case m.UserPromptPart(content=content):
            pieces = [content] if isinstance(content, str) else content
            return Role.USER, [one for piece in pieces for one in _part_of(piece, where)]
        case m.ToolReturnPart():
            value, files = _read_return(part.content)
            result = ToolResult(part.tool_call_id, part.tool_name, value, is_error=part.outcome != "success")
            return Role.TOOL, [result, *files]
    match part.part_kind:
        case "retry-prompt" if part.tool_name:  # of versions before 3
            return Role.TOOL, [ToolResult(part.tool_call_id, part.tool_name, part.model_response(), is_error=True)]
        case "retry-prompt" | "retry-feedback":
            return Role.USER, [Text(part.model_response())]
        case kind if kind in BOOKKEEPING:
            return Role.USER, []
    raise Invalid(where, f"a {part.part_kind} part has no place in a history of Antiphon")


def _read_return(content: Any) -> tuple[Any, list[Part]]:
    """The value of a tool's return, and its files."""
    pieces = list(content) if isinstance(content, list | tuple) else [content]
    files: list[Part] = [File(one.media_type, one.base64) for one in pieces if isinstance(one, BinaryContent)]
    if not files:
        return plain(content), []
    values = [plain(one) for one in pieces if not isinstance(one, BinaryContent)]
    return (values if len(values) > 1 else values[0] if values else None), files


def _part_of(piece: Any, where: str) -> Iterator[Part]:
    match piece:
        case str():
            yield Text(piece)
        case m.TextContent(content=text):
            yield Text(text)
        case BinaryContent():
            yield File(piece.media_type, piece.base64)
        case m.CachePoint():  # a hint for the provider, no content
            return
        case _:
            raise Invalid(
                where, f"{type(piece).__name__} has no place in Antiphon: give a file's data, not its address"
            )
