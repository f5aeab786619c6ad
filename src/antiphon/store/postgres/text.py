"""Texts that PostgreSQL can store: NUL and lone surrogates are replaced by U+FFFD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def clean_text(text: str) -> str:
    return text if "\0" not in text and _is_unicode(text) else _NOT_STORABLE.sub("\ufffd", text)


def clean_values(values: Sequence[Any]) -> list[Any]:
    """The parameters of a statement, with every text in them cleaned."""
    return [_clean_value(value) for value in values]


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list | tuple):
        return [_clean_value(item) for item in value]
    return value


def _is_unicode(text: str) -> bool:
    """Whether it has no lone surrogates. Encoding a long text is much faster than searching it."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True
