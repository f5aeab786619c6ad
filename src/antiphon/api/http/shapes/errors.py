"""The body of an error response."""

from __future__ import annotations

from typing import Any, Literal

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


class RpcErrorDetail(Value, gc=True):
    """The error of JSON-RPC. `data` has the code and the fields of this server's own errors."""

    code: int
    message: str
    data: Any = None


class RpcErrorAnswer(Value, gc=True):
    """An error response of JSON-RPC. `id` is null if the request could not be read."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    error: RpcErrorDetail


class StatusErrorDetail(Value, gc=True):
    """Google's error model: the HTTP status, its name, and details of which each has an `@type`."""

    code: int
    status: str
    message: str
    details: list[dict[str, Any]] = []


class StatusErrorAnswer(Value, gc=True):
    error: StatusErrorDetail
