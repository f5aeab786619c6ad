"""Usage in OpenAI's two forms. Counts that are unknown are 0, because the form has no other way."""

from __future__ import annotations

from typing import Any

from antiphon.core.parts import Usage


def response_usage(usage: Usage) -> dict[str, Any]:
    """As in a Response."""
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_creation_tokens or 0,
        },
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.tokens,
    }


def completion_usage(usage: Usage) -> dict[str, Any]:
    """As in a chat completion."""
    return {
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": usage.tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
