"""The header by which a client repeats a request of another protocol without effect."""

from __future__ import annotations

from antiphon.api.http.table import Call
from antiphon.errors import Invalid

IDEMPOTENCY_KEY = "idempotency-key"
KEY_MAX = 1_024
"""Maximum length of an idempotency key, in characters."""


def key_of(call: Call) -> str:
    """The idempotency key of a request; empty if it has none. Raises `Invalid` for one that is too long."""
    key: str = call.request.headers.get(IDEMPOTENCY_KEY, "")
    if len(key) > KEY_MAX:
        raise Invalid("Idempotency-Key", f"at most {KEY_MAX} characters")
    return key
