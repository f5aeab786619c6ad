"""Parameters of methods as values."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from antiphon.api.http.decoding import invalid
from antiphon.errors import Invalid
from antiphon.wire.a2a.requests import fields_of

T = TypeVar("T")


def params_of(given: Any, kind: type[T], place: str = "") -> T:
    """Raises `Invalid` with the place of what is wrong."""
    if not isinstance(given, dict):
        raise Invalid(place or "params", "an object")
    try:
        return msgspec.convert(fields_of(given), kind, strict=False)
    except msgspec.ValidationError as error:
        found = invalid(error)
        raise Invalid(".".join(filter(None, (place, found.field))), found.reason) from error
