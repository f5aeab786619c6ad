"""What a provider says of how an answer ended: reasons to finish, and error objects wherever they stand. Pure."""

from __future__ import annotations

from typing import Any

LENGTH = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
FILTERED = {
    "blocklist",
    "content_filter",
    "error_toxic",
    "image_safety",
    "prohibited_content",
    "recitation",
    "safety",
    "sensitive",
    "spii",
}
FAILED = {
    "abort",
    "engine_error",
    "error",
    "insufficient_system_resource",
    "malformed_function_call",
    "network_error",
}
NOT_SAID = {"", "none", "null"}
"""As text; some servers send the word where JSON's null is meant."""

ERROR_FIELDS = ("message", "detail", "msg", "error_message", "errors")


def reason_in(value: Any) -> str:
    """The reason of a `finish_reason`, in lower case and without what Gemini puts before it (`content_filter: …`);
    empty where none is said, `other` for what is no text."""
    if not isinstance(value, str):
        return "other" if value else ""
    reason = value.strip().lower()
    if reason in NOT_SAID:
        return ""
    before, _, after = reason.partition(": ")
    return after if after in FILTERED | FAILED else before


def outcome_of(reason: str) -> str:
    """The outcome that is shown of a reason: `length`, `content_filter`, `refusal`, or empty."""
    if reason in LENGTH:
        return "length"
    if reason in FILTERED:
        return "content_filter"
    return "refusal" if reason == "refusal" else ""


def error_in(value: dict[str, Any]) -> Any:
    """The error object of a chunk, None if there is none. Beside an answer, an error that says nothing is none."""
    given = value.get("error")
    if _says_something(given):
        return value
    groq = value.get("x_groq")
    if isinstance(groq, dict) and _says_something(groq.get("error")):
        return groq
    for choice in value["choices"] if isinstance(value.get("choices"), list) else ():
        if isinstance(choice, dict) and _says_something(choice.get("error")):
            return choice
    return value if not value.get("choices") and _is_bare_error(value) else None


def _is_bare_error(value: dict[str, Any]) -> bool:
    """An error that is the object itself: `{"message": …}`, `{"detail": …}`. A notice of another type is none."""
    kind = value.get("type")
    if value.get("object") == "error" or kind == "error":
        return True
    is_notice = isinstance(kind, str) and "error" not in kind.lower() and not _says_something(value.get("code"))
    return not is_notice and any(value.get(name) for name in ERROR_FIELDS)


def _says_something(error: Any) -> bool:
    if isinstance(error, dict):
        return any(_says_something(value) for value in error.values())
    if isinstance(error, str):
        return error.strip().lower() not in NOT_SAID | {"0", "200", "ok", "success"}
    return bool(error) and error != 200
