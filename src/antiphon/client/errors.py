"""From what an HTTP answer says to the classes of `antiphon.errors`, with the server's own sentence."""

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
        e.CursorInvalid,
        e.Unavailable,
    )
}

# What each class promises to have, whatever the answer left out.
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
    e.CursorInvalid: {"cursor": ""},
    e.Unavailable: {"retry_after_ms": 1000},
}

_AWAY = frozenset({502, 503, 504})


class AnswerLost(e.Unavailable):
    """The connection broke, or nothing came in time, after the request was on its way: what became of it is not
    known."""

    def __init__(self, why: str = "the connection was lost before the answer came") -> None:
        super().__init__(why)


class MethodMissing(e.PeerError):
    """The instance has no such method: it is an older one, or knows the reference protocol only."""

    def __init__(self, method: str, words: str) -> None:
        super().__init__(f"The instance has no method {method} ({words}).")
        self.method = method


class ServerFailed(e.AntiphonError):
    """The server met an error of its own (`internal`). `id` is where its log tells more."""

    def __init__(self, sentence: str, id: str = "") -> None:  # noqa: A002 - the wire's own word
        super().__init__(sentence)
        self.id = id


def error_of(status: int, body: bytes) -> e.AntiphonError:
    """The error that an answer of HTTP status `status` (400 and above) means.

    What is no answer of Antiphon's (a proxy's page) is `Unavailable` for 502, 503 and 504, else `PeerError`.
    """
    detail = _detail(body)
    if detail is None:
        if status in _AWAY:
            return e.Unavailable(f"whatever answers there says {status}")
        return e.PeerError(f"The answer, {status}, is not one of an Antiphon server.")
    return error_of_detail(detail, status)


def error_of_detail(detail: dict[str, Any], status: int = 400) -> e.AntiphonError:
    """The error that an answer's {code, message, …fields} means."""
    detail = dict(detail)
    code, sentence = detail.pop("code"), detail.pop("message")
    kind = _BY_CODE.get(code)
    if kind is None:
        return _unknown(status, sentence, detail)
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


def _unknown(status: int, sentence: str, detail: dict[str, Any]) -> e.AntiphonError:
    """An error that this version does not know by name; its number still says whose move it is."""
    if status >= 500:
        return ServerFailed(sentence, str(detail.get("id", "")))
    return e.Refused(sentence)
