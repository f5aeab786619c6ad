"""A finished tool call on one line: `add(1, 2) → 3  0.2 s`."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

from rich.cells import cell_len

from antiphon.cli.cells import fit
from antiphon.cli.clean import clean_line, clean_text, visible_text

ARGUMENT_MAX = 60
"""Maximum length of one shown argument, in characters."""
RESULT_MAX = 400
"""How much of a result is considered for its line, in characters."""
PLAIN_ARGUMENTS_MAX = 3
"""Maximum number of arguments that are shown without their names."""
DIFF_LINES_MAX = 40
"""Maximum number of lines of a diff that are shown below its call."""

ASK = "ask"
"""The name of the call by which an agent asks a person: its line is the question and the answer."""
CHANGED_ARGUMENTS = "arguments_set_by_a_person"
"""The field of a result with the arguments that a person has put in place of the model's."""

_DIFF = re.compile(r"^(diff --git |--- .+\n\+\+\+ |@@ -\d)", re.MULTILINE)


class ToolRun(NamedTuple):
    """A tool call with its result. `seconds` is how long the tool ran; None: not known."""

    call: str
    result: str
    is_error: bool
    seconds: float | None

    def line(self, width: int) -> str:
        """The call, its result and its duration in at most `width` cells."""
        took = f"  {seconds_text(self.seconds)}" if self.seconds is not None else ""
        arrow = " failed: " if self.is_error else " → "
        first, more = self._summary()
        room = max(width - len(took) - len(arrow) - len(more), 8)
        whole = clean_line(first[:RESULT_MAX])
        call = fit(self.call, max(room - min(cell_len(whole), room // 2), room // 2))
        return fit(f"{call}{arrow}{fit(whole, room - cell_len(call))}{more}", width - len(took)) + took

    def _summary(self) -> tuple[str, str]:
        """The beginning of the result, and how much more there is."""
        lines = self.result.strip("\n").split("\n")
        if self.diff:
            added = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
            removed = sum(line.startswith("-") and not line.startswith("---") for line in lines)
            return f"a diff, +{added} −{removed}", ""
        return lines[0], f" … ({len(lines)} lines)" if len(lines) > 1 else ""

    @property
    def diff(self) -> str:
        """The result, if it is a unified diff; otherwise empty."""
        return self.result if not self.is_error and _DIFF.search(self.result) else ""


def tool_run(call: dict[str, Any], part: dict[str, Any], seconds: float | None) -> ToolRun:
    """From a `tool-call` part (or an empty one) and its `tool-result` part."""
    result = part.get("result")
    if isinstance(result, dict) and CHANGED_ARGUMENTS in result and "result" in result:
        call, result = call | {"args": result[CHANGED_ARGUMENTS]}, result["result"]
    if isinstance(result, dict) and part.get("is_error") and isinstance(result.get("error"), str):
        result = result["error"]
    args = call.get("args")
    if call.get("tool_name") == ASK and isinstance(args, dict) and isinstance(args.get("question"), str):
        words = clean_line(args["question"])
    else:
        words = call_words(call) if call else clean_line(str(part.get("tool_name")))
    return ToolRun(words, value_text(result), bool(part.get("is_error")), seconds)


def call_words(call: dict[str, Any], *, named: bool = False) -> str:
    """`add(1, 2)`; with `named`, or for many or long arguments, `pay(amount=5)`."""
    name, args = _name(str(call.get("tool_name"))), call.get("args", {})
    if not isinstance(args, dict):
        return f"{name}({_argument(args)})"
    is_plain = len(args) <= PLAIN_ARGUMENTS_MAX and not any(isinstance(value, dict | list) for value in args.values())
    shown = [
        _argument(value) if is_plain and not named else f"{_name(key)}={_argument(value)}"
        for key, value in args.items()
    ]
    return f"{name}({', '.join(shown)})"


def value_text(value: Any) -> str:
    """A result as text: a string unchanged, anything else as JSON."""
    return clean_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def seconds_text(seconds: float) -> str:
    """`0.2 s`, `12 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def seconds_between(start: str, end: str) -> float | None:
    """The time between two RFC 3339 times; None: one is missing or not a time."""
    try:
        return max((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _name(text: str) -> str:
    return clean_line(visible_text(text))


def _argument(value: Any) -> str:
    line = clean_line(visible_text(json.dumps(value, ensure_ascii=False)[: 4 * ARGUMENT_MAX]))
    return line if len(line) <= ARGUMENT_MAX else line[: ARGUMENT_MAX - 1] + "…"
