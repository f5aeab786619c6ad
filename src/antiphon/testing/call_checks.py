"""Checks of tool calls and of owners: TOOLS and ISOLATION of docs/reliability.md, from the records of a trial."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from antiphon.core.events import Delta, FactEvent
from antiphon.testing.evidence import Evidence, FinalChat
from antiphon.testing.violation import Violation
from antiphon.wire.codec import encode

CANARY = re.compile(r"canary-[0-9a-f]{8}")
"""A text that belongs to one owner: it may occur in the chats of that owner, their prompts and calls, only."""


def check_results(final: FinalChat) -> Iterator[Violation]:
    """Each call of the history has one result; one without may only be in a turn that is in progress."""
    calls: dict[str, str] = {}
    results: Counter[str] = Counter()
    for message in final.messages:
        for part in message.get("content", []):
            if part["type"] == "tool-call":
                calls[part["tool_call_id"]] = part["tool_name"]
            elif part["type"] == "tool-result":
                results[part["tool_call_id"]] += 1
    busy = final.chat["status"] in ("running", "interrupting", "requires_action")
    for call_id, name in calls.items():
        if results[call_id] > 1 or (results[call_id] == 0 and not busy):
            what = f"call {call_id} of {name} has {results[call_id]} results"
            yield Violation(invariant="TOOLS", chat_id=final.chat_id, what=what)


def check_runs(evidence: Evidence) -> Iterator[Violation]:
    """A tool that is not declared idempotent runs at most once for each call, and a denied one never."""
    names = {(run.chat_id, run.tool_call_id): run.tool_name for run in evidence.tool_runs}
    names |= {
        (final.chat_id, part["tool_call_id"]): part["tool_name"]
        for final in evidence.final
        for message in final.messages
        for part in message.get("content", [])
        if part["type"] == "tool-call"
    }
    runs = Counter((run.chat_id, run.tool_call_id) for run in evidence.tool_runs)
    for (chat_id, call_id), count in runs.items():
        if count > 1 and names[chat_id, call_id] not in evidence.idempotent_tools:
            yield Violation(invariant="TOOLS", chat_id=chat_id, what=f"call {call_id} ran {count} times")
        if (chat_id, call_id) in evidence.denied_calls:
            yield Violation(
                invariant="TOOLS", chat_id=chat_id, what=f"call {call_id} ran, and a person had denied it"
            )


def check_isolation(evidence: Evidence) -> Iterator[Violation]:
    """A canary reaches the watchers, prompts, calls and history of its owner's chats, and nothing else."""
    if not evidence.canaries:
        return
    for call in evidence.model_calls:
        if len(call.canaries) > 1:
            what = f"the prompt of model call {call.number} has the texts of several owners: {sorted(call.canaries)}"
            yield Violation(invariant="ISOLATION", chat_id=call.chat_id, what=what)
    for run in evidence.tool_runs:
        own = {evidence.canaries[run.chat_id]} if run.chat_id in evidence.canaries else run.canaries
        if not run.canaries <= own or len(run.canaries) > 1:
            what = f"the arguments of call {run.tool_call_id} have {sorted(run.canaries)}"
            yield Violation(invariant="ISOLATION", chat_id=run.chat_id, what=what)
    for final in evidence.final:
        yield from _foreign(evidence, final.chat_id, encode([final.chat, final.messages, final.queued_messages]))
    for watched in evidence.watched:
        for event, _ in watched.events:
            shown = event.data if isinstance(event, FactEvent) else event.part if isinstance(event, Delta) else None
            if shown is not None:
                yield from _foreign(evidence, watched.chat_id, encode(shown))


def _foreign(evidence: Evidence, chat_id: str, shown: bytes) -> Iterator[Violation]:
    own = evidence.canaries.get(chat_id)
    if foreign := {canary for canary in CANARY.findall(shown.decode("utf-8", "replace")) if canary != own}:
        yield Violation(invariant="ISOLATION", chat_id=chat_id, what=f"it shows {sorted(foreign)}")
