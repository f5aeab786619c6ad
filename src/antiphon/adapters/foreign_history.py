"""What the converters of histories share: reading foreign messages strictly, and numbering what they become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from antiphon.core.draft import args_value
from antiphon.core.parts import File, Part, Reasoning, Role, ToolCall, ToolResult
from antiphon.errors import Invalid
from antiphon.models.anthropic_request import REDACTED_TEXT, THINKING, thinking_of
from antiphon.models.files import decode_file
from antiphon.models.history import data_as_text
from antiphon.ports import Message, ModelRequest

INVALID_ARGUMENTS = "invalid_arguments"
"""The key of the object in which arguments are sent back that are no object themselves."""
ERROR_PREFIX = "Error: "
"""How a failed call's result begins in formats that have no field for it."""


class Fields:
    """The fields of a foreign message: each is popped once, and one that is left has no place in Antiphon.

    Args:
        value: An object of an SDK, or a dict.
        where: Its place in the input, for errors.

    Raises:
        Invalid: It is neither.
    """

    def __init__(self, value: Any, where: str) -> None:
        given = value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
        if not isinstance(given, dict):
            raise Invalid(where, f"a message is an object, not {type(value).__name__}")
        self.where = where
        self._left: dict[str, Any] = {name: one for name, one in given.items() if one not in (None, [], {})}

    def pop(self, name: str, default: Any = None) -> Any:
        return self._left.pop(name, default)

    def text(self, name: str) -> str:
        """A field that must be a text; empty if it is missing."""
        value = self._left.pop(name, "")
        if not isinstance(value, str):
            raise Invalid(f"{self.where}.{name}", "must be a text")
        return value

    def items(self, name: str) -> list[Fields]:
        """A field that is a list of objects; a text is one object of type `text`."""
        value = self._left.pop(name, [])
        listed = [{"type": "text", "text": value}] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple):
            raise Invalid(f"{self.where}.{name}", "must be a text or a list")
        return [Fields(one, f"{self.where}.{name}[{number}]") for number, one in enumerate(listed)]

    def object(self, name: str) -> Fields:
        return Fields(self._left.pop(name, {}), f"{self.where}.{name}")

    def ignore(self, *names: str) -> None:
        for name in names:
            self._left.pop(name, None)

    def refuse_rest(self) -> None:
        """Raises `Invalid` if a field is left: it would be lost."""
        if self._left:
            raise self.refused(f"the field {next(iter(self._left))!r} has no place in a message of Antiphon")

    def refused(self, reason: str) -> Invalid:
        return Invalid(self.where, reason)


class HistoryBuilder:
    """Builds the messages of a history, numbered from `first_id`."""

    def __init__(self, first_id: int = 1) -> None:
        self._next_id = first_id
        self._names: dict[str, str] = {}
        self.messages: list[Message] = []

    def add(self, role: Role, parts: Iterable[Part]) -> None:
        content = tuple(parts)
        if content:
            self.messages.append(Message(id=self._next_id, role=role, content=content))
            self._names |= {part.tool_call_id: part.tool_name for part in content if isinstance(part, ToolCall)}
            self._next_id += 1

    def result(self, call_id: str, result: Any, where: Fields, *, is_error: bool = False) -> ToolResult:
        """The result of an earlier call, whose name it gets. Raises `Invalid` if there is none."""
        if call_id not in self._names:
            raise where.refused(f"it answers the call {call_id!r}, which no message before it has")
        return ToolResult(call_id, self._names[call_id], result, is_error=is_error)


def request_for(messages: Sequence[Message], system: str = "") -> ModelRequest:
    """A request with these messages, for the functions that build a provider's request."""
    return ModelRequest(chat_id="", turn_id=0, model="", system=system, messages=tuple(data_as_text(messages)))


def args_of(text: str) -> Any:
    """The arguments of a call from their JSON, or as a text if they are none."""
    return unwrapped(args_value(text))


def unwrapped(args: Any) -> Any:
    """Arguments that were sent back inside of an object, as they were."""
    is_wrapped = isinstance(args, dict) and args.keys() == {INVALID_ARGUMENTS}
    return args[INVALID_ARGUMENTS] if is_wrapped else args


def error_or_text(content: str) -> tuple[str, bool]:
    """A result's text, and whether it is an error."""
    return content.removeprefix(ERROR_PREFIX), content.startswith(ERROR_PREFIX)


def file_of(url: str, where: Fields, name: str = "") -> File:
    """The file of a `data:` URL. Raises `Invalid` for any other: Antiphon stores a file's bytes, not its address."""
    head, mark, data = url.partition(";base64,")
    if not mark or not head.startswith("data:"):
        raise where.refused("a file is given by its data (data:…;base64,…), not by an address")
    file = File(head.removeprefix("data:"), data, name=name)
    if data and not decode_file(file).content:
        raise where.refused("its data is not base64")
    return file


# --- reasoning

HIDDEN_TEXT = REDACTED_TEXT
"""Stands in a reasoning part for a block without text: its provider keeps it secret, or has encrypted it."""


def add_block(reasoning: Reasoning, text: str, block: dict[str, Any], provider: str) -> Reasoning:
    """Add a block of thinking to a reasoning part, whose metadata says which of its text belongs to which block.

    Args:
        reasoning: The part so far.
        text: The block's text.
        block: What goes back to the provider with the text.
        provider: The name under which the metadata has the blocks.
    """
    shown = text or HIDDEN_TEXT
    entry = {"length": len(shown)} | ({} if text else {"is_hidden": True}) | block
    before = [] if reasoning.provider_metadata is None else reasoning.provider_metadata[provider][THINKING]
    return Reasoning(reasoning.text + shown, {provider: {THINKING: [*before, entry]}})


def blocks_of(reasoning: Reasoning, provider: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The text and the rest of each block that `add_block` has added; none if another provider sent the reasoning."""
    start = 0
    for entry in thinking_of(reasoning.provider_metadata, provider):
        block = {name: value for name, value in entry.items() if name not in ("length", "is_hidden")}
        end = start + entry["length"]
        yield "" if entry.get("is_hidden") else reasoning.text[start:end], block
        start = end
