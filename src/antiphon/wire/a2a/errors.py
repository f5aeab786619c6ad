"""Errors of A2A: the codes of its JSON-RPC binding, and this server's own errors in their shape.

The `data` of an error is a list of objects of Google's error model, as the specification demands: an `ErrorInfo` with
the reason and the error's fields as texts, and for a wrong parameter a `BadRequest` with its place.
"""

from __future__ import annotations

from typing import Any

from antiphon.wire.codec import encode
from antiphon.wire.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REFUSED,
    RpcRefused,
)

TASK_NOT_FOUND = -32001
TASK_NOT_CANCELABLE = -32002
PUSH_NOT_SUPPORTED = -32003
UNSUPPORTED_OPERATION = -32004
CONTENT_TYPE_NOT_SUPPORTED = -32005
VERSION_NOT_SUPPORTED = -32009

REASONS = {
    TASK_NOT_FOUND: "TASK_NOT_FOUND",
    TASK_NOT_CANCELABLE: "TASK_NOT_CANCELABLE",
    PUSH_NOT_SUPPORTED: "PUSH_NOTIFICATION_NOT_SUPPORTED",
    UNSUPPORTED_OPERATION: "UNSUPPORTED_OPERATION",
    CONTENT_TYPE_NOT_SUPPORTED: "CONTENT_TYPE_NOT_SUPPORTED",
    VERSION_NOT_SUPPORTED: "VERSION_NOT_SUPPORTED",
    METHOD_NOT_FOUND: "METHOD_NOT_FOUND",
    INVALID_PARAMS: "INVALID_PARAMS",
    INVALID_REQUEST: "INVALID_REQUEST",
    PARSE_ERROR: "INVALID_REQUEST",
    INTERNAL_ERROR: "INTERNAL_ERROR",
}
DOMAIN = "a2a-protocol.org"
OWN_DOMAIN = "antiphon"
_TYPE = "type.googleapis.com/google.rpc."

_IN_HANDLER = {
    "not_found": TASK_NOT_FOUND,
    "invalid": INVALID_PARAMS,
    "too_large": INVALID_PARAMS,
    "cursor_invalid": INVALID_PARAMS,
    "conflict": INVALID_PARAMS,
    "busy": UNSUPPORTED_OPERATION,
    "already_delivered": UNSUPPORTED_OPERATION,
    "not_allowed_now": UNSUPPORTED_OPERATION,
    "unauthenticated": REFUSED,
    "forbidden": REFUSED,
}
"""The codes of this server's own errors in a request that was read; of all others: INTERNAL_ERROR."""
_UNREAD = {400: INVALID_REQUEST, 401: REFUSED, 403: REFUSED, 404: METHOD_NOT_FOUND, 405: INVALID_REQUEST}
"""The codes for HTTP statuses of requests that were not read; of all others: INTERNAL_ERROR."""

_STATUS = {TASK_NOT_FOUND: 404, METHOD_NOT_FOUND: 404, INTERNAL_ERROR: 500}
"""HTTP statuses of the HTTP+JSON binding; of all others: 400."""
_PRECONDITIONS = (TASK_NOT_CANCELABLE, PUSH_NOT_SUPPORTED, UNSUPPORTED_OPERATION, VERSION_NOT_SUPPORTED)
_NAMES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
"""The names of HTTP statuses in Google's error model."""

Json = dict[str, Any]


def a2a_error(code: int, message: str, **metadata: Any) -> RpcRefused:
    """An error of the protocol."""
    status = _STATUS.get(code, 400)
    return RpcRefused(code, message, status=status, data=[_info(REASONS[code], DOMAIN, metadata)])


def wrong_content(field: str, reason: str) -> RpcRefused:
    """A part that this server does not accept."""
    return a2a_error(CONTENT_TYPE_NOT_SUPPORTED, f"{field}: {reason}", field=field)


def error_of(detail: Json, *, status: int, is_read: bool) -> RpcRefused:
    """The `error` of this server's own API, with its HTTP status, as an error of the protocol. `is_read`: the request
    was understood, and its method refused it."""
    code = _IN_HANDLER.get(str(detail.get("code")), INTERNAL_ERROR)
    if not is_read:
        code = _UNREAD.get(status, INTERNAL_ERROR if status >= 429 else INVALID_REQUEST)
        if status == 422 and not detail.get("field"):
            code = PARSE_ERROR
    fields = {name: value for name, value in detail.items() if name not in ("message", "reason")}
    own = str(detail.get("code", "")).upper()
    data = [_info(REASONS[code], DOMAIN, fields) if code in REASONS else _info(own, OWN_DOMAIN, fields)]
    if code == INVALID_PARAMS and detail.get("field"):
        violation = {"field": detail["field"], "description": detail.get("reason") or detail.get("message", "")}
        data.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if code not in (INTERNAL_ERROR, REFUSED):
        status = _STATUS.get(code, 400)
    return RpcRefused(code, str(detail.get("message", "")), status=status, data=data)


def status_json(error: RpcRefused, status: int) -> Json:
    """An error as `google.rpc.Status`, for the HTTP+JSON binding."""
    name = "FAILED_PRECONDITION" if error.rpc_code in _PRECONDITIONS else _NAMES.get(status, "INVALID_ARGUMENT")
    return {"error": {"code": status, "status": name, "message": str(error), "details": error.data or []}}


def _info(reason: str, domain: str, metadata: Json) -> Json:
    texts = {name: value if isinstance(value, str) else encode(value).decode() for name, value in metadata.items()}
    return {"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": domain} | ({"metadata": texts} if texts else {})
