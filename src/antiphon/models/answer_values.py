"""Reads values from a provider's JSON, in which every value may have an unexpected shape. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.core.draft import replace_surrogates


def decode_json(data: bytes) -> Any:
    """The decoded value. Damaged strings (lone surrogates, truncated UTF-8, raw control characters) are accepted.
    Raises ValueError for invalid JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_int=_parse_int, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode_json(value: Any) -> str:
    """A decoded value as JSON text; lone surrogates become U+FFFD."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return replace_surrogates(json.dumps(value, ensure_ascii=False))


def dicts_in(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list, or the one object in place of a list."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def string_in(value: Any) -> str:
    """A name or an id; empty for a value that is not a string."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else replace_surrogates(value)


def whole_number_in(value: Any, maximum: int) -> int | None:
    """A count or an index from 0 to `maximum`; None for any other value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum
    return value if is_number else None


def text_in(value: Any) -> str:
    """A text, or the texts in a list of pieces."""
    if isinstance(value, str):
        return value
    return "".join(piece["text"] for piece in dicts_in(value) if isinstance(piece.get("text"), str))


class SurrogateHalves:
    """Joins the two surrogate halves of a character that arrive in two pieces. `key` is the kind of the piece."""

    def __init__(self) -> None:
        self._pending: dict[Any, str] = {}

    def join(self, key: Any, text: str) -> str:
        """The text with the pending half before it, and without a half at its end, which becomes pending."""
        if not text or (not self._pending and text.isascii()):
            return text
        text = self._pending.pop(key, "") + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._pending[key] = text[-1]
            text = text[:-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return replace_surrogates(text)
        return text

    def pending_keys(self, but: Any) -> tuple[Any, ...]:
        return tuple(key for key in self._pending if key != but) if self._pending else ()

    def discard(self, key: Any) -> None:
        del self._pending[key]


def _parse_int(digits: str) -> int | None:
    """None for a very long number, which no field needs and Python refuses to read."""
    return int(digits) if len(digits) <= 20 else None
