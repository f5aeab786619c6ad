"""A violated invariant, as the checker reports it."""

from __future__ import annotations

from antiphon.core.values import Value


class Violation(Value):
    """A violated invariant."""

    invariant: str
    chat_id: str
    what: str
