"""Histories as messages of Anthropic's Messages API, in both directions.

For a loop that you have written over the `anthropic` package (which this module does not need):

    async with client.messages.stream(model="claude-opus-4-5", max_tokens=4096, **request_of(turn)) as stream:
        async for piece in pieces_of(turn, stream):
            yield piece
    await turn.call(*calls_of(await stream.get_final_message()))

What the format cannot express:

- Messages alternate: neighbouring messages of people become one. The API begins and ends with a person's message, so
  `Continue.` is added where there is none. It refuses empty texts, which are left out.
- The system text is a parameter of its own; `to_anthropic` refuses a history with a message of the role `system`.
- A result is a text: a JSON value becomes its JSON.
- Ids and names that the API refuses are changed, in the same way in a call and its result.
- Arguments that are no object are sent inside of one (`invalid_arguments`); back, they are what they were.
- Parts of people: a file reference and a source become text, and so does a file of a kind that the API does not take.
- Parts of answers: sources and files are left out, and so is reasoning without its signature.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any

from antiphon.adapters.foreign_history import Fields, HistoryBuilder, file_of, request_for, unwrapped
from antiphon.core.parts import File, Part, PartMetadata, Reasoning, Role, Text, ToolCall, ToolResult
from antiphon.errors import Invalid
from antiphon.models.anthropic_request import REDACTED_TEXT, THINKING, chat_messages, function_tool
from antiphon.ports import Message
from antiphon.worker.turn import ToolCall as Call
from antiphon.worker.turn import Turn

PROVIDER = "anthropic"
"""The name under which the metadata of a reasoning part has its signatures."""


def to_anthropic(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages of Antiphon as messages of the API.

    Args:
        messages: The history, such as `turn.messages`.

    Returns:
        The messages, each with a list of blocks.

    Raises:
        Invalid: A message has the role `system`.
    """
    for number, message in enumerate(messages):
        if message.role is Role.SYSTEM:
            raise Invalid(f"messages[{number}]", "the API has no system messages: give the text as `system`")
    return chat_messages(request_for(messages), PROVIDER, keeps_thinking=True)


def from_anthropic(chat: Iterable[Any], *, first_id: int = 1) -> list[Message]:
    """Messages of the API as messages of Antiphon.

    Args:
        chat: Dicts, or objects of the `anthropic` package.
        first_id: The id of the first message; they are numbered without holes.

    Returns:
        The messages, each result of a tool in one of its own, before the user's message that had it.

    Raises:
        Invalid: A message has something that has no place in Antiphon, such as a file by its address, or answers a
            call that no earlier message has.
    """
    history = HistoryBuilder(first_id)
    for number, message in enumerate(chat):
        fields = Fields(message, f"messages[{number}]")
        blocks = fields.items("content")
        match fields.text("role"):
            case "assistant":
                history.add(Role.ASSISTANT, _answer_parts(blocks))
                fields.ignore("id", "type", "model", "stop_reason", "stop_sequence", "usage", "container")
            case "user":
                parts = [_user_part(block, history) for block in blocks]
                for part in parts:
                    if isinstance(part, ToolResult):
                        history.add(Role.TOOL, [part])
                history.add(Role.USER, [part for part in parts if not isinstance(part, ToolResult)])
            case role:
                raise fields.refused(f"its role is user or assistant, not {role!r}")
        fields.refuse_rest()
    return history.messages


async def request_of(turn: Turn) -> dict[str, Any]:
    """The messages, the system text and the tools of a turn, as arguments of `messages.stream`.

    Args:
        turn: The turn. All its tools are offered.

    Returns:
        `messages`, and `system` and `tools` if there are any.
    """
    request: dict[str, Any] = {"messages": to_anthropic(await turn.load_files())}
    request |= {"system": turn.system} if turn.system else {}
    return request | ({"tools": [function_tool(tool.spec) for tool in turn.tools]} if turn.tools else {})


def calls_of(message: Any) -> list[Call]:
    """The tool calls of an answer, for `turn.call`.

    Args:
        message: The answer, a dict or an object of the package.

    Returns:
        The calls, with their ids; empty if there are none.

    Raises:
        Invalid: The answer has what has no place in Antiphon, such as a call of a tool that the provider runs.
    """
    parts = _answer_parts(Fields(message, "message").items("content"))
    return [Call(part.tool_name, part.args, part.tool_call_id) for part in parts if isinstance(part, ToolCall)]


async def pieces_of(turn: Turn, stream: AsyncIterable[Any]) -> AsyncIterator[str | Reasoning | PartMetadata]:
    """What a stream of `messages.stream` adds to the answer, as it arrives.

    Args:
        turn: The turn, to whose usage that of the answer is added.
        stream: The opened stream.

    Yields:
        Text, and thinking with its signatures.
    """
    thinking: list[dict[str, Any]] = []
    async for event in stream:
        match event.type:
            case "message_start":
                await turn.start_call(model=event.message.model, provider=PROVIDER)
            case "text":
                thinking = []
                yield event.text
            case "thinking":
                yield Reasoning(event.thinking)
            case "content_block_stop" if event.content_block.type in ("thinking", "redacted_thinking"):
                block = Fields(event.content_block, "content_block")
                kept, text = _thinking_block(block.text("type"), block)
                if text == REDACTED_TEXT:
                    yield Reasoning(text)
                thinking.append(kept)
                yield PartMetadata({PROVIDER: {THINKING: list(thinking)}})
            case "message_stop":
                usage = event.message.usage
                turn.add_usage(
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cache_read_tokens=usage.cache_read_input_tokens,
                    cache_creation_tokens=usage.cache_creation_input_tokens,
                )


def _answer_parts(blocks: Sequence[Fields]) -> list[Part]:
    """The parts of an answer's blocks. Neighbouring blocks of thinking are one part."""
    parts: list[Part] = []
    for block in blocks:
        match kind := block.pop("type"):
            case "text":
                block.ignore("citations")
                parts.append(Text(block.text("text")))
            case "thinking" | "redacted_thinking":
                kept, text = _thinking_block(kind, block)
                thinking: list[Any] = [kept]
                if parts and isinstance(last := parts[-1], Reasoning):
                    text, thinking = last.text + text, [*last.provider_metadata[PROVIDER][THINKING], kept]
                    del parts[-1]
                parts.append(Reasoning(text, {PROVIDER: {THINKING: thinking}}))
            case "tool_use":
                parts.append(ToolCall(block.text("id"), block.text("name"), unwrapped(block.pop("input", {}))))
                block.ignore("caller")
            case _:
                raise block.refused(f"a block of type {kind!r} has no place in an answer of Antiphon")
        _refuse_rest(block)
    return parts


def _thinking_block(kind: str, block: Fields) -> tuple[dict[str, Any], str]:
    """A block of thinking as a reasoning part stores it, and its text."""
    if kind == "redacted_thinking":
        return {"length": len(REDACTED_TEXT), "redacted": block.text("data")}, REDACTED_TEXT
    text, signature = block.text("thinking"), block.text("signature")
    if not text:
        return {"length": len(REDACTED_TEXT), "is_hidden": True, "signature": signature}, REDACTED_TEXT
    return {"length": len(text), "signature": signature}, text


def _user_part(block: Fields, history: HistoryBuilder) -> Part:
    part: Part
    match kind := block.pop("type"):
        case "text":
            block.ignore("citations")
            part = Text(block.text("text"))
        case "image" | "document":
            source = block.object("source")
            if source.pop("type") != "base64":
                raise source.refused("a file is given by its data, not by an address, an id or a text")
            part = file_of(f"data:{source.text('media_type')};base64,{source.text('data')}", source)
            part = File(part.media_type, part.data, name=block.text("title"))
            source.refuse_rest()
        case "tool_result":
            texts = [_user_part(one, history) for one in block.items("content")]
            if not all(isinstance(one, Text) for one in texts):
                raise block.refused("the result of a tool is a text: a file has no place in it")
            content = "\n".join(one.text for one in texts if isinstance(one, Text))
            is_error = bool(block.pop("is_error"))
            part = history.result(block.text("tool_use_id"), content, block, is_error=is_error)
        case _:
            raise block.refused(f"a block of type {kind!r} has no place in a message of Antiphon")
    _refuse_rest(block)
    return part


def _refuse_rest(block: Fields) -> None:
    block.ignore("cache_control", "index", "parsed_output")
    block.refuse_rest()
