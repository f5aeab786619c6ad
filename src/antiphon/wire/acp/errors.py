"""Errors in the protocol's shape: JSON-RPC codes, some of which the protocol defines."""

from __future__ import annotations

from antiphon.errors import AntiphonError, Forbidden, NotFound, Refused, Unauthenticated
from antiphon.wire.jsonrpc import INVALID_PARAMS, Refusal

INTERNAL_ERROR = -32603
AUTHENTICATION_REQUIRED = -32000
NOT_FOUND = -32002
CANCELLED = -32800
"""A request that its sender has cancelled with `$/cancel_request`."""


def refusal_of(error: AntiphonError) -> Refusal:
    """An Antiphon error; `data` has the details {code, …} as in the errors of the HTTP API."""
    if isinstance(error, Unauthenticated | Forbidden):
        code = AUTHENTICATION_REQUIRED
    elif isinstance(error, NotFound):
        code = NOT_FOUND
    else:
        code = INVALID_PARAMS if isinstance(error, Refused) else INTERNAL_ERROR
    return Refusal(code=code, message=str(error), data={"code": error.code, **error.fields()})
