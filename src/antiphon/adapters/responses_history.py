"""Histories as input items of OpenAI's Responses API, in both directions.

What the format cannot express:

- A result is a text. A JSON value becomes its JSON; a failed call's result begins with `Error: `.
- Ids and names that providers refuse are changed, in the same way in a call and its result.
- Arguments that are no object are sent inside of one (`invalid_arguments`); back, they are what they were.
- Parts of people: a file reference and a source become text, and so does a file of text.
- Parts of answers: sources and files are left out. Each text is an item of its own.
- Reasoning goes back as the items that the provider has sent, before the part that followed them. Other reasoning is
  left out.
- Back: an item's own id, its status and its annotations are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from antiphon.adapters.foreign_history import Fields, HistoryBuilder, args_of, error_or_text, file_of, request_for
from antiphon.core.parts import File, Part, Reasoning, Role, Text, ToolCall
from antiphon.models.openai_request import default_name
from antiphon.models.responses_request import REASONING, input_items
from antiphon.ports import Message

PROVIDER = "openai"
"""The name under which the metadata of parts has what only this API understands."""
IGNORED = ("id", "status", "phase")
"""Fields of items that are not needed to send them back."""


def to_responses(messages: Sequence[Message], *, provider: str = PROVIDER) -> list[dict[str, Any]]:
    """Messages of Antiphon as items of `input`.

    Args:
        messages: The history, such as `turn.messages`.
        provider: The name under which the metadata of parts has the reasoning items.

    Returns:
        The items. The system text is a parameter of its own (`instructions`).
    """
    return input_items(request_for(messages), provider, keeps_reasoning=True)


def from_responses(items: Iterable[Any], *, first_id: int = 1, provider: str = PROVIDER) -> list[Message]:
    """Items of the Responses API, of `input` or `output`, as messages of Antiphon.

    Args:
        items: Dicts, or objects of the `openai` package. The role `developer` is read as `system`, and a refusal as
            text.
        first_id: The id of the first message; they are numbered without holes.
        provider: The name under which the metadata of parts gets the reasoning items.

    Returns:
        The messages. The items of one answer are one message.

    Raises:
        Invalid: An item has something that has no place in Antiphon (a call of a tool that the provider runs, a file
            by its address), or answers a call that no earlier item has.
    """
    history = HistoryBuilder(first_id)
    answer: list[Part] = []
    reasoning: list[Any] = []
    for number, item in enumerate(items):
        fields = Fields(item, f"items[{number}]")
        fields.ignore(*IGNORED)
        kind, role = fields.text("type"), fields.text("role")
        if kind == "reasoning":
            answer += _summary(fields)
            reasoning.append(_kept(item))
            continue
        metadata = {provider: {REASONING: reasoning}} if reasoning else None
        reasoning = []
        if kind == "function_call":
            args = args_of(fields.text("arguments"))
            answer.append(ToolCall(fields.text("call_id"), fields.text("name"), args, metadata))
        elif role == "assistant" and kind in ("", "message"):
            texts = [_text(one) for one in fields.items("content")]
            answer += [Text(text, metadata if not index else None) for index, text in enumerate(texts)]
        elif metadata:
            raise fields.refused("reasoning goes before an answer's message or call")
        else:
            history.add(Role.ASSISTANT, answer)
            answer = []
            history.add(*_other(kind, role, fields, history))
        fields.refuse_rest()
    history.add(Role.ASSISTANT, answer)
    if reasoning:
        raise Fields({}, "items").refused(
            "reasoning goes before an answer's message or call, and is not the last item"
        )
    return history.messages


def _other(kind: str, role: str, fields: Fields, history: HistoryBuilder) -> tuple[Role, list[Part]]:
    if kind == "function_call_output":
        content = "\n".join(_text(one) for one in fields.items("output"))
        text, is_error = error_or_text(content)
        return Role.TOOL, [history.result(fields.text("call_id"), text, fields, is_error=is_error)]
    if kind not in ("", "message") or role not in ("user", "system", "developer"):
        raise fields.refused(f"an item of type {kind!r} and role {role!r} has no place in a history of Antiphon")
    is_user = role == "user"
    parts = [_user_part(one) if is_user else Text(_text(one)) for one in fields.items("content")]
    return Role.USER if is_user else Role.SYSTEM, parts


def _summary(fields: Fields) -> Iterator[Reasoning]:
    texts = [one.text("text") for one in fields.items("summary")]
    if text := "\n\n".join(filter(None, texts)):
        yield Reasoning(text)


def _kept(item: Any) -> dict[str, Any]:
    """A reasoning item as it is sent back."""
    given = item if isinstance(item, dict) else item.model_dump(exclude_none=True)
    return {name: value for name, value in given.items() if name != "status"}


def _text(fields: Fields) -> str:
    kind = fields.text("type")
    if kind not in ("text", "input_text", "output_text", "refusal"):
        raise fields.refused(f"{kind!r} has no place in a message of Antiphon")
    fields.ignore("annotations", "logprobs")
    text = fields.text("refusal" if kind == "refusal" else "text")
    fields.refuse_rest()
    return text


def _user_part(fields: Fields) -> Part:
    match fields.pop("type"):
        case "input_image":
            if fields.pop("detail", "auto") != "auto":
                raise fields.refused("the field 'detail' has no place in a message of Antiphon")
            part: Part = file_of(fields.text("image_url"), fields)
        case "input_file":
            name = fields.text("filename")
            file = file_of(fields.text("file_data"), fields)
            part = File(file.media_type, file.data, name="" if name == default_name(file.media_type) else name)
        case kind:
            return Text(_text(Fields({"type": kind, "text": fields.pop("text")}, fields.where)))
    fields.refuse_rest()
    return part
