"""JSON Patch (RFC 6902): the operations that make one JSON value of another."""

from __future__ import annotations

from typing import Any

Patch = list[dict[str, Any]]


class _TooMany(Exception):
    """More operations than are wanted."""


def json_patch(old: Any, new: Any, *, operations_max: int) -> Patch | None:
    """The operations by which `old` becomes `new`; None if there are more than `operations_max`. Lists are compared
    place by place: an element in the middle that goes moves those behind it."""
    patch: Patch = []
    try:
        _compare(old, new, "", patch, operations_max)
    except _TooMany:
        return None
    return patch


def _compare(old: Any, new: Any, path: str, patch: Patch, most: int) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - new.keys():
            _add(patch, most, op="remove", path=_below(path, key))
        for key, value in new.items():
            if key in old:
                _compare(old[key], value, _below(path, key), patch, most)
            else:
                _add(patch, most, op="add", path=_below(path, key), value=value)
    elif isinstance(old, list) and isinstance(new, list):
        for number, (before, after) in enumerate(zip(old, new, strict=False)):
            _compare(before, after, f"{path}/{number}", patch, most)
        for number in range(len(old) - 1, len(new) - 1, -1):
            _add(patch, most, op="remove", path=f"{path}/{number}")
        for value in new[len(old) :]:
            _add(patch, most, op="add", path=f"{path}/-", value=value)
    elif type(old) is not type(new) or old != new:  # True == 1, but not in JSON
        _add(patch, most, op="replace", path=path, value=new)


def _below(path: str, key: str) -> str:
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def _add(patch: Patch, most: int, **operation: Any) -> None:
    if len(patch) >= most:
        raise _TooMany
    patch.append(operation)
