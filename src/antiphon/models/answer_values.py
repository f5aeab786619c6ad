"""Reading values of any shape out of a provider's JSON: what has an unexpected shape counts as not said. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from antiphon.core.draft import replace_surrogates


def decode_json(data: bytes) -> Any:
    """The value, however its text is damaged within strings (lone surrogates, torn UTF-8, raw control characters).
    Raises ValueError for what is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_int=_parse_int, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode_json(value: Any) -> str:
    """A decoded value as JSON text again; lone surrogates become U+FFFD."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return replace_surrogates(json.dumps(value, ensure_ascii=False))


def dicts_in(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list, or the one that stands where a list should."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def string_in(value: Any) -> str:
    """A name or an id; empty for anything else."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else replace_surrogates(value)


def whole_number_in(value: Any, maximum: int) -> int | None:
    """A count or an index: whole, not negative, at most `maximum`; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum
    return value if is_number else None


def text_in(value: Any) -> str:
    """A text, or those in a list of pieces."""
    if isinstance(value, str):
        return value
    return "".join(piece["text"] for piece in dicts_in(value) if isinstance(piece.get("text"), str))


class SurrogateHalves:
    """Joins characters beyond U+FFFF whose two escaped halves arrive in two pieces; `key` names the kind of piece."""

    def __init__(self) -> None:
        self._held: dict[Any, str] = {}

    def join(self, key: Any, text: str) -> str:
        """The text with the half before it, and without a half at its end, which is held."""
        if not text or (not self._held and text.isascii()):
            return text
        text = self._held.pop(key, "") + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._held[key] = text[-1]
            text = text[:-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return replace_surrogates(text)
        return text

    def pending_keys(self, but: Any) -> tuple[Any, ...]:
        return tuple(key for key in self._held if key != but) if self._held else ()

    def discard(self, key: Any) -> None:
        del self._held[key]


def _parse_int(digits: str) -> int | None:
    """A number that no field needs may have any length; Python refuses to read the longest ones."""
    return int(digits) if len(digits) <= 20 else None
