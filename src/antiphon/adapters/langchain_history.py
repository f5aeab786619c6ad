"""Histories as messages of LangChain, in both directions.

What the format cannot express, or this converter does not keep:

- A result is a text: a JSON value becomes its JSON. Its files follow it as blocks, if `result_images` is set.
- Arguments that are no object are sent inside of one (`invalid_arguments`); back, they are what they were.
- Parts of people: a file reference and a source become text.
- Parts of answers: sources and files are left out. Reasoning goes back as the blocks that the model has sent; other
  reasoning is left out. The calls follow the texts.
- Back: what a message says about itself (usage, time, reason of its end) and a tool's artifact are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from antiphon.adapters.foreign_history import (
    INVALID_ARGUMENTS,
    Fields,
    HistoryBuilder,
    add_block,
    args_of,
    blocks_of,
    file_of,
    unwrapped,
)
from antiphon.adapters.recorded_calls import plain, text_of
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
)
from antiphon.core.parts import text_of as text_of_parts
from antiphon.errors import Invalid
from antiphon.models.history import data_as_text, results_with_files
from antiphon.ports import Message
from antiphon.worker.turn import ASK, Turn

PROVIDER = "langchain"
"""The name under which the metadata of parts has what LangChain's models must get back."""
CALL_TYPES = ("tool_use", "tool_call", "tool_call_chunk", "function_call", "input_json_delta", "invalid_tool_call")
"""Types of content blocks that repeat `tool_calls`."""
REASONING_TYPES = ("thinking", "redacted_thinking", "reasoning", "reasoning_content")
TEXTS = ("thinking", "reasoning")
"""Where a block of reasoning may have its text."""
ARGUMENTS = ("reasoning_content",)
"""The additional arguments in which some models send their reasoning."""
KEPT = ("model_provider", "output_version")
"""The fields of `response_metadata` without which a model's package does not read its own blocks."""
REPEATED = ("tool_calls", "function_call", "refusal", "parsed")
"""Additional arguments that repeat what the message has in other fields."""


def to_langchain(messages: Sequence[Message], *, system: str = "", result_images: bool = True) -> list[AnyMessage]:
    """Messages of Antiphon as messages of LangChain.

    Args:
        messages: The history, such as `turn.messages`.
        system: The system text, which precedes them.
        result_images: Whether the model takes images in a `ToolMessage` (`image_tool_message` of its profile). If
            not, the loaded images of tools are left out; their results name them.

    Returns:
        The messages.
    """
    made: list[AnyMessage] = [SystemMessage(system)] if system else []
    for message in data_as_text(messages):
        made += _messages(message, result_images=result_images)
    return made


def from_langchain(messages: Iterable[BaseMessage], *, first_id: int = 1) -> list[Message]:
    """Messages of LangChain as messages of Antiphon.

    Args:
        messages: The messages.
        first_id: The id of the first message; they are numbered without holes.

    Returns:
        The messages.

    Raises:
        Invalid: A message has something that has no place in Antiphon, such as a file by its address, or answers a
            call that no earlier message has.
    """
    history = HistoryBuilder(first_id)
    for number, message in enumerate(messages):
        fields = Fields({"content": message.content}, f"messages[{number}]")
        match message:
            case SystemMessage():
                history.add(Role.SYSTEM, [_user_part(item) for item in fields.items("content")])
            case HumanMessage():
                history.add(Role.USER, [_user_part(item) for item in _items(fields)])
            case AIMessage():
                history.add(Role.ASSISTANT, answer_parts(message, fields.where))
            case ToolMessage():
                parts = [_user_part(item) for item in _items(fields)]
                files = [part for part in parts if isinstance(part, File)]
                is_error = message.status == "error"
                result = history.result(message.tool_call_id, text_of_parts(parts), fields, is_error=is_error)
                history.add(Role.TOOL, [result, *files])
            case _:
                raise fields.refused(f"{type(message).__name__} has no place in a history of Antiphon")
    return history.messages


def messages_of(turn: Turn, messages: Sequence[Message], *, result_images: bool) -> list[AnyMessage]:
    """The messages of a turn's chat (with loaded files), after its system text. Questions that this turn has asked
    are left out: the graph asks them again and gets the stored answers."""
    asked = [_without_questions(message, turn) for message in messages]
    return to_langchain(asked, system=turn.system, result_images=result_images)


def _without_questions(message: Message, turn: Turn) -> Message:
    if message.id < turn.turn_id:
        return message
    asks = any(isinstance(part, ToolCall | ToolResult) and part.tool_name == ASK for part in message.content)
    return Message(id=message.id, role=message.role, content=()) if asks else message


# --- to LangChain


def _messages(message: Message, *, result_images: bool) -> Iterator[AnyMessage]:
    match message.role:
        case Role.SYSTEM:
            yield SystemMessage(text_of_parts(message.content))
        case Role.USER if message.content:
            pieces = [piece for part in message.content if (piece := _user_piece(part)) is not None]
            is_text = len(pieces) == 1 and pieces[0]["type"] == "text"
            yield HumanMessage(pieces[0]["text"] if is_text else pieces)  # type: ignore[arg-type]
        case Role.ASSISTANT:
            yield from _answer(message.content)
        case Role.TOOL:
            for part, files in results_with_files(message):
                status = "error" if part.is_error else "success"
                content = _result_content(text_of(part.result), files if result_images else ())
                yield ToolMessage(content, tool_call_id=part.tool_call_id, name=part.tool_name, status=status)


def _result_content(text: str, files: Sequence[Part]) -> Any:
    """A result as a text, or as blocks if it has loaded files. Those that are not loaded are named in the result."""
    blocks = [piece for part in files if isinstance(part, Text | File) and (piece := _user_piece(part)) is not None]
    return [*([{"type": "text", "text": text}] if text else []), *blocks] if blocks else text


def _answer(parts: Sequence[Part]) -> Iterator[AIMessage]:
    content: list[Any] = []
    fields: dict[str, Any] = {"additional_kwargs": {}, "response_metadata": {}}
    for part in parts:
        if isinstance(part, Reasoning):
            for text, entry in blocks_of(part, PROVIDER):
                if "argument" in entry:
                    fields["additional_kwargs"][entry["argument"]] = text
                else:
                    content.append(entry["block"] | ({entry["text"]: text} if "text" in entry else {}))
        elif isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        for name, value in _own(part).items():
            fields[name] |= value if name in fields and isinstance(value, dict) else {}
    calls = [_call(part) for part in parts if isinstance(part, ToolCall)]
    if content or calls or any(fields.values()):
        is_text = len(content) == 1 and content[0].keys() == {"type", "text"}
        yield AIMessage(content[0]["text"] if is_text else content or "", tool_calls=calls, **fields)


def _own(part: Part) -> dict[str, Any]:
    """What LangChain's message had beside its content."""
    metadata = getattr(part, "provider_metadata", None)
    own = metadata.get(PROVIDER) if isinstance(metadata, dict) else None
    own = own.get("message") if isinstance(own, dict) else None
    return own if isinstance(own, dict) else {}


def _call(part: ToolCall) -> Any:
    args = part.args if isinstance(part.args, dict) else {INVALID_ARGUMENTS: part.args}
    return {"name": part.tool_name, "args": args, "id": part.tool_call_id, "type": "tool_call"}


def _user_piece(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case File(media_type=media_type, data=data, name=name):
            kind = media_type.partition("/")[0]
            named = {"filename": name} if name else {}
            file = {"base64": data.rpartition("base64,")[2], "mime_type": media_type} | named
            return {"type": kind if kind in ("image", "audio", "video") else "file"} | file
        case FileReference():
            lines = f"{part.file_name}, lines {part.start_line} to {part.end_line}"
            return {"type": "text", "text": f"{lines}:\n{part.content}"}
        case Source(url=url, title=title):
            return {"type": "text", "text": f"{title} {url}".strip()}
    return None


# --- from LangChain


def answer_parts(message: AIMessage, where: str = "message") -> list[Part]:
    """The parts of an answer. Neighbouring blocks of reasoning are one. Raises `Invalid`."""
    reasoning, parts = reasoning_of(message), []
    said: list[Part] = [reasoning] if reasoning is not None else []
    for block in blocks_in(message):
        kind = block.get("type")
        if kind == "text":
            said += [Text(block["text"])] if block["text"] else []
        elif kind not in CALL_TYPES and not is_reasoning(block):
            raise Invalid(where, f"a block of type {kind!r} has no place in an answer of Antiphon")
    for one in message.tool_calls:
        parts.append(ToolCall(one["id"] or "", one["name"], unwrapped(one["args"])))
    for bad in message.invalid_tool_calls:
        parts.append(ToolCall(bad["id"] or "", bad["name"] or "", args_of(bad["args"] or "")))
    if parts and (metadata := metadata_of(message)):
        parts[0] = msgspec.structs.replace(parts[0], provider_metadata=metadata)
    return [*said, *parts]


def reasoning_of(message: AIMessage) -> Reasoning | None:
    """The reasoning of a message as one part, with the blocks that its model must get back."""
    made = Reasoning("")
    for name in ARGUMENTS:
        if isinstance(text := message.additional_kwargs.get(name), str) and text:
            made = add_block(made, text, {"argument": name}, PROVIDER)
    for block in filter(is_reasoning, blocks_in(message)):
        kept = {name: plain(value) for name, value in block.items() if name != "index"}
        key = next((name for name in TEXTS if isinstance(kept.get(name), str)), "")
        entry = {"block": kept} | ({"text": key} if key else {})
        summary = [one.get("text", "") for one in kept.get("summary") or () if isinstance(one, dict)]
        made = add_block(made, kept.pop(key) if key else "\n\n".join(summary), entry, PROVIDER)
    return made if made.text else None


def metadata_of(message: AIMessage) -> dict[str, Any] | None:
    """What a message has beside its content, stored with its first call; None if there is nothing."""
    kwargs = {k: plain(v) for k, v in message.additional_kwargs.items() if v and k not in (*REPEATED, *ARGUMENTS)}
    about = {name: message.response_metadata[name] for name in KEPT if name in message.response_metadata}
    own = {name: value for name, value in (("additional_kwargs", kwargs), ("response_metadata", about)) if value}
    return {PROVIDER: {"message": own}} if own else None


def blocks_in(message: AIMessage) -> list[dict[str, Any]]:
    """The content of a message as its model wrote it, as blocks."""
    content = [message.content] if isinstance(message.content, str) else message.content
    return [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]


def is_reasoning(block: dict[str, Any]) -> bool:
    """Whether a block has reasoning, in the form of any provider."""
    return block.get("type") in REASONING_TYPES


def _items(fields: Fields) -> list[Fields]:
    return fields.items("content")


def _user_part(fields: Fields) -> Part:
    part: Part
    match kind := fields.text("type"):
        case "text":
            part = Text(fields.text("text"))
        case "image_url":
            image = fields.object("image_url")
            part = file_of(image.text("url"), image)
            image.refuse_rest()
        case "image" | "audio" | "video" | "file":
            name = fields.text("filename")
            media_type, data = fields.text("mime_type"), fields.text("base64")
            part = file_of(f"data:{media_type};base64,{data}" if data else "", fields, name)
        case _:
            raise fields.refused(f"a block of type {kind!r} has no place in a message of Antiphon")
    fields.ignore("id")
    fields.refuse_rest()
    return part
