"""How a JSON text goes on, of which the beginning was sent.

A model's text of arguments is streamed as the model writes it, with its white space and escapes; what is stored is
the value. A client that has a beginning of the text and missed the rest gets a rest that makes the same value of it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from antiphon.wire.codec import encode

_UNIT = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[\"\\/bfnrt]|[^\\]", re.DOTALL
)
"""A character of a JSON string as it may be written."""


def rest_of_json(beginning: str, value: Any) -> str | None:
    """What makes `value` of a text that begins so; None if there is no such rest."""
    whole = encode(value).decode()
    rest = _rest(beginning, whole)
    if rest is not None:
        return rest
    try:
        is_same = encode(json.loads(beginning)).decode() == whole
    except (ValueError, RecursionError):
        return None
    return "" if is_same else None


def _rest(beginning: str, whole: str) -> str | None:
    at, place, is_string = 0, 0, False
    while at < len(beginning):
        if not is_string:
            if beginning[at] in " \t\r\n":
                at += 1
                continue
            if place >= len(whole) or beginning[at] != whole[place]:
                return None
            is_string = beginning[at] == '"'
            at, place = at + 1, place + 1
            continue
        given, wanted = _UNIT.match(beginning, at), _UNIT.match(whole, place)
        if given is None or wanted is None:
            return None
        if given[0] == '"' or wanted[0] == '"':
            if given[0] != wanted[0]:
                return None
            is_string = False
        elif given[0] != wanted[0] and _character(given[0]) != _character(wanted[0]):
            return None
        at, place = given.end(), wanted.end()
    return whole[place:]


def _character(unit: str) -> str:
    return str(json.loads(f'"{unit}"', strict=False))
