"""How an answer ended: finish reasons, and error objects at any place in a chunk. Pure."""

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
EMPTY_REASONS = {"", "none", "null"}
"""Some servers send the word instead of JSON's null."""

ERROR_FIELDS = ("message", "detail", "msg", "error_message", "errors")


def reason_in(value: Any) -> str:
    """The reason of a `finish_reason`, in lower case and without Gemini's prefix (`content_filter: …`); empty if
    there is none, `other` if it is not a text."""
    if not isinstance(value, str):
        return "other" if value else ""
    reason = value.strip().lower()
    if reason in EMPTY_REASONS:
        return ""
    before, _, after = reason.partition(": ")
    return after if after in FILTERED | FAILED else before


def outcome_of(reason: str) -> str:
    """The outcome to store for a reason: `length`, `content_filter`, `refusal`, or empty."""
    if reason in LENGTH:
        return "length"
    if reason in FILTERED:
        return "content_filter"
    return "refusal" if reason == "refusal" else ""


def error_in(value: dict[str, Any]) -> Any:
    """The error object of a chunk, None if there is none. An empty error beside an answer is ignored."""
    given = value.get("error")
    if _is_error_value(given):
        return value
    groq = value.get("x_groq")
    if isinstance(groq, dict) and _is_error_value(groq.get("error")):
        return groq
    for choice in value["choices"] if isinstance(value.get("choices"), list) else ():
        if isinstance(choice, dict) and _is_error_value(choice.get("error")):
            return choice
    return value if not value.get("choices") and _is_bare_error(value) else None


def _is_bare_error(value: dict[str, Any]) -> bool:
    """Whether the object itself is an error: `{"message": …}`, `{"detail": …}`. A notice of another type is not."""
    kind = value.get("type")
    if value.get("object") == "error" or kind == "error":
        return True
    is_notice = isinstance(kind, str) and "error" not in kind.lower() and not _is_error_value(value.get("code"))
    return not is_notice and any(value.get(name) for name in ERROR_FIELDS)


def _is_error_value(error: Any) -> bool:
    if isinstance(error, dict):
        return any(_is_error_value(value) for value in error.values())
    if isinstance(error, str):
        return error.strip().lower() not in EMPTY_REASONS | {"0", "200", "ok", "success"}
    return bool(error) and error != 200
