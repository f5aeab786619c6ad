"""The history of a chat as messages of LangChain, and what its models stream as pieces of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic_core import to_jsonable_python

from antiphon.core.parts import File, FileReference, Part, Reasoning, Role, Text, ToolCall, ToolResult, text_of
from antiphon.ports import Message
from antiphon.worker.turn import ASK, Turn


def messages_of(turn: Turn, messages: Sequence[Message]) -> list[AnyMessage]:
    """The messages of a turn's chat (with loaded files), after its system text. Questions that this turn has asked
    are left out: the graph asks them again and gets the stored answers."""
    made: list[AnyMessage] = [SystemMessage(turn.system)] if turn.system else []
    for message in messages:
        made += _messages(message, is_current=message.id >= turn.turn_id)
    return made


def _messages(message: Message, *, is_current: bool) -> Iterator[AnyMessage]:
    match message.role:
        case Role.SYSTEM:
            yield SystemMessage(text_of(message.content))
        case Role.USER:
            pieces = [piece for part in message.content if (piece := _user_piece(part)) is not None]
            is_text = len(pieces) == 1 and pieces[0]["type"] == "text"
            yield HumanMessage(pieces[0]["text"] if is_text else pieces)  # type: ignore[arg-type]
        case Role.ASSISTANT:
            calls = [part for part in message.content if isinstance(part, ToolCall)]
            if is_current and any(call.tool_name == ASK for call in calls):
                return
            said = text_of(message.content)
            if said or calls:
                yield AIMessage(said, tool_calls=[_call(part) for part in calls])
        case Role.TOOL:
            for part in message.content:
                if isinstance(part, ToolResult) and not (is_current and part.tool_name == ASK):
                    content = part.result if isinstance(part.result, str) else str(part.result)
                    status = "error" if part.is_error else "success"
                    yield ToolMessage(content, tool_call_id=part.tool_call_id, name=part.tool_name, status=status)


def _call(part: ToolCall) -> Any:
    args = part.args if isinstance(part.args, dict) else {"invalid_arguments": part.args}
    return {"name": part.tool_name, "args": args, "id": part.tool_call_id, "type": "tool_call"}


def _user_piece(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case File(media_type=media_type, data=data) if media_type.startswith("image/"):
            return {"type": "image", "base64": data.rpartition("base64,")[2], "mime_type": media_type}
        case File(media_type=media_type, data=data):
            return {"type": "file", "base64": data.rpartition("base64,")[2], "mime_type": media_type}
        case FileReference():
            lines = f"{part.file_name}, lines {part.start_line} to {part.end_line}"
            return {"type": "text", "text": f"{lines}:\n{part.content}"}
    return None


def pieces_of(chunk: Any, turn: Turn) -> Iterator[str | Reasoning]:
    """The text and the reasoning of a streamed message of a model. Its usage is added to the turn's."""
    if not isinstance(chunk, AIMessage):
        return
    if usage := chunk.usage_metadata:
        turn.add_usage(input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"])
    for block in chunk.content_blocks:
        if block["type"] == "text" and block["text"]:
            yield block["text"]
        elif block["type"] == "reasoning" and (thought := block.get("reasoning")):
            yield Reasoning(thought)


def plain(value: Any) -> Any:
    """A value of a framework as JSON."""
    return to_jsonable_python(value, fallback=str)
