"""Histories as messages of OpenAI's chat completions, in both directions. (`responses_history` is for its Responses
API.)

For a loop that you have written over the `openai` package (which this module does not need):

    async with client.chat.completions.stream(model="gpt-5", **request_of(turn)) as stream:
        async for piece in pieces_of(turn, stream):
            yield piece
    await turn.call(*calls_of((await stream.get_final_completion()).choices[0].message))

What the formats cannot express:

- A result is a text. A JSON value becomes its JSON; a failed call's result begins with `Error: `.
- Ids and names that providers refuse are changed, in the same way in a call and its result.
- Arguments that are no object are sent inside of one (`invalid_arguments`); back, they are what they were.
- Parts of people: a file reference and a source become text, and so does a file of a kind that the API does not take.
- Parts of answers: sources and files are left out. Reasoning, the texts (joined to one) and the calls follow each
  other in this order.
- Reasoning goes back only if the provider has sent it in a field of its own (`reasoning_content`), and only in turns
  with tool calls: in other places providers refuse it. Other reasoning is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from antiphon.adapters.foreign_history import (
    Fields,
    HistoryBuilder,
    args_of,
    error_or_text,
    file_of,
    request_for,
)
from antiphon.core.parts import File, Part, PartMetadata, Reasoning, Role, Text, ToolCall
from antiphon.models.openai_request import (
    AUDIO_FORMATS,
    EXTRA_CONTENT,
    REASONING_FIELD,
    REASONING_FIELDS,
    chat_messages,
    default_name,
    function_tool,
)
from antiphon.ports import Message
from antiphon.worker.turn import ToolCall as Call
from antiphon.worker.turn import Turn

PROVIDER = "openai"
"""The name under which the metadata of parts has what only this API understands."""


def to_chat(messages: Sequence[Message], *, system: str = "") -> list[dict[str, Any]]:
    """Messages of Antiphon as messages of chat completions.

    Args:
        messages: The history, such as `turn.messages`.
        system: The system text, which precedes them.

    Returns:
        The messages, as the API takes them.
    """
    return chat_messages(request_for(messages, system), PROVIDER)


def from_chat(chat: Iterable[Any], *, first_id: int = 1) -> list[Message]:
    """Messages of chat completions as messages of Antiphon.

    Args:
        chat: Dicts, or objects of the `openai` package. The role `developer` is read as `system`, and a refusal as
            text.
        first_id: The id of the first message; they are numbered without holes.

    Returns:
        The messages, each result of a tool in one of its own.

    Raises:
        Invalid: A message has something that has no place in Antiphon, such as a file by its address, or answers a
            call that no earlier message has.
    """
    history = HistoryBuilder(first_id)
    for number, message in enumerate(chat):
        fields = Fields(message, f"messages[{number}]")
        match fields.text("role"):
            case "system" | "developer":
                history.add(Role.SYSTEM, [_text(item) for item in fields.items("content")])
            case "user":
                history.add(Role.USER, [_user_part(item) for item in fields.items("content")])
            case "assistant":
                history.add(Role.ASSISTANT, list(_answer_parts(fields)))
            case "tool":
                content = "\n".join(_text(item).text for item in fields.items("content"))
                text, is_error = error_or_text(content)
                history.add(Role.TOOL, [history.result(fields.text("tool_call_id"), text, fields, is_error=is_error)])
            case role:
                raise fields.refused(f"its role is system, developer, user, assistant or tool, not {role!r}")
        fields.refuse_rest()
    return history.messages


async def request_of(turn: Turn) -> dict[str, Any]:
    """The messages and the tools of a turn, as arguments of `chat.completions.stream`.

    Args:
        turn: The turn. Its system text comes first; all its tools are offered.

    Returns:
        `messages`, `tools` (if there are any) and `stream_options`, which ask for the usage.
    """
    request: dict[str, Any] = {
        "messages": to_chat(await turn.load_files(), system=turn.system),
        "stream_options": {"include_usage": True},
    }
    return request | ({"tools": [function_tool(tool.spec) for tool in turn.tools]} if turn.tools else {})


def calls_of(message: Any) -> list[Call]:
    """The tool calls of an answer, for `turn.call`.

    Args:
        message: The answer's message, a dict or an object of the package.

    Returns:
        The calls, with their ids; empty if there are none.

    Raises:
        Invalid: A call is not one of a function.
    """
    parts = _answer_parts(Fields(message, "message"))
    return [
        Call(part.tool_name, part.args, part.tool_call_id, part.provider_metadata)
        for part in parts
        if isinstance(part, ToolCall)
    ]


async def pieces_of(turn: Turn, stream: AsyncIterable[Any]) -> AsyncIterator[str | Reasoning | PartMetadata]:
    """What a stream of `chat.completions.stream` adds to the answer, as it arrives.

    Args:
        turn: The turn, to whose usage that of the answer is added.
        stream: The opened stream.

    Yields:
        Text, and reasoning where the provider has a field for it.
    """
    has_begun = False
    async for event in stream:
        if event.type in ("content.delta", "refusal.delta"):
            yield event.delta
        elif event.type == "chunk":
            if not has_begun:
                has_begun = True
                await turn.start_call(model=event.chunk.model, provider=PROVIDER)
            if usage := event.chunk.usage:
                turn.add_usage(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens)
            for choice in event.chunk.choices[:1]:
                for piece in _reasoning_pieces(choice.delta.model_extra or {}):
                    yield piece


def _reasoning_pieces(extra: dict[str, Any]) -> Iterator[Reasoning | PartMetadata]:
    field = next((name for name in REASONING_FIELDS if isinstance(extra.get(name), str)), "")
    if field and extra[field]:
        yield Reasoning(extra[field])
        yield PartMetadata({PROVIDER: {REASONING_FIELD: field}})


def _text(fields: Fields) -> Text:
    kind = fields.text("type")
    if kind not in ("text", "refusal", "input_text", "output_text"):
        raise fields.refused(f"{kind!r} has no place in a message of Antiphon")
    fields.ignore("annotations", "logprobs")
    text = fields.text("refusal" if kind == "refusal" else "text")
    fields.refuse_rest()
    return Text(text)


def _user_part(fields: Fields) -> Part:
    match fields.pop("type"):
        case "image_url":
            image = fields.object("image_url")
            if image.pop("detail", "auto") != "auto":
                raise image.refused("the field 'detail' has no place in a message of Antiphon")
            part: Part = file_of(image.text("url"), image)
            image.refuse_rest()
        case "input_audio":
            audio = fields.object("input_audio")
            given = audio.text("format")
            media_type = next((kind for kind, name in AUDIO_FORMATS.items() if name == given), f"audio/{given}")
            part = file_of(f"data:{media_type};base64,{audio.text('data')}", audio)
        case "file":
            file = fields.object("file")
            part = _named_file(file_of(file.text("file_data"), file), file.text("filename"))
            file.refuse_rest()
        case kind:
            return _text(Fields({"type": kind, "text": fields.pop("text")}, fields.where))
    fields.refuse_rest()
    return part


def _named_file(file: File, name: str) -> File:
    """The file with its name, unless that was made from its type because it had none."""
    return File(file.media_type, file.data, name="" if name == default_name(file.media_type) else name)


def _answer_parts(fields: Fields) -> Iterator[Part]:
    for field in REASONING_FIELDS:
        if text := fields.text(field):
            yield Reasoning(text, {PROVIDER: {REASONING_FIELD: field}})
    yield from (_text(item) for item in fields.items("content"))
    if refusal := fields.text("refusal"):
        yield Text(refusal)
    for item in fields.items("tool_calls"):
        function = item.object("function")
        extra = item.pop(EXTRA_CONTENT)
        metadata = {PROVIDER: {EXTRA_CONTENT: extra}} if extra else None
        yield ToolCall(item.text("id"), function.text("name"), args_of(function.text("arguments")), metadata)
        item.ignore("type", "index")
        item.refuse_rest()
        function.ignore("parsed_arguments")
        function.refuse_rest()
    fields.ignore("parsed", "annotations")
