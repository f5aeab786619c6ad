"""A provider's failures as `AttemptFailed`: kinds by status, code and type; never its own words.

A provider's message may repeat the prompt or a piece of the key, so a sentence holds only the status and,
where it looks like one, the error's code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from antiphon.errors import AttemptFailed

SENTENCES = {
    "rate_limit": "allows no more requests for now",
    "overloaded": "is overloaded",
    "timeout": "did not answer in time",
    "network": "could not be reached, or the connection was lost",
    "auth": "refused the key",
    "invalid_request": "refused the request",
    "context_length": "says the chat is too long for the model",
    "content_filter": "refused the content",
    "server": "failed",
    "unknown": "failed for an unknown reason",
}

_KIND_OF_STATUS = {
    400: "invalid_request",
    401: "auth",
    402: "rate_limit",
    403: "auth",
    408: "timeout",
    409: "server",
    413: "context_length",
    425: "server",
    429: "rate_limit",
    504: "server",
    529: "overloaded",
}

_KIND_OF_CODE = {
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "moderation_blocked": "content_filter",
    "invalid_api_key": "auth",
    "authentication_error": "auth",
    "permission_error": "auth",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "invalid_request_error": "invalid_request",
    "timeout": "timeout",
    "server_error": "server",
    "api_error": "server",
}

_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})

_CONTEXT_WORDS = re.compile(r"context (length|window|size)|maximum context|prompt is too long|too many tokens", re.I)
_FILTER_WORDS = re.compile(r"content (filter|management|policy)|responsible ai|moderation", re.I)

# Letters and underscores only: a key has digits.
_CODE = re.compile(r"[a-z][a-z_]{0,63}")


def make_failure(
    kind: str,
    *,
    provider: str,
    detail: str = "",
    status_code: int | None = None,
    retryable: bool | None = None,
    retry_after_s: float | None = None,
) -> AttemptFailed:
    """The failure with its sentence. `detail` must be ours, or a code that looks like one."""
    told = ", ".join(part for part in (f"status {status_code}" if status_code else "", detail) if part)
    sentence = f"{provider} {SENTENCES[kind]}{f' ({told})' if told else ''}."
    return AttemptFailed(
        kind, sentence, provider=provider, status_code=status_code, retryable=retryable, retry_after_s=retry_after_s
    )


def failure_of_status(
    provider: str, status_code: int, error: Any, headers: Mapping[str, str], *, now_s: float
) -> AttemptFailed:
    """What an HTTP error means. `error` is the body's error object, or whatever the body was."""
    codes, message = _read_error(error)
    kind = _KIND_OF_STATUS.get(status_code) or ("server" if status_code >= 500 else "invalid_request")
    if status_code in (400, 403, 413, 422):
        kind = _kind_of_words(codes, message) or kind
    elif "overloaded" in codes or "overloaded_error" in codes:
        kind = "overloaded"
    return make_failure(
        kind,
        provider=provider,
        detail=_code_to_tell(codes),
        status_code=status_code,
        retryable=False if status_code == 402 or _NO_MONEY & codes.keys() else None,
        retry_after_s=parse_retry_after(headers, now_s=now_s),
    )


def failure_in_stream(provider: str, error: Any) -> AttemptFailed:
    """What an error object in the middle of an answer means; without a word we know it is the server's."""
    codes, message = _read_error(error)
    status_code = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), None)
    if status_code is not None:
        return failure_of_status(provider, status_code, error, {}, now_s=0.0)
    known = next((_KIND_OF_CODE[code] for code in codes if code in _KIND_OF_CODE), None)
    no_money = bool(_NO_MONEY & codes.keys())
    kind = "rate_limit" if no_money else _kind_of_words(codes, message) or known or "server"
    return make_failure(kind, provider=provider, detail=_code_to_tell(codes), retryable=False if no_money else None)


def parse_retry_after(headers: Mapping[str, str], *, now_s: float) -> float | None:
    """Seconds to wait, by `retry-after-ms` or `retry-after` (seconds or an HTTP date); None if not said.

    `headers` is asked in lower case.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    date = parsedate_tz(headers.get("retry-after", ""))
    try:
        return None if date is None else max(mktime_tz(date) - now_s, 0.0)
    except (ValueError, OverflowError):
        return None


def _read_error(error: Any) -> tuple[dict[str, None], str]:
    """The codes an error object names (an ordered set, the most exact first) and its message."""
    if not isinstance(error, Mapping):
        return {}, str(error or "")
    inner = error.get("error")
    if isinstance(inner, Mapping):
        return _read_error(inner)
    codes = [error.get("code"), error.get("type"), error.get("status")]
    message = error.get("message") or inner or error.get("detail") or ""
    return {str(code): None for code in codes if isinstance(code, str | int)}, str(message)


def _kind_of_words(codes: Mapping[str, None], message: str) -> str | None:
    """context_length or content_filter, by the code or else by the message."""
    for code in codes:
        if _KIND_OF_CODE.get(code) in ("context_length", "content_filter"):
            return _KIND_OF_CODE[code]
    if _CONTEXT_WORDS.search(message):
        return "context_length"
    return "content_filter" if _FILTER_WORDS.search(message) else None


def _code_to_tell(codes: Mapping[str, None]) -> str:
    return next((code for code in codes if _CODE.fullmatch(code)), "")
