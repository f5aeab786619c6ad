"""What clients of other protocols say of open tool calls."""

from __future__ import annotations

from typing import Any

from antiphon.core.values import Value


class ToolAnswer(Value, gc=True):
    """What a client says of a tool call: its result, or whether it may run (`is_approved` is not None), and then with
    which arguments (None: the model's)."""

    tool_call_id: str
    value: Any = None
    is_error: bool = False
    is_approved: bool | None = None
    args: dict[str, Any] | None = None
    reason: str = ""
