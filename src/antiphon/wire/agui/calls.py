"""What a run that waits for clients asks of them: interrupts, and calls of the client's own tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon.core.model import Needs
from antiphon.core.values import Value

Json = dict[str, Any]

APPROVAL_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "editedArgs": {"type": "object", "description": "All arguments of the call, in place of the model's."},
        "reason": {"type": "string", "description": "Why it is denied; the model receives it."},
    },
    "required": ["approved"],
}


class AskedCall(Value):
    """A tool call that waits for a client."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: Needs


def asked_calls(calls: Iterable[Json]) -> list[AskedCall]:
    """The calls of an `action_required`."""
    return [
        AskedCall(
            tool_call_id=call["tool_call_id"],
            tool_name=call.get("tool_name", ""),
            args=call.get("args"),
            needs=Needs(call["needs"]),
        )
        for call in calls
    ]


def waiting_outcome(calls: Iterable[AskedCall], deadline: str) -> tuple[Json, list[str]]:
    """The outcome of a run that waits, and the calls of the client's tools that it cannot name beside interrupts.
    `deadline` is a time in ISO 8601."""
    calls = list(calls)
    interrupts = [_interrupt(call, deadline) for call in calls if call.needs is not Needs.RESULT]
    pending = [call.tool_call_id for call in calls if call.needs is Needs.RESULT]
    if interrupts:
        return {"type": "interrupt", "interrupts": interrupts}, pending
    return {"type": "success", "pendingToolCallIds": pending}, []


def _interrupt(call: AskedCall, deadline: str) -> Json:
    shown: Json = {"id": call.tool_call_id, "toolCallId": call.tool_call_id}
    if deadline:
        shown["expiresAt"] = deadline
    args = call.args if isinstance(call.args, dict) else {}
    if call.needs is Needs.APPROVAL:
        message = f"May {call.tool_name} run?"
        return shown | {"reason": "tool_call", "message": message, "responseSchema": APPROVAL_SCHEMA}
    question, schema = args.get("question"), args.get("schema")
    shown["reason"] = "input_required"
    shown["message"] = question if isinstance(question, str) else call.tool_name
    shown["responseSchema"] = schema if isinstance(schema, dict) else {"type": "string"}
    return shown
