"""The settings of a request: which of them have an effect, which are reported as ignored, and which are refused.

A setting without an effect here is named in the response header `antiphon-ignored`, so that nothing is dropped
silently. One that would change the shape of the answer is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Invalid

IGNORED_HEADER = "antiphon-ignored"

UNUSED = (
    "frequency_penalty",
    "include",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "max_tool_calls",
    "modalities",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "seed",
    "service_tier",
    "stop",
    "temperature",
    "top_logprobs",
    "top_p",
    "truncation",
    "verbosity",
    "web_search_options",
)
"""Settings that a request cannot change: configured models have most of them in their parameters."""


class FunctionTool(Value, gc=True):
    """A tool that the client runs."""

    name: str
    description: str
    parameters: dict[str, Any]


def ignored_settings(settings: Mapping[str, Any], tool_choice: Any) -> list[str]:
    """The names of the given settings that have no effect. Raises `Invalid` for a stored prompt."""
    if settings.get("prompt") is not None:
        raise Invalid("prompt", "there are no stored prompts; give `instructions`")
    found = [name for name in UNUSED if settings.get(name) is not None]
    return found + (["tool_choice"] if tool_choice not in (None, "auto", "none") else [])


def check_format(given: Any, field: str) -> None:
    """Raises `Invalid` for any format of the answer but text. `given` is `response_format`, or `text.format`."""
    kind = given.get("type") if isinstance(given, Mapping) else given
    if given is not None and kind != "text":
        raise Invalid(field, "only the format `text` is possible; give the agent an `output` type, or use a function")


def function_tools(given: Sequence[Any], *, is_nested: bool) -> tuple[FunctionTool, ...]:
    """The tools of a request. In chat completions (`is_nested`) a function is in its own object. Raises `Invalid` for
    any tool but a function: the tools that a server runs are those of the agent."""
    return tuple(_function_tool(tool, number, is_nested) for number, tool in enumerate(given))


def _function_tool(tool: Any, number: int, is_nested: bool) -> FunctionTool:
    field = f"tools[{number}]"
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind != "function":
        raise Invalid(
            field, f"only functions are possible, not {str(kind)[:80]!r}; tools of the server are its agent's"
        )
    function = tool.get("function") if is_nested else tool
    try:
        return msgspec.convert(
            {
                "name": function["name"],
                "description": function.get("description") or "",
                "parameters": function.get("parameters") or {"type": "object", "properties": {}},
            },
            FunctionTool,
        )
    except (msgspec.ValidationError, TypeError, KeyError, AttributeError) as error:
        raise Invalid(field, "a function has a name, a description and parameters (a JSON Schema)") from error


def tool_json(name: str, description: str, parameters: Any) -> dict[str, Any]:
    """A tool as a Response shows it."""
    return {
        "type": "function",
        "name": name,
        "description": description,
        "parameters": parameters,
        "strict": False,
    }


def header_of(names: Iterable[str]) -> dict[str, str]:
    """The header that reports ignored settings."""
    text = ", ".join(names)
    return {IGNORED_HEADER: text} if text else {}
