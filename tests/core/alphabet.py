"""Every command that may reach a chat, right and wrong, each with a name that does not depend on its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import Call, CallState, ErrorInfo, Needs, WhenBusy
from antiphon.core.parts import Role, Usage
from antiphon.core.workers import SHORT_RETRY_MS

from .history import HOUR, SECOND, History, words

Named = tuple[str, c.Command, int]
"""A name, a command, and how long (microseconds) to wait before it."""

USAGE = Usage(input_tokens=3, output_tokens=2)
CALLS = {
    "plain": f.CallOpened(tool_call_id="plain", tool_name="run"),
    "plain2": f.CallOpened(tool_call_id="plain2", tool_name="run"),
    "idempotent": f.CallOpened(tool_call_id="idempotent", tool_name="find", is_idempotent=True),
    "child": f.CallOpened(tool_call_id="child", tool_name="spawn", needs=Needs.CHILD, is_idempotent=True),
    "approval": f.CallOpened(tool_call_id="approval", tool_name="pay", needs=Needs.APPROVAL),
    "client": f.CallOpened(tool_call_id="client", tool_name="ask", needs=Needs.RESULT),
}
CALL_SETS: tuple[tuple[str, ...], ...] = (
    ("plain",),
    ("idempotent",),
    ("child",),
    ("approval",),
    ("client",),
    ("plain", "plain2"),
    ("plain", "idempotent"),
    ("plain", "approval"),
    ("plain", "client"),
    ("approval", "client"),
)
MISSING = 999_999


def iter_commands(history: History, queue_max: int = 2) -> Iterator[Named]:
    """All of them, for the chat as it stands; sends find the queue full at `queue_max`."""
    yield from iter_sends(queue_max)
    yield from iter_edits(history)
    yield from iter_queue(history)
    yield from iter_stops(history)
    yield from iter_answers(history)
    yield from iter_metadata(history)
    yield from iter_attempts(history)
    yield from iter_commits(history)
    yield from iter_ends(history)


def iter_sends(queue_max: int) -> Iterator[Named]:
    for mode in WhenBusy:
        yield f"send {mode}", c.SendMessage(content=words(mode), when_busy=mode, queue_max=queue_max), 0
    yield "send too much", c.SendMessage(content=words("much"), queue_bytes_max=1), 0


def iter_edits(history: History) -> Iterator[Named]:
    users = [seq for seq, role in history.ledger.visible if role is Role.USER]
    others = [seq for seq, role in history.ledger.visible if role is not Role.USER]
    targets = {"first": users[:1], "last": users[-1:], "answer": others[-1:], "missing": [MISSING]}
    for name, ids in targets.items():
        for message_id in ids:
            role = history.ledger.role(message_id)
            edit = c.EditMessage(message_id=message_id, content=words("edited"), target=role)
            yield f"edit {name}", edit, 0
    for message_id in users[-1:]:
        content = words("edited")
        yield (
            "edit and clear",
            c.EditMessage(message_id=message_id, content=content, target=Role.USER, clear_queue=True),
            0,
        )
    yield "retry", c.Retry(), 0
    yield "retry the last", c.Retry(turn_id=history.chat.last_turn_id), 0
    yield "retry another", c.Retry(turn_id=MISSING), 0


def iter_queue(history: History) -> Iterator[Named]:
    chat, ledger = history.chat, history.ledger
    items = {f"steering {i}": item.id for i, item in enumerate(chat.steering)}
    items |= {f"queued {i}": item.id for i, item in enumerate(chat.queue)}
    delivered = [seq for seq, fate in ledger.fates.items() if fate == "delivered"]
    deleted = [seq for seq, fate in ledger.fates.items() if fate == "deleted"]
    if delivered:
        items["delivered"] = delivered[-1]
    if deleted:
        items["deleted"] = deleted[-1]
    items["missing"] = MISSING
    places = [*chat.steering, *chat.queue]
    for name, queued_id in items.items():
        known = history.evidence(queued_id)
        yield f"edit {name}", c.EditQueued(content=words("edited"), **known), 0
        yield f"delete {name}", c.DeleteQueued(existed=queued_id in ledger.fates, **known), 0
        yield f"promote {name}", c.PromoteQueued(**known), 0
        yield f"move {name} last", c.MoveQueued(before=None, **known), 0
        for i, place in enumerate(places):
            yield f"move {name} before {i}", c.MoveQueued(before=place.id, **known), 0


def iter_stops(history: History) -> Iterator[Named]:
    yield "interrupt", c.Interrupt(turn_id=history.chat.turn_id), 0
    yield "interrupt and clear", c.Interrupt(turn_id=history.chat.turn_id, clear_queue=True), 0
    yield "interrupt another", c.Interrupt(turn_id=MISSING, clear_queue=True), 0


def iter_answers(history: History) -> Iterator[Named]:
    for name in [*_names(history), "missing"]:
        yield f"submit {name}", c.SubmitToolResults(tool_call_id=name, content=words("mine")), 0
        yield f"approve {name}", c.Approve(tool_call_id=name), 0
        yield f"approve others {name}", c.Approve(tool_call_id=name, args={"x": 1}, always=True), 0
        yield f"answer {name}", c.SubmitToolResults(tool_call_id=name, content=words("a"), needs=Needs.ANSWER), 0
        yield f"deny {name}", c.Deny(tool_call_id=name, reason="no"), 0
    yield "expire action early", c.ExpireAction(), 0
    yield "expire action", c.ExpireAction(), 2 * HOUR


def iter_metadata(history: History) -> Iterator[Named]:
    chat = history.chat
    yield "rename", c.Rename(title="named"), 0
    yield "generate title", c.GenerateTitle(title="thought up"), 0
    yield "set labels", c.SetLabels(labels={"a": "b"}), 0
    yield "set pin", c.SetPin(pin_order=1), 0
    yield "set model", c.SetModel(model="m"), 0
    yield "set system", c.SetSystem(system="s"), 0
    yield "set tools", c.SetTools(tools=[{"name": "t"}]), 0
    yield "set mcp servers", c.SetMcpServers(mcp_server_ids=("a",)), 0
    yield "set diff status", c.SetDiffStatus(diff_status={"x": 1}), 0
    yield "same labels", c.SetLabels(labels=dict(chat.labels)), 0
    yield "archive", c.Archive(), 0
    yield "unarchive", c.Unarchive(), 0
    yield "delete", c.Delete(), 0


def iter_attempts(history: History) -> Iterator[Named]:
    attempt = history.chat.attempt
    yield "start", c.StartAttempt(instance_id="i1"), 0
    yield "start later", c.StartAttempt(instance_id="i1"), HOUR
    for who, number in (("holder", attempt), ("stranger", MISSING), ("no attempt", 0)):
        for reason, wait in (("lease", 0), ("dead", 0), ("interrupt", 0), ("interrupt", 2 * SECOND)):
            yield f"expire {who} {reason} {wait}", c.ExpireAttempt(attempt=number, reason=reason), wait
    for keep in (False, True):
        for draft in (history.chat.draft, history.chat.draft - 1):
            name = f"expire with flushed, keep {keep}, {'open' if draft == history.chat.draft else 'old'}"
            flushed = words("flushed")
            yield (
                name,
                c.ExpireAttempt(attempt=attempt, reason="lease", draft=draft, content=flushed, upto=7, keep=keep),
                0,
            )
    for draft in (history.chat.draft, history.chat.draft - 1):
        name = f"expire with a beginning, {'open' if draft == history.chat.draft else 'old'}"
        beginning = words("begun")
        yield name, c.ExpireAttempt(attempt=attempt, reason="dead", draft=draft, beginning=beginning), 0


def iter_fences(history: History) -> Iterator[tuple[str, dict[str, int]]]:
    chat = history.chat
    yield "", {"attempt": chat.attempt, "draft": chat.draft}
    yield " by a stranger", {"attempt": MISSING, "draft": chat.draft}
    yield " by no attempt", {"attempt": 0, "draft": chat.draft}
    yield " of an old draft", {"attempt": chat.attempt, "draft": chat.draft - 1}


def iter_commits(history: History) -> Iterator[Named]:
    for name, fence in iter_fences(history):
        for is_last in (False, True):
            commit = c.CommitMessage(**fence, content=words("said"), upto=4, usage=USAGE, is_last=is_last)
            yield f"commit last {is_last}{name}", commit, 0
        stored = c.CommitMessage(**fence, content=words("said"), upto=4, usage=USAGE, is_last=True, state=b"{}")
        yield f"commit with state{name}", stored, 0
        yield f"commit nothing{name}", c.CommitMessage(**fence, content=b"", upto=0, usage=USAGE, is_last=True), 0
        sets = CALL_SETS if not name else CALL_SETS[:1]
        for call_set in sets:
            calls = tuple(CALLS[call] for call in call_set)
            commit = c.CommitMessage(**fence, content=words("calls"), upto=5, calls=calls)
            yield f"commit calls {call_set}{name}", commit, 0
    for call in [*_names(history), "missing"]:
        for who, attempt in (("holder", history.chat.attempt), ("stranger", MISSING), ("no attempt", 0)):
            commit_result = c.CommitToolResult(attempt=attempt, tool_call_id=call, content=words("result"))
            yield f"result of {call} by {who}", commit_result, 0
        cancel = c.CancelCalls(attempt=history.chat.attempt, tool_call_ids=(call, "missing"))
        yield f"cancel {call}", cancel, 0
    yield "cancel of a stranger", c.CancelCalls(attempt=MISSING, tool_call_ids=()), 0


def iter_ends(history: History) -> Iterator[Named]:
    chat, error = history.chat, ErrorInfo(message="it broke", kind="server")
    needed = tuple(
        f.ActionNeeded(tool_call_id=call.tool_call_id, tool_name=call.tool_name, args={}, needs=call.needs)
        for call in chat.calls
    )
    for name, fence in iter_fences(history):
        for delay in (0, SHORT_RETRY_MS, SHORT_RETRY_MS + 1, None):
            yield f"fail {delay}{name}", c.FailAttempt(**fence, error=error, delay_ms=delay), 0
            said = {"content": words("part"), "upto": 4, "usage": USAGE}
            yield f"fail with words {delay}{name}", c.FailAttempt(**fence, error=error, delay_ms=delay, **said), 0
        yield f"require action{name}", c.RequireAction(**fence, calls=needed, deadline=history.at + HOUR), 0
        for content in (b"", words("part")):
            partial = {"content": content, "upto": 4 if content else 0, "usage": USAGE}
            yield f"finish interrupt {bool(content)}{name}", c.FinishInterrupt(**fence, **partial), 0
            yield f"release {bool(content)}{name}", c.ReleaseAttempt(**fence, **partial), 0
        not_begun = tuple(call.tool_call_id for call in chat.calls)
        yield f"release with a beginning{name}", c.ReleaseAttempt(**fence, beginning=words("begun")), 0
        yield f"release all{name}", c.ReleaseAttempt(**fence, calls_not_begun=not_begun), 0


def call_key(call: Call) -> tuple[Needs, CallState, bool]:
    return call.needs, call.state, call.is_idempotent


def _names(history: History) -> list[str]:
    return [call.tool_call_id for call in history.chat.calls]
