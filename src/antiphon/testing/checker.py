"""Checks the invariants of docs/reliability.md from the outside: only from the records of a trial.

`check(evidence)` returns the violations, each with the name of its invariant; an empty list is a pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from antiphon.core.draft import Draft
from antiphon.core.events import Bye, Delta, Event, FactEvent, Resync
from antiphon.core.parts import Reasoning, Text
from antiphon.core.view import View
from antiphon.errors import PeerError
from antiphon.testing.call_checks import check_isolation, check_results, check_runs
from antiphon.testing.evidence import Evidence, FinalChat, Watched
from antiphon.testing.violation import Violation
from antiphon.wire.gotime import parse_time_us

__all__ = ["Violation", "check"]

TOKEN = re.compile(r"c(\d+)t(\d+) ")
"""A token of a scripted model: the number of its call, and its own."""

STOPPED = ("interrupted", "replaced")
"""The outcomes of an interrupted turn: interrupted, or replaced by an edit before it ended."""


def check(evidence: Evidence) -> list[Violation]:
    """Every violation that the evidence shows."""
    finals = {final.chat_id: final for final in evidence.final}
    found: list[Violation] = []
    found += _check_sends(evidence, finals)
    for final in evidence.final:
        found += _check_log(final)
        found += _check_attempts(final)
        found += check_results(final)
        found += _check_queue(final)
        found += _check_edits(final)
        found += _check_stuck(final, evidence.stuck_s)
    for watched in evidence.watched:
        found += _check_watched(watched, finals.get(watched.chat_id), evidence)
    found += check_runs(evidence)
    found += check_isolation(evidence)
    found += _check_interrupts(evidence, finals)
    found += _check_budget(evidence)
    return found


# --- ACK-ONCE, ACK-DURABLE --------------------------------------------------------------------------


def _check_sends(evidence: Evidence, finals: dict[str, FinalChat]) -> Iterator[Violation]:
    answers: dict[tuple[str, str], set[int]] = {}
    for sent in evidence.sent:
        if sent.is_acked and sent.answer is not None:
            message = sent.answer.get("message") or sent.answer["queued_message"]
            answers.setdefault((sent.chat_id, sent.client_message_id), set()).add(message["id"])
    for (chat_id, client_id), ids in answers.items():
        if len(ids) > 1:
            yield Violation(
                invariant="ACK-ONCE", chat_id=chat_id, what=f"{client_id} was acknowledged as {sorted(ids)}"
            )
    for key in {(sent.chat_id, sent.client_message_id) for sent in evidence.sent}:
        chat_id, client_id = key
        final = finals.get(chat_id)
        if final is None:
            continue
        places = [event.seq for event in final.log if _brings(event, client_id)]
        if len(places) > 1:
            yield Violation(invariant="ACK-ONCE", chat_id=chat_id, what=f"{client_id} was accepted at {places}")
        if key in answers and not answers[key] <= set(places):
            what = f"{client_id} was acknowledged as {sorted(answers[key])} and is in the log at {places}"
            yield Violation(invariant="ACK-DURABLE", chat_id=chat_id, what=what)


def _brings(event: Event, client_id: str) -> TypeGuard[FactEvent]:
    """Whether this fact accepted the message with that client id: it appended or queued the message. The delivery of
    a queued message does not count again. A message that is edited later stays in the log."""
    if not isinstance(event, FactEvent):
        return False
    if event.type == "message_queued":
        return bool(event.data["queued_message"].get("client_message_id") == client_id)
    is_sent = event.type == "message_appended" and not event.data.get("queued_id")
    return is_sent and event.data.get("client_message_id") == client_id


# --- LOG, CONVERGE ----------------------------------------------------------------------------------


def _check_log(final: FinalChat) -> Iterator[Violation]:
    facts = [event for event in final.log if isinstance(event, FactEvent)]
    seqs = [fact.seq for fact in facts]
    if seqs != list(range(1, len(seqs) + 1)):
        yield Violation(invariant="LOG", chat_id=final.chat_id, what=f"facts are numbered {seqs[:20]} …")
        return
    view = View()
    try:
        for event in final.log:
            view.apply(event)
    except PeerError as error:
        yield Violation(invariant="LOG", chat_id=final.chat_id, what=str(error))
        return
    yield from _compare(view, final, "LOG")


def _compare(view: View, final: FinalChat, invariant: str) -> Iterator[Violation]:
    pairs: list[tuple[str, Any, Any]] = [
        ("seq", view.seq, final.chat["seq"]),
        ("status", view.status, final.chat["status"]),
        ("messages", _ids(view.messages)[-50:], _ids(final.messages)[-50:]),
        ("queue", _ids(view.queued_messages), _ids(final.queued_messages)),
        ("texts", [_text(m) for m in view.messages][-50:], [_text(m) for m in final.messages][-50:]),
    ]
    for name, ours, theirs in pairs:
        if ours != theirs:
            what = f"the fold's {name} is {str(ours)[:200]}, the API's {str(theirs)[:200]}"
            yield Violation(invariant=invariant, chat_id=final.chat_id, what=what)


def _ids(messages: list[dict[str, Any]]) -> list[int]:
    return [message["id"] for message in messages]


def _text(message: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in message.get("content", []) if part["type"] == "text")


# --- EDIT, NO-STUCK ---------------------------------------------------------------------------------


def _check_edits(final: FinalChat) -> Iterator[Violation]:
    """No truncated message is in the history, and no hidden message has content."""
    shown = set(_ids(final.messages))
    for event in final.log:
        if isinstance(event, FactEvent) and event.type == "history_truncated":
            removed = shown & set(range(event.data["from_message_id"], event.seq))
            if removed:
                what = f"{sorted(removed)} are shown though removed by {event.seq}"
                yield Violation(invariant="EDIT", chat_id=final.chat_id, what=what)
    hidden = {e.seq for e in final.log if isinstance(e, FactEvent) and e.data.get("hidden_by")}
    messages = [e for e in final.log if isinstance(e, FactEvent) and e.seq in hidden]
    visible = {message.seq for message in messages if "content" in message.data["message"]} | (hidden & shown)
    if visible:
        what = f"{sorted(visible)} are hidden but have content or are listed"
        yield Violation(invariant="EDIT", chat_id=final.chat_id, what=what)


def _check_stuck(final: FinalChat, stuck_s: float) -> Iterator[Violation]:
    """A turn that needs a worker gets one within `stuck_s`, counted from its scheduled retry if there is one."""
    waiting_since: int | None = None
    due = 0
    for event in final.log:
        if not isinstance(event, FactEvent):
            continue
        at = parse_time_us(event.at)
        if event.type == "attempt_started":
            if waiting_since is not None and at - waiting_since > stuck_s * 1e6:
                what = f"attempt {event.seq} came {(at - waiting_since) / 1e6:.1f} s after it was wanted"
                yield Violation(invariant="NO-STUCK", chat_id=final.chat_id, what=what)
            waiting_since, due = None, 0
        elif event.status != "running":
            waiting_since = None
        elif event.type == "retry_scheduled":
            due = parse_time_us(event.data["retrying_at"])
        elif event.type in ("attempt_released", "attempt_lost", "turn_restarted") or _starts_turn(event):
            waiting_since = max(at, due)


def _starts_turn(event: FactEvent) -> bool:
    return event.type == "message_appended" and event.data["message"]["turn_id"] == event.seq


# --- FENCE, QUEUE ----------------------------------------------------------------------------


def _check_attempts(final: FinalChat) -> Iterator[Violation]:
    """Messages of models and tools are appended only while an attempt holds the chat, and there is one at a time. The
    beginning that an attempt has left may be appended after it, as the partial of an interrupted turn; a history that
    a chat is created with comes before its first attempt."""
    attempt = 0
    is_begun = has_left = False
    open_draft = 0
    for event in final.log:
        if not isinstance(event, FactEvent):
            continue
        if event.type == "attempt_started":
            if attempt:
                what = f"attempt {event.seq} began while {attempt} held the chat"
                yield Violation(invariant="FENCE", chat_id=final.chat_id, what=what)
            attempt = event.seq
            is_begun = True
        elif event.type in ("attempt_released", "attempt_lost", "turn_ended", "action_required", "chat_deleted"):
            attempt = 0
            has_left = event.type != "turn_ended" and (has_left or bool(event.data.get("content_size")))
        elif event.type == "message_appended" and event.data["message"]["role"] == "assistant":
            closes = event.data.get("closes")
            is_left, has_left = has_left and not closes, False
            if not attempt and not is_left and is_begun:
                what = f"message {event.seq} without an attempt that holds the chat"
                yield Violation(invariant="FENCE", chat_id=final.chat_id, what=what)
            elif closes and closes["draft"] != open_draft:
                what = f"message {event.seq} closes draft {closes['draft']}, open is {open_draft}"
                yield Violation(invariant="FENCE", chat_id=final.chat_id, what=what)
        open_draft = event.draft


def _check_queue(final: FinalChat) -> Iterator[Violation]:
    """Queued messages are delivered in order: the next one must be the head of the view's queue."""
    view = View()
    try:
        for event in final.log:
            if isinstance(event, FactEvent) and event.type == "message_appended" and event.data.get("queued_id"):
                queued_id = event.data["queued_id"]
                waiting = [item["id"] for item in view.queued_messages]
                steering = [item["id"] for item in view.queued_messages if item["when_busy"] == "steer"]
                promoted = [item["id"] for item in view.queued_messages if item.get("promoted")]
                allowed = {*waiting[:1], *steering[:1], *promoted, *[i for i in waiting if i not in steering][:1]}
                if queued_id not in allowed:
                    what = f"{queued_id} was delivered while {waiting} waited"
                    yield Violation(invariant="QUEUE", chat_id=final.chat_id, what=what)
            view.apply(event)
    except PeerError:
        return  # reported by LOG


# --- SEQ, VIEW = COMMIT, CONVERGE -------------------------------------------------------------------


def _check_watched(watched: Watched, final: FinalChat | None, evidence: Evidence) -> Iterator[Violation]:
    emitted = _emitted(evidence)
    view = View()
    last = (0, 0)
    for i, (event, _) in enumerate(watched.events):
        cursor = getattr(event, "cursor", "")
        if cursor:
            seq, _, position = cursor.partition(".")
            place = (int(seq), int(position or 0))
            if place < last and not isinstance(event, Resync):
                what = f"event {i} ({event}) goes back from {last} to {place}"
                yield Violation(invariant="SEQ", chat_id=watched.chat_id, what=what[:400])
            last = place
        yield from _check_commit(watched, view, event)
        try:
            view.apply(event)
        except PeerError as error:
            yield Violation(invariant="SEQ", chat_id=watched.chat_id, what=f"event {i}: {error}")
            return
        if isinstance(event, Delta):
            yield from _check_preview(watched.chat_id, view.draft, emitted)
    if final is not None and not isinstance(watched.events[-1][0] if watched.events else None, Bye):
        yield from _compare(view, final, "CONVERGE")


def _check_commit(watched: Watched, view: View, event: Event) -> Iterator[Violation]:
    """The committed text equals what the watcher received, if it received the draft up to `upto`; else it continues
    that."""
    if not isinstance(event, FactEvent) or event.type != "message_appended":
        return
    closes = event.data.get("closes")
    message = event.data["message"]
    if not closes or closes["draft"] != view.draft.name or "content" not in message:
        return
    committed, seen = _spoken(message["content"]), _preview(view.draft)
    held = view.draft.position
    if held == closes["upto"]:
        is_right = committed == seen
    else:
        is_right = committed.startswith(seen) if held < closes["upto"] else seen.startswith(committed)
    if not is_right:
        what = (
            f"draft {closes['draft']} held to {held} of {closes['upto']}: {seen[-60:]!r} became {committed[-60:]!r}"
        )
        yield Violation(invariant="VIEW=COMMIT", chat_id=watched.chat_id, what=what)


def _spoken(content: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for part in content if part["type"] in ("text", "reasoning"))


def _preview(draft: Draft) -> str:
    return "".join(part.text for part in draft.content() if isinstance(part, Text | Reasoning))


def _emitted(evidence: Evidence) -> dict[int, list[str]]:
    """The answers of the model calls, by the call that wrote their first token. A call that goes on from a beginning
    answers with that and the rest; white space between them is sent once."""
    emitted: dict[int, list[str]] = {}
    for call in evidence.model_calls:
        begun = TOKEN.match(call.beginning + " ")
        rest = "".join(call.tokens).lstrip() if call.beginning else "".join(call.tokens)
        text = f"{call.beginning.rstrip()} {rest}" if call.beginning else rest
        emitted.setdefault(int(begun[1]) if begun else call.number, []).append(text)
    return emitted


def _check_preview(chat_id: str, draft: Draft, emitted: dict[int, list[str]]) -> Iterator[Violation]:
    """The text of a draft is a prefix of the answer of one model call."""
    text = draft.text()
    found = TOKEN.match(text)
    if found is None:
        return
    said = emitted.get(int(found[1]))
    if said is not None and not any(one.startswith(text) for one in said):
        what = f"the preview {text[-80:]!r} is not the beginning of call {found[1]}"
        yield Violation(invariant="VIEW=COMMIT", chat_id=chat_id, what=what)


# --- INTERRUPT, BUDGET ------------------------------------------------------------------------------


def _check_interrupts(evidence: Evidence, finals: dict[str, FinalChat]) -> Iterator[Violation]:
    for stop in evidence.interrupted:
        final = finals.get(stop.chat_id)
        if final is None or not stop.was_interrupted:
            continue
        ends = [
            event
            for event in final.log
            if isinstance(event, FactEvent) and event.type == "turn_ended" and event.data["turn_id"] == stop.turn_id
        ]
        if not any(end.data["outcome"] in STOPPED for end in ends):
            outcomes = [end.data["outcome"] for end in ends]
            what = f"turn {stop.turn_id} was stopped at {stop.seq} and ended as {outcomes}"
            yield Violation(invariant="INTERRUPT", chat_id=stop.chat_id, what=what)
        if evidence.is_stop_timed:
            yield from _check_stop_time(evidence, stop.chat_id, stop.turn_id, stop.at)


def _check_stop_time(evidence: Evidence, chat_id: str, turn_id: int, at: float) -> Iterator[Violation]:
    for watched in evidence.watched:
        if watched.chat_id != chat_id:
            continue
        for event, seen_at in watched.events:
            is_end = isinstance(event, FactEvent) and event.type == "turn_ended" and event.data["turn_id"] == turn_id
            if is_end and seen_at - at > evidence.stop_s:
                what = f"turn {turn_id} ended {seen_at - at:.1f} s after its stop was acknowledged"
                yield Violation(invariant="INTERRUPT", chat_id=chat_id, what=what)


def _check_budget(evidence: Evidence) -> Iterator[Violation]:
    """Model calls ≤ committed answers + scheduled retries + lost, released and stopped attempts + failures. Deleted
    chats, which have no log, are not counted."""
    counted = {"", *(final.chat_id for final in evidence.final)}
    calls = sum(call.chat_id in counted for call in evidence.model_calls)
    if not calls:
        return
    allowed = sum(_allows_call(event) for final in evidence.final for event in final.log)
    if calls > allowed:
        what = f"{calls} model calls, {allowed} are accounted for"
        yield Violation(invariant="BUDGET", chat_id="", what=what)


def _allows_call(event: Event) -> bool:
    if not isinstance(event, FactEvent):
        return False
    is_result = event.type == "message_appended" and event.data["message"]["role"] == "tool"
    joined = event.type == "message_appended" and event.data.get("queued_id", 0) != 0
    return is_result or joined or event.type in ("attempt_started", "retry_scheduled")
