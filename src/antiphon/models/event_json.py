"""Decodes the JSON of an event of an answer, or fails the call. Pure."""

from __future__ import annotations

from typing import Any

from antiphon.core.depth import VALUES_MAX, has_too_many_values
from antiphon.models.answer_values import decode_json
from antiphon.models.failures import Failures

SHOWN_BYTES = 8 * 1024
"""Maximum bytes of an event that are examined for the text of a failure."""


def decode_event(data: bytes, failures: Failures, *, may_be_cut: bool) -> Any:
    """The JSON of an event. None for data that is not JSON and can be skipped: a word that keeps the connection
    alive, and where it `may_be_cut` (the last event of a body, or one after a finished answer) any other."""
    if has_too_many_values(data):
        detail = f"an event of its answer has more than {VALUES_MAX:,} values"
        raise failures.make("server", detail, retryable=False)
    try:
        return decode_json(data)
    except ValueError:
        pass
    if may_be_cut or data[:1] not in (b"{", b"["):
        return None
    words = data[:SHOWN_BYTES].decode("utf-8", "replace")
    raise failures.make("server", "its answer is not understood", words=words, retryable=False)
