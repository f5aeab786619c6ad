"""Where a page of a list ends, as an opaque text that the next request gives back."""

from __future__ import annotations

import base64

from antiphon.errors import Invalid


def next_after(at: int, name: str) -> str:
    """What the next request gives back, after the item of that time and name."""
    return base64.urlsafe_b64encode(f"{at}:{name}".encode()).decode().rstrip("=")


def read_next(text: str) -> tuple[int, str]:
    """Raises `Invalid` for what is none."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        at, _, name = decoded.partition(":")
        return int(at[:18]), name
    except ValueError as error:
        raise Invalid("after", "not a `next` of this list") from error
