"""Stored files that the result of a tool names: values like `{"type": "file-reference", "file_id": …}` anywhere in
its JSON. The message of a result has a part for each of them beside the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from antiphon.core.parts import FileReference

WALK_MAX = 20_000
"""Maximum number of values in a result that are searched for files."""


def references_in(result: Any) -> Iterator[dict[str, Any]]:
    """The first value for each file that a result names, in order."""
    seen: set[str] = set()
    left, count = [result], 0
    while left and count < WALK_MAX:
        value = left.pop()
        count += 1
        if _is_reference(value):
            if value["file_id"] and value["file_id"] not in seen:
                seen.add(value["file_id"])
                yield value
        elif isinstance(value, dict | list | tuple):
            left.extend(reversed(list(value.values() if isinstance(value, dict) else value)))


def with_shown_references(value: Any, parts: Mapping[str, FileReference]) -> Any:
    """The result with the few fields of each file that a model can use. `parts` has the files by the id in the
    result."""
    if _is_reference(value):
        part = parts.get(value["file_id"])
        others = {key: item for key, item in value.items() if key not in FileReference.__struct_fields__}
        return value if part is None else others | shown_reference(part)
    if isinstance(value, dict):
        return {key: with_shown_references(item, parts) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_shown_references(item, parts) for item in value]
    return value


def shown_reference(part: FileReference) -> dict[str, Any]:
    """A stored file as it is shown inside a tool's result."""
    shown = {"type": "file-reference", "file_id": part.file_id, "file_name": part.file_name}
    return shown | {"media_type": part.media_type, "size": part.size}


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "file-reference" and isinstance(value.get("file_id"), str)
