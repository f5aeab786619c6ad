"""Fields of JSON objects that clients of other protocols send. Each raises `Invalid` with the field's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.core.draft import replace_surrogates
from antiphon.errors import Invalid

Json = Mapping[str, Any]

NAME_MAX = 16 * 1024
"""Maximum length of a name or an id, in characters."""


def string_in(value: Json, key: str, place: str) -> str:
    """Any text."""
    found = value.get(key)
    if not isinstance(found, str):
        raise Invalid(f"{place}.{key}", "a string")
    return replace_surrogates(found)


def name_in(value: Json, key: str, place: str) -> str:
    """A name or an id."""
    found = string_in(value, key, place)
    if not 0 < len(found) <= NAME_MAX:
        raise Invalid(f"{place}.{key}", f"a string of 1 to {NAME_MAX} characters")
    return found
