"""Errors of MCP: the codes of JSON-RPC and of the specification, and this server's own errors in their shape."""

from __future__ import annotations

from typing import Any

from antiphon.wire.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcRefused,
)

RESOURCE_NOT_FOUND = -32002
"""A resource that does not exist, in revisions before 2026-07-28. Later ones use INVALID_PARAMS."""
HEADER_MISMATCH = -32020
"""A header does not say what the body says."""
UNSUPPORTED_VERSION = -32022
"""The revision of the request is not supported; `data` lists those that are."""
TOO_LARGE = 413
"""The response would be too large."""

_CODES = {400: INVALID_REQUEST, 404: METHOD_NOT_FOUND, 405: METHOD_NOT_FOUND, 500: INTERNAL_ERROR}
"""The code for an HTTP status. Any other status is its own code: the specification leaves codes outside of -32768 to
-32000 to applications."""


def bad_params(message: str) -> RpcRefused:
    """The parameters of a method are not those that it has."""
    return RpcRefused(INVALID_PARAMS, f"invalid params: {message}")


def error_of(status: int, detail: dict[str, Any]) -> dict[str, Any]:
    """The `error` of JSON-RPC for a status and the `error` of this server's own API, whose fields are its `data`."""
    code = _CODES.get(status, status)
    if status == 422:  # a body that is no JSON, or a query
        code = INVALID_REQUEST if detail.get("field") else PARSE_ERROR
    data = {name: value for name, value in detail.items() if name != "message"}
    return {"code": code, "message": str(detail.get("message", "")), "data": data}


def error_status(status: int) -> int:
    """The HTTP status for one of this server's own API: HTTP of MCP has no 422."""
    return 400 if status == 422 else status
