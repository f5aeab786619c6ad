"""Errors as OpenAI's clients read them: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

_STATUS = {422: 400}
"""The protocol has no 422: a request that cannot be right is 400."""
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
_CODES = {
    "unauthenticated": "invalid_api_key",
    "budget_exhausted": "insufficient_quota",
    "rate_limited": "rate_limit_exceeded",
    "too_many": "rate_limit_exceeded",
    "busy": "conversation_locked",
    "internal": "server_error",
    "unavailable": "server_error",
}


def error_status(status: int) -> int:
    """The status for one of this server's own API."""
    return _STATUS.get(status, status)


def error_json(status: int, detail: dict[str, Any]) -> dict[str, Any]:
    """The body for a status and the `error` of this server's own API. Antiphon's own code and further fields, such as
    `retry_after_ms`, are under `antiphon`."""
    code = detail.get("code", "")
    more = {name: value for name, value in detail.items() if name not in ("message", "field", "reason")}
    shown = {
        "message": detail.get("message", ""),
        "type": _TYPES.get(status, "invalid_request_error"),
        "param": detail.get("field") or None,
        "code": "model_not_found" if detail.get("field") == "model" else _CODES.get(code, code or None),
    }
    return {"error": shown | {"antiphon": more}}
