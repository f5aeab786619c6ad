"""Translates a provider's failures to `AttemptFailed`: the kind by status, code and type, with the provider's
message.

A provider's message may contain the prompt or a part of the key, and the text of a failure reaches streams, inboxes
and other programs. So the message is truncated to one short line, and everything in it that looks like a key, is the
key or occurs in the chat is replaced by "…".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
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
    501: "invalid_request",
    504: "server",
    505: "invalid_request",
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

_QUOTA_EXHAUSTED = frozenset(
    {
        "insufficient_quota",
        "exceeded_current_quota_error",
        "insufficient_balance",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)

_CONTEXT_WORDS = re.compile(r"context (length|window|size)|maximum context|prompt is too long|too many tokens", re.I)
_AUTH_WORDS = re.compile(r"api key (?:is )?(?:not valid|invalid|incorrect)|(?:invalid|incorrect) api key", re.I)
_REQUEST_WORDS = re.compile(
    r"invalid|not[ _]?found|unsupported|not supported|missing|bad[ _]?request|does not exist|unknown (?:model|param)",
    re.I,
)
_FILTER_WORDS = re.compile(r"content (filter|management|policy)|responsible ai|moderation", re.I)

# Letters and underscores only: a key has digits.
_CODE = re.compile(r"[a-z][a-z_]{0,63}")
CODE_MAX = 64
MESSAGE_MAX = 8 * 1024
"""Maximum length of a provider's message that is examined, in characters."""
SECRET_MAX = 512
"""Minimum length of a part of a key that is redacted in a message, in characters."""

WORDS_MAX = 300
"""Maximum length of a provider's message that is shown, in characters."""
OVERLAP = 16
"""Minimum length of a passage that is redacted because it occurs in the chat, in characters."""
SHORT_MIN = 4
"""Minimum length of a chat message shorter than OVERLAP that is redacted if it is repeated whole, in characters."""
TEXT_MAX = 32 * 1024
HISTORY_MAX = 256 * 1024
"""Maximum length of one text of the chat, and of all texts, that is compared with a provider's message."""

_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf)[-_][^\s,;'\"]{3,}"  # by its prefix
    r"|\bAIza[A-Za-z0-9_-]{10,}|\bBearer\s+\S{6,}"
    r"|\b(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}"  # by its length
)
_MARKUP = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^<>]{0,500}>", re.I | re.S)


class Failures:
    """Creates the failures of one call to `provider`. Their texts contain neither `secrets` nor `texts` (of the
    chat)."""

    def __init__(self, provider: str, *, secrets: Iterable[str] = (), texts: Iterable[str] = ()) -> None:
        self._provider = provider
        self._secrets = tuple(secret for secret in secrets if secret)
        self._texts = texts

    def make(
        self,
        kind: str,
        detail: str = "",
        *,
        words: str = "",
        status_code: int | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> AttemptFailed:
        """A failure. `detail` is our own text or an error code; `words` is the provider's message."""
        shown = ", ".join(part for part in (f"status {status_code}" if status_code else "", detail) if part)
        shown = self._without_secrets(shown)
        said = self._redact(words)
        sentence = f"{self._provider} {SENTENCES[kind]}{f' ({shown})' if shown else ''}{f': {said}' if said else '.'}"
        return AttemptFailed(
            kind,
            sentence,
            provider=self._provider,
            status_code=status_code,
            retryable=retryable,
            retry_after_s=retry_after_s,
        )

    def of_status(self, status_code: int, error: Any, headers: Mapping[str, str], *, now_s: float) -> AttemptFailed:
        """The failure of an HTTP error. `error` is the decoded body, or its text."""
        codes, message = _read_error(error)
        kind = _KIND_OF_STATUS.get(status_code) or ("server" if status_code >= 500 else "invalid_request")
        if status_code in (400, 403, 413, 422):
            kind = _kind_of_words(codes, message) or kind
        elif "overloaded" in codes or "overloaded_error" in codes:
            kind = "overloaded"
        return self.make(
            kind,
            _shown_code(codes),
            words=message,
            status_code=status_code,
            retryable=False if status_code == 402 or _QUOTA_EXHAUSTED & codes.keys() else None,
            retry_after_s=parse_retry_after(headers, now_s=now_s),
        )

    def in_stream(self, error: Any) -> AttemptFailed:
        """The failure of an error object in an answer; an unknown one is a failure of the server."""
        codes, message = _read_error(error)
        status_code = next(
            (int(code) for code in codes if code.isdecimal() and len(code) == 3 and 400 <= int(code) < 600), None
        )
        if status_code is not None:
            return self.of_status(status_code, error, {}, now_s=0.0)
        known = next((_KIND_OF_CODE[code] for code in codes if code in _KIND_OF_CODE), None)
        if known is None and _REQUEST_WORDS.search(" ".join((*codes, message[:WORDS_MAX]))):
            known = "invalid_request"  # a retry would not help
        no_money = bool(_QUOTA_EXHAUSTED & codes.keys())
        kind = "rate_limit" if no_money else _kind_of_words(codes, message) or known or "server"
        return self.make(kind, _shown_code(codes), words=message, retryable=False if no_money else None)

    def _redact(self, words: str) -> str:
        """The message as one short line without keys and texts of the chat. Keys are removed first, before truncation
        could leave a part of one."""
        words = _KEY.sub("…", self._without_secrets(words[:MESSAGE_MAX]))
        words = failure_text(words)
        if not words:
            return ""
        texts: list[str] = []
        size = 0
        for text in self._texts:
            texts.append(" ".join(text[-TEXT_MAX:].split()))
            size += len(texts[-1])
            if size > HISTORY_MAX:
                break
        for text in texts:
            if SHORT_MIN <= len(text) < OVERLAP and text in words:
                words = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", "…", words)
        return _without_overlap(words, "\n".join(texts))

    def _without_secrets(self, text: str) -> str:
        """Redact the key, also if it is broken by white space."""
        for secret in self._secrets:
            text = re.sub(r"\s*".join(map(re.escape, secret[:SECRET_MAX])), "…", text)
        return text


def failure_text(text: str) -> str:
    """A provider's message as one short line: no markup, no control characters, at most WORDS_MAX characters."""
    line = " ".join(_MARKUP.sub(" ", text[: 8 * WORDS_MAX]).split())
    line = "".join(char for char in line if char.isprintable())
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 1] + "…"


def _without_overlap(words: str, history: str) -> str:
    """`words` with each passage of at least OVERLAP characters that occurs in `history` replaced."""
    kept, position = [], 0
    while position < len(words):
        end = position + OVERLAP
        if end <= len(words) and words[position:end] in history:
            while end < len(words) and words[position : end + 1] in history:
                end += 1
            kept.append("…")
            position = end
        else:
            kept.append(words[position])
            position += 1
    return "".join(kept)


def parse_retry_after(headers: Mapping[str, str], *, now_s: float) -> float | None:
    """Seconds to wait, by `retry-after-ms` or `retry-after` (seconds or an HTTP date); None if it is not given,
    is 0 or has passed: then the usual back-off holds.

    `headers` is asked in lower case.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    date = parsedate_tz(headers.get("retry-after", ""))
    try:
        ahead_s = 0.0 if date is None else mktime_tz(date) - now_s
    except (ValueError, OverflowError):
        return None
    return ahead_s if ahead_s > 0 else None


def _read_error(error: Any) -> tuple[dict[str, None], str]:
    """The codes of an error object (an ordered set, the most specific first) and its message."""
    if isinstance(error, list) and error:
        return _read_error(error[0])
    if not isinstance(error, Mapping):
        return {}, error[:MESSAGE_MAX] if isinstance(error, str) else ""
    inner = error.get("error")
    if isinstance(inner, Mapping):
        codes, message = _read_error(inner)
        return codes, message or _message_in(error)
    given = [error.get(name) for name in ("code", "type", "status")]
    named = {str(code)[:CODE_MAX]: None for code in given if type(code) in (str, int)}
    return named, _message_in(error) or (inner if isinstance(inner, str) else "")


def _message_in(error: Mapping[str, Any]) -> str:
    """The first text under one of the usual names; of a list of objects (FastAPI's `detail`) the first one's."""
    for name in ("message", "detail", "msg", "error_msg", "error_message", "errors"):
        value = error.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, Mapping):
            value = _message_in(value)
        if isinstance(value, str) and value:
            return value[:MESSAGE_MAX]
    return ""


def _kind_of_words(codes: Mapping[str, None], message: str) -> str | None:
    """context_length, content_filter or auth, by the code or by the message."""
    for code in codes:
        if _KIND_OF_CODE.get(code) in ("context_length", "content_filter", "auth"):
            return _KIND_OF_CODE[code]
    if _CONTEXT_WORDS.search(message):
        return "context_length"
    if _AUTH_WORDS.search(message):
        return "auth"
    return "content_filter" if _FILTER_WORDS.search(message) else None


def _shown_code(codes: Mapping[str, None]) -> str:
    return next((code for code in codes if _CODE.fullmatch(code)), "")
