"""Structured output: a model's answer as a JSON value of a type or a JSON Schema, instead of text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from antiphon.core.depth import DEPTH_MAX, has_too_many_values, is_deeper
from antiphon.core.parts import Data, PartMetadata, Text, ToolCallOpened
from antiphon.errors import AttemptFailed
from antiphon.ports import AnswerEnded, ModelEvent, OutputFormat
from antiphon.worker.draft_writer import DATA_BYTES_MAX

NAME_MAX = 64
"""Maximum length of the name of an output format, in characters: a limit of OpenAI's."""


class StructuredOutput:
    """`format` is what the model gets; `parse` reads its answer."""

    def __init__(self, output: Any) -> None:
        """
        Args:
            output: A type that msgspec can decode (a Struct, dataclass, TypedDict, `list[int]`, …), or a JSON Schema
                as a dict. A schema is sent to the model, and only a type is checked here.

        Raises:
            TypeError: There is no JSON Schema of that type.
        """
        self._type = Any if isinstance(output, dict) else output
        schema = output if isinstance(output, dict) else _closed(_schema_of(output))
        name = str(schema.get("title") or getattr(output, "__name__", "") or "answer")
        self.format = OutputFormat(
            name=re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:NAME_MAX], schema=schema, is_strict=_is_strict(schema)
        )

    async def read(self, events: AsyncIterator[ModelEvent]) -> AsyncIterator[ModelEvent | Data]:
        """The events of one answer, with its value in place of its text. The text before tool calls, and that of an
        answer that ended early, remains text."""
        texts: list[str] = []
        annotations: list[PartMetadata] = []
        size = 0
        is_whole = True
        async for event in events:
            if isinstance(event, Text):
                size += len(event.text)
                if size > DATA_BYTES_MAX:
                    raise AttemptFailed("unknown", f"A structured answer has at most {DATA_BYTES_MAX:,} bytes.")
                texts.append(event.text)
            elif isinstance(event, PartMetadata) and texts:
                annotations.append(event)
            else:
                if isinstance(event, ToolCallOpened | AnswerEnded):
                    is_whole = False
                    for piece in _text_with(texts, annotations):
                        yield piece
                    texts, annotations = [], []
                yield event
        if is_whole:
            yield Data(self.parse("".join(texts)), self.format.name)
            for annotation in annotations:
                yield annotation
        else:
            for piece in _text_with(texts, annotations):
                yield piece

    def parse(self, text: str) -> Any:
        """The value as plain JSON. Raises `AttemptFailed`, which may be retried, if the answer is no such value."""
        data = text.encode("utf-8", "replace")
        try:
            if has_too_many_values(data) or is_deeper(data, DEPTH_MAX):
                raise _failed("it is nested too deeply or has too many values")
            return msgspec.to_builtins(msgspec.json.decode(data, type=self._type))
        except (msgspec.DecodeError, RecursionError) as error:
            raise _failed(str(error)) from error


def _text_with(texts: list[str], annotations: list[PartMetadata]) -> list[Text | PartMetadata]:
    return [Text("".join(texts)), *annotations] if texts else []


def _failed(why: str) -> AttemptFailed:
    return AttemptFailed("unknown", f"The model's answer does not fit the output format: {why}.", retryable=True)


def _schema_of(output: Any) -> dict[str, Any]:
    (top,), definitions = msgspec.json.schema_components([output], ref_template="#/$defs/{name}")
    name = str(top.get("$ref", "")).rpartition("/")[2]
    schema = dict(definitions.pop(name) if name in definitions and not _refers_to(definitions, name) else top)
    return schema | ({"$defs": definitions} if definitions else {})


def _refers_to(definitions: dict[str, Any], name: str) -> bool:
    """Whether a definition refers to the one with this name, which must then keep its place."""
    return f'"#/$defs/{name}"'.encode() in msgspec.json.encode(definitions)


def _closed(schema: Any) -> Any:
    """The schema with every object closed to other properties, as providers demand it."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    return closed | {"additionalProperties": False} if "properties" in closed else closed


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: every object is closed and requires all its properties."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    is_object = isinstance(schema.get("properties"), dict)
    required = schema.get("required")
    if is_object and (
        schema.get("additionalProperties") is not False
        or not isinstance(required, list)
        or set(required) != set(schema["properties"])
    ):
        return False
    if schema.get("type") == "object" and not is_object:
        return False
    return all(map(_is_strict, schema.values()))
