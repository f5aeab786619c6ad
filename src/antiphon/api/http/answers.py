"""Responses: JSON with the headers that every response has, and errors in the format of the API."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from starlette.responses import Response

from antiphon import errors as e
from antiphon.local.descriptors import is_out_of_descriptors
from antiphon.tracebacks import traceback_of

log = structlog.get_logger(__name__)

STATUS: dict[str, int] = {
    "not_found": 404,
    "invalid": 422,
    "unauthenticated": 401,
    "forbidden": 403,
    "busy": 409,
    "conflict": 409,
    "already_delivered": 409,
    "not_allowed_now": 409,
    "stale_attempt": 409,
    "too_large": 413,
    "too_many": 429,
    "rate_limited": 429,
    "budget_exhausted": 429,
    "cursor_invalid": 422,
    "unavailable": 503,
    "internal": 500,
}

ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""Maximum size of a page of results, in bytes. The remaining items are on the next page."""

_encode = msgspec.json.Encoder().encode


class JsonAnswer(Response):
    """JSON, never cached."""

    media_type = "application/json"

    def __init__(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else _encode(content)
        super().__init__(body, status, {"cache-control": "no-store", "x-content-type-options": "nosniff"})
        for name, value in (headers or {}).items():
            self.headers[name] = value


def no_content() -> Response:
    return Response(status_code=204, headers={"cache-control": "no-store"})


def fitting(items: Iterable[Any], bytes_max: int = ANSWER_BYTES_MAX) -> list[msgspec.Raw]:
    """The first of `items` that fit into a response, encoded; at least one."""
    encoded: list[msgspec.Raw] = []
    size = 0
    for item in items:
        data = _encode(item)
        size += len(data) + 1
        if encoded and size > bytes_max:
            break
        encoded.append(msgspec.Raw(data))
    return encoded


def error_answer(error: Exception) -> JsonAnswer:
    """The response to a refused or failed request. Of an unexpected error it has only an id, which is in the log."""
    if isinstance(error, e.PeerError):
        error = e.Invalid("", str(error))
    if is_out_of_descriptors(error):
        log.error("descriptors_exhausted", error=str(error))
        error = e.Unavailable("the server has no file descriptors left")
    if not isinstance(error, e.Refused | e.Unavailable):
        return _internal(error)
    detail: dict[str, Any] = {"code": error.code, "message": str(error), **error.fields()}
    headers = {}
    retry_after_ms = detail.get("retry_after_ms")
    if retry_after_ms:
        headers["retry-after"] = str(max(1, -(-retry_after_ms // 1000)))
    if isinstance(error, e.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return JsonAnswer({"error": detail}, STATUS[error.code], headers)


def _internal(error: Exception) -> JsonAnswer:
    error_id = uuid.uuid4().hex
    log.error("request_failed", id=error_id, exception=traceback_of(error))
    message = "The server failed to handle the request; its log has the error under this id."
    return JsonAnswer({"error": {"code": "internal", "message": message, "id": error_id}}, 500)
