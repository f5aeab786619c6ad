"""How deep JSON may nest that is stored: 64 arrays and objects in any value (a tool's arguments or result, a part's
metadata, parameters). Every reader takes more than that with what lies around the value, so what was stored can be
shown, decoded and written again, by every client.

What people send beyond it is refused. What a model, an agent or a tool wrote is kept as the text of its JSON. Where
an earlier version stored deeper values, readers show what lies too deep as text.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from antiphon.core.parts import Unknown

DEPTH_MAX = 64
CONTENT_DEPTH_MAX = DEPTH_MAX + 2
"""Of a message's content: a value of this depth lies in a part, and that in a list."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|(?P<open>[\[{])|(?P<close>[\]}])', re.DOTALL)


def is_deeper(data: bytes, depth_max: int) -> bool:
    """Whether JSON (well-formed) has more arrays and objects inside each other than `depth_max`.

    Without a step of Python for each bracket: what is left after the strings are gone is emptied from the inside, one
    level of all brackets at a time.
    """
    if data.count(b"[") + data.count(b"{") <= depth_max:
        return False
    brackets = _STRING.sub(b"", data).translate(_BRACKETS, _OTHERS)
    for _ in range(depth_max):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def flatten(data: bytes, depth_max: int) -> bytes:
    """The JSON text with each array and object that lies deeper than `depth_max` as a string of its text."""
    if not is_deeper(data, depth_max):
        return data
    pieces: list[bytes] = []
    depth, written, cut_from = 0, 0, 0
    for token in _TOKEN.finditer(data):
        if token["open"]:
            depth += 1
            if depth == depth_max + 1:
                cut_from = token.start()
        elif token["close"]:
            if depth == depth_max + 1:
                pieces += data[written:cut_from], _as_string(data[cut_from : token.end()])
                written = token.end()
            depth -= 1
    return b"".join((*pieces, data[written:]))


def _as_string(data: bytes) -> bytes:
    return json.dumps(data.decode("utf-8", "replace"), ensure_ascii=False).encode("utf-8", "replace")


def is_too_deep(value: Any) -> bool:
    """Whether a value that would be stored is: the fields of a struct count from their own beginning."""
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
