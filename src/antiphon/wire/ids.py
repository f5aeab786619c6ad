"""Ids on the wire: a UUID is case-insensitive."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def canonical_id(text: str) -> str:
    """A UUID in lower case; any other id unchanged."""
    return text.lower() if len(text) == 36 and _UUID.fullmatch(text) else text
