"""Limits of JSON beyond its size in bytes: the nesting depth and the number of values.

Stored JSON nests at most 64 arrays and objects in any value (a tool's arguments or result, a part's metadata,
parameters). Every reader accepts a greater depth than that of the value and its surroundings, so every client can
show, decode and encode stored JSON. Deeper JSON from a client is refused. Deeper JSON from a model, an agent or a
tool is stored as text. Where an earlier version stored deeper values, readers show the deeper ones as text.

These checks run on the event loop over untrusted JSON. They execute no Python code per string or bracket: functions
written in C remove the escapes, the strings and all other bytes.
"""

from __future__ import annotations

import json
import re
from array import array
from itertools import accumulate
from typing import Any

import msgspec

from antiphon.core.parts import Unknown

DEPTH_MAX = 64
"""Maximum depth of one stored value, in nested arrays and objects."""
CONTENT_DEPTH_MAX = DEPTH_MAX + 2
"""Maximum depth of a message's content: the value is inside a part, and the part inside a list."""

VALUES_MAX = 50_000
"""Maximum number of JSON values in a text larger than VALUES_UNCHECKED_BYTES_MAX. Decoded values need many times the
memory of their text."""
VALUES_UNCHECKED_BYTES_MAX = 256 * 1024
"""Size up to which the values of a JSON text are not counted, in bytes."""

_BRACKETS = b"[]{}"
_STARTS = b",[{"
_KEPT = {kept: bytes(set(range(256)) - set(kept + b'"')) for kept in (_BRACKETS, _STARTS)}
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Each bracket as the signed byte by which it changes the depth."""
_BRACKET = re.compile(rb'(?P<bracket>[\[{\]}])|(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")++', re.DOTALL)
"""A bracket, or all bytes between two brackets."""


def is_deeper(data: bytes, depth_max: int) -> bool:
    """Whether well-formed JSON nests arrays and objects deeper than `depth_max`."""
    if data.count(b"[") + data.count(b"{") <= depth_max:
        return False
    brackets = b"".join(_reduced(data, _BRACKETS).split(b'"')[::2])
    steps = array("b", brackets.translate(_STEPS))
    return any(map(depth_max.__lt__, accumulate(steps)))


def has_too_many_values(data: bytes) -> bool:
    """Whether JSON has more than VALUES_MAX values and is larger than VALUES_UNCHECKED_BYTES_MAX. The result for
    malformed JSON is approximate."""
    if len(data) <= VALUES_UNCHECKED_BYTES_MAX or sum(data.count(start) for start in (b",", b"[", b"{")) < VALUES_MAX:
        return False
    reduced = _reduced(data, _STARTS)
    if reduced.count(b'"') > 4 * VALUES_MAX:  # two quotes for each string, at most two strings for each value
        return True
    return sum(map(len, reduced.split(b'"')[::2])) >= VALUES_MAX


def _reduced(data: bytes, kept: bytes) -> bytes:
    """The quotes of JSON and the bytes of `kept`, without escapes.

    Adjacent quotes are removed, even those of two different strings. This keeps the parity: an even number of quotes
    precedes each byte outside of strings, an odd number each byte inside one. Most strings vanish entirely.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return data.translate(None, _KEPT[kept]).replace(b'""', b"")


def flatten(data: bytes, depth_max: int) -> bytes:
    """The JSON text with each array and object deeper than `depth_max` replaced by a string of its text."""
    if not is_deeper(data, depth_max):
        return data
    pieces: list[bytes] = []
    depth, written, cut_from = 0, 0, 0
    for match in _BRACKET.finditer(data):
        bracket = match["bracket"]
        if bracket is None:
            continue
        if bracket in b"[{":
            depth += 1
            if depth == depth_max + 1:
                cut_from = match.end() - 1
        else:
            if depth == depth_max + 1:
                pieces += data[written:cut_from], _as_string(data[cut_from : match.end()])
                written = match.end()
            depth -= 1
    return b"".join((*pieces, data[written:]))


def _as_string(data: bytes) -> bytes:
    return json.dumps(data.decode("utf-8", "replace"), ensure_ascii=False).encode("utf-8", "replace")


def is_too_deep(value: Any) -> bool:
    """Whether any value to be stored nests deeper than DEPTH_MAX. Depth starts at 0 for each field of a struct."""
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, Unknown):
            waiting += ((below, 0) for below in item.raw.values())
        elif isinstance(item, msgspec.Struct):
            waiting += ((getattr(item, name), 0) for name in item.__struct_fields__)
        elif isinstance(item, dict | list | tuple):
            if depth == DEPTH_MAX:
                return True
            below = item.values() if isinstance(item, dict) else item
            waiting += ((each, depth + 1) for each in below)
    return False
