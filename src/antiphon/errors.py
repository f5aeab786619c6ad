"""Every error that Antiphon raises on purpose, sorted by who can act on it.

    AntiphonError
    ├── Refused            the caller must change the request; nothing changed
    │   ├── NotFound  Invalid  Unauthenticated  Forbidden
    │   ├── Busy  Conflict  AlreadyDelivered  NotAllowedNow  StaleAttempt
    │   ├── TooLarge  TooMany  CursorInvalid
    │   └── RateLimited  BudgetExhausted
    ├── Unavailable        the server cannot serve it now; the same request later may work
    │   └── InstanceMissing   (no instance answers at that address)
    ├── PeerError          the peer violated the protocol
    ├── AttemptFailed      a model or a tool failed: an expected outcome of an attempt
    └── WatchEnded         the server closed a stream, with a reason

A broken invariant is an AssertionError. Each error has a stable `code` (docs/http.md lists them), carries its
fields and formats its own sentence. HTTP status numbers belong to the HTTP API.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AntiphonError(Exception):
    """The root of the tree. `code` is stable; `fields()` are sent to a client beside the sentence."""

    code: ClassVar[str] = "internal"

    def fields(self) -> dict[str, Any]:
        """The error's own fields, JSON-able, without those that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Refused(AntiphonError):
    """The request is not possible as it is; nothing changed."""

    code = "invalid"


class NotFound(Refused):
    code = "not_found"

    def __init__(self, what: str = "chat") -> None:
        super().__init__(f"There is no such {what.replace('_', ' ')}.")
        self.what = what


class Invalid(Refused):
    code = "invalid"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class Unauthenticated(Refused):
    code = "unauthenticated"

    def __init__(self, reason: str = "a valid bearer token is needed") -> None:
        super().__init__(f"Not signed in: {reason}.")


class Forbidden(Refused):
    code = "forbidden"

    def __init__(self, reason: str = "this needs the admin's token") -> None:
        super().__init__(f"Not allowed: {reason}.")


class Busy(Refused):
    code = "busy"

    def __init__(self, status: str = "running") -> None:
        super().__init__(f"The chat is busy ({status}); wait for the turn to end, or send with when_busy=queue.")
        self.status = status


class Conflict(Refused):
    code = "conflict"

    def __init__(self, what: str = "client_message_id") -> None:
        super().__init__(f"This {what} was already used with another body.")
        self.what = what


class AlreadyDelivered(Refused):
    code = "already_delivered"

    def __init__(self, queued_id: int) -> None:
        super().__init__("The message has left the queue and is part of the history; edit or interrupt it there.")
        self.queued_id = queued_id


class NotAllowedNow(Refused):
    code = "not_allowed_now"

    def __init__(self, status: str, why: str = "") -> None:
        super().__init__(f"Not possible while the chat is {status}{': ' + why if why else ''}.")
        self.status = status


class StaleAttempt(Refused):
    code = "stale_attempt"

    def __init__(self, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} does not hold this chat any more, or its draft is closed.")
        self.attempt = attempt


class TooLarge(Refused):
    code = "too_large"

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"The {what} is too large: at most {limit} are allowed.")
        self.limit = limit


class TooMany(Refused):
    code = "too_many"

    def __init__(self, what: str, limit: int, retry_after_ms: int | None = None) -> None:
        super().__init__(f"Too many {what}: at most {limit} are allowed.")
        self.limit = limit
        self.retry_after_ms = retry_after_ms


class RateLimited(Refused):
    """The owner has sent too much in this minute. `limit_name` is the limit, `limit` its value, `used` how much of it
    is used."""

    code = "rate_limited"

    def __init__(self, limit_name: str, limit: int, used: int, retry_after_ms: int) -> None:
        what = limit_name.partition("_")[0]
        super().__init__(
            f"Too many {what}: {used:,} of {limit:,} {what} per minute are used; "
            f"the next minute begins in {-(-retry_after_ms // 1000)} s."
        )
        self.limit_name = limit_name
        self.limit = limit
        self.used = used
        self.retry_after_ms = retry_after_ms


class BudgetExhausted(Refused):
    """The owner has used the budget of this day. `limit_name` is the budget, `limit` its value, `used` how much of it
    is used (tokens, or millionths of the currency's unit), `resets_at` when the next day begins (RFC 3339)."""

    code = "budget_exhausted"

    def __init__(
        self, limit_name: str, limit: int, used: int, *, what: str, resets_at: str, retry_after_ms: int
    ) -> None:
        super().__init__(f"The budget of this day is used up: {what}. It resets at {resets_at}.")
        self.limit_name = limit_name
        self.limit = limit
        self.used = used
        self.resets_at = resets_at
        self.retry_after_ms = retry_after_ms


class CursorInvalid(Refused):
    code = "cursor_invalid"

    def __init__(self, cursor: str) -> None:
        super().__init__(
            "The cursor is not one of this chat's: use `seq` or `seq.position` as given by the stream, or none."
        )
        self.cursor = cursor[:64]


class Unavailable(AntiphonError):
    """The server cannot do this now; the same request later may work."""

    code = "unavailable"

    def __init__(
        self, why: str = "the server is busy or stopping", retry_after_ms: int = 1000, *, is_uncertain: bool = False
    ) -> None:
        """`is_uncertain`: the request may have taken effect. It may be repeated with the same client id."""
        super().__init__(f"{_NOT_NOW}{why}.")
        self.retry_after_ms = retry_after_ms
        self.is_uncertain = is_uncertain or None


_NOT_NOW = "Not available right now: "


def one_line(text: str, characters_max: int) -> str:
    """The printable characters of an untrusted text on one line, cut to `characters_max` with an ellipsis."""
    line = "".join(char for char in " ".join(text[: 8 * characters_max].split()) if char.isprintable())
    return line if len(line) <= characters_max else line[: characters_max - 1] + "…"


def reason_of(error: BaseException) -> str:
    """The reason in an `Unavailable` error, without the sentence around it."""
    return str(error).removeprefix(_NOT_NOW).removesuffix(".")


class InstanceMissing(Unavailable):
    """No instance answers at that address (exit code 3 of the command line)."""


class PeerError(AntiphonError):
    """The peer sent something that the protocol does not allow."""

    code = "peer_error"


class AttemptFailed(AntiphonError):
    """A model call or an agent failed.

    Args:
        kind: what failed, normally one of ERROR_KINDS.
        message: a sentence for people; default: the kind.
        retryable: whether the same call may succeed later; default: by the kind (RETRYABLE_KINDS).
        provider: the name of the provider that answered.
        status_code: the HTTP status of its answer.
        retry_after_s: the delay that the provider asked for (Retry-After), in seconds.
    """

    code = "attempt_failed"

    def __init__(
        self,
        kind: str,
        message: str = "",
        *,
        retryable: bool | None = None,
        provider: str | None = None,
        status_code: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        for text in (kind, message, provider or ""):
            if not isinstance(text, str):
                raise TypeError(f"a failure's kind, message and provider are strings, not {text!r}")
        if not isinstance(retryable, bool | None) or not isinstance(status_code, int | None):
            raise TypeError("retryable is true or false, and status_code a whole number")
        super().__init__(message or kind.replace("_", " "))
        self.kind = kind
        self.retryable = kind in RETRYABLE_KINDS if retryable is None else retryable
        self.provider = provider
        self.status_code = status_code
        self.retry_after_s = retry_after_s


RETRYABLE_KINDS = frozenset({"rate_limit", "overloaded", "timeout", "network", "server"})
ERROR_KINDS = RETRYABLE_KINDS | {"auth", "invalid_request", "context_length", "content_filter", "unknown"}


class WatchEnded(AntiphonError):
    """The server closed the stream: idle, slow, shutdown, revoked or deleted."""

    code = "watch_ended"

    def __init__(self, reason: str, retry_ms: int | None = None) -> None:
        super().__init__(f"The stream was closed by the server: {reason}.")
        self.reason = reason
        self.retry_ms = retry_ms
