"""The states of a task, and the texts and values that go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from antiphon.core.model import Needs

SUBMITTED = "TASK_STATE_SUBMITTED"
WORKING = "TASK_STATE_WORKING"
COMPLETED = "TASK_STATE_COMPLETED"
FAILED = "TASK_STATE_FAILED"
CANCELED = "TASK_STATE_CANCELED"
INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
REJECTED = "TASK_STATE_REJECTED"

TERMINAL = frozenset({COMPLETED, FAILED, CANCELED, REJECTED})
OUTCOMES = {"answered": COMPLETED, "interrupted": CANCELED, "failed": FAILED, "replaced": CANCELED}
"""The state for the outcome of a turn. An answer that the model has refused is REJECTED."""

DELETED = "The message was deleted from the queue."
CHAT_DELETED = "The chat was deleted."

Json = dict[str, Any]

_HOW = {
    Needs.APPROVAL: "approved: true or false",
    Needs.RESULT: "result: the tool's result",
    Needs.ANSWER: "answer: any value",
}


def asked_parts(calls: Iterable[Mapping[str, Any]]) -> list[Json]:
    """What a task waits for: as text for people, and as a value with the ids of the calls. `calls` are as in the
    fact."""
    calls = list(calls)
    open_calls = [
        {"toolCallId": call["tool_call_id"], "toolName": call["tool_name"], "args": call.get("args"),
         "needs": call["needs"]}
        for call in calls
    ]  # fmt: skip
    return [
        {"text": "\n".join(map(_sentence, calls))},
        {"data": {"openCalls": open_calls}, "mediaType": "application/json"},
    ]


def how_to_answer(needs: Needs) -> str:
    """The field of an answer to a call."""
    return _HOW.get(needs, "result: any value")


def _sentence(call: Mapping[str, Any]) -> str:
    name, needs = call["tool_name"], Needs(call["needs"])
    if needs is Needs.ANSWER:
        args = call.get("args")
        question = args.get("question") if isinstance(args, Mapping) else args
        return question if isinstance(question, str) and question else f"{name} asks for an answer."
    if needs is Needs.APPROVAL:
        return f"May {name} run? Approve or deny it."
    return f"{name} waits for its result."
