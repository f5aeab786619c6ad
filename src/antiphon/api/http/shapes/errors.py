"""The body of an error response."""

from __future__ import annotations

from antiphon.core.values import Value


class ErrorDetail(Value):
    code: str
    message: str
    field: str = ""
    reason: str = ""
    status: str = ""
    limit: int = 0
    retry_after_ms: int = 0
    is_uncertain: bool = False
    id: str = ""


class ErrorAnswer(Value):
    error: ErrorDetail
