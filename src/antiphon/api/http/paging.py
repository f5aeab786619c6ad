"""The cursor of a page of results, as an opaque text that the next request sends back."""

from __future__ import annotations

import base64

from antiphon.errors import Invalid


def next_after(at: int, name: str) -> str:
    """The cursor after the item with this time and name."""
    return base64.urlsafe_b64encode(f"{at}:{name}".encode()).decode().rstrip("=")


def read_next(text: str, field: str = "after") -> tuple[int, str]:
    """The time and name in a cursor. Raises `Invalid` with the field for any other text."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        at, _, name = decoded.partition(":")
        return int(at[:18]), name
    except ValueError as error:
        raise Invalid(field, "not a `next` of this list") from error
