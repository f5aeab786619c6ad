"""From HTTP error responses to the classes of `antiphon.errors`, with the server's sentence."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon import errors as e

_BY_CODE: dict[str, type[e.AntiphonError]] = {
    kind.code: kind
    for kind in (
        e.NotFound,
        e.Invalid,
        e.Unauthenticated,
        e.Forbidden,
        e.Busy,
        e.Conflict,
        e.AlreadyDelivered,
        e.NotAllowedNow,
        e.StaleAttempt,
        e.TooLarge,
        e.TooMany,
        e.RateLimited,
        e.BudgetExhausted,
        e.CursorInvalid,
        e.Unavailable,
    )
}

# The fields that each class guarantees, with their values when the response omits them.
_FIELDS: dict[type[e.AntiphonError], dict[str, Any]] = {
    e.NotFound: {"what": ""},
    e.Invalid: {"field": "", "reason": ""},
    e.Busy: {"status": ""},
    e.Conflict: {"what": ""},
    e.AlreadyDelivered: {"queued_id": 0},
    e.NotAllowedNow: {"status": ""},
    e.StaleAttempt: {"attempt": 0},
    e.TooLarge: {"limit": 0},
    e.TooMany: {"limit": 0, "retry_after_ms": None},
    e.RateLimited: {"limit_name": "", "limit": 0, "used": 0, "retry_after_ms": 1000},
    e.BudgetExhausted: {"limit_name": "", "limit": 0, "used": 0, "resets_at": "", "retry_after_ms": 1000},
    e.CursorInvalid: {"cursor": ""},
    e.Unavailable: {"retry_after_ms": 1000},
}

_UNAVAILABLE_STATUSES = frozenset({502, 503, 504})


class NoUpstream(e.Unavailable):
    """A proxy has answered in place of an instance, because it reached none. The request was not handled."""


class AnswerLost(e.Unavailable):
    """The connection was lost, or the response timed out, after the request was sent: its outcome is unknown."""

    def __init__(self, why: str = "the connection was lost before the answer came") -> None:
        super().__init__(why)


class MethodMissing(e.PeerError):
    """The instance does not have the method: it is older, or implements only the reference protocol."""

    def __init__(self, method: str, message: str) -> None:
        super().__init__(f"The instance has no method {method} ({message}).")
        self.method = method


class ServerFailed(e.AntiphonError):
    """The server failed (`internal`). `id` identifies the error in the server's log."""

    def __init__(self, sentence: str, id: str = "") -> None:  # noqa: A002 - the wire's own word
        super().__init__(sentence)
        self.id = id


def error_of(status: int, body: bytes) -> e.AntiphonError:
    """The error for a response with HTTP status `status` (400 and above).

    A response that is not Antiphon's (a proxy's, say) gives `Unavailable` for 502, 503 and 504, else `PeerError`.
    """
    detail = _detail(body)
    if detail is None:
        if status in _UNAVAILABLE_STATUSES:
            return NoUpstream(f"the server at that address answered {status}")
        return e.PeerError(f"The response ({status}) does not come from an Antiphon server.")
    return error_of_detail(detail, status)


def error_of_detail(detail: dict[str, Any], status: int = 400) -> e.AntiphonError:
    """The error for a response's {code, message, …fields}."""
    detail = dict(detail)
    code, sentence = detail.pop("code"), detail.pop("message")
    kind = _BY_CODE.get(code)
    if kind is None:
        return _unknown_error(status, sentence, detail)
    error = kind.__new__(kind, sentence)
    for name, value in (_FIELDS.get(kind, {}) | detail).items():
        setattr(error, name, value)
    return error


def _detail(body: bytes) -> dict[str, Any] | None:
    try:
        error = msgspec.json.decode(body)["error"]
        known = isinstance(error["code"], str) and isinstance(error["message"], str)
    except (msgspec.DecodeError, UnicodeError, KeyError, TypeError, RecursionError):
        return None
    return dict(error) if known else None


def _unknown_error(status: int, sentence: str, detail: dict[str, Any]) -> e.AntiphonError:
    """An error whose code this version does not know: by the status, the server failed or refused the request."""
    if status >= 500:
        return ServerFailed(sentence, str(detail.get("id", "")))
    return e.Refused(sentence)
