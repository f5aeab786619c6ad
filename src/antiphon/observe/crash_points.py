"""Named points at which a test can kill the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextvars import ContextVar

CRASH_POINTS: dict[str, str] = {}
"""Every crash point with its place in the code; `docs/reliability.md` lists them."""


def _declare_crash_points() -> None:
    for line in _POINTS.strip().splitlines():
        name, _, where = line.strip().partition(": ")
        CRASH_POINTS[name] = where


_POINTS = """
before-append: the command is decided, nothing is written
after-append: the append is committed, not yet published
before-answer: an HTTP response is ready, not sent
create-before-append: a chat is about to be created
send-before-append: a message is about to be stored
claim-before-append: the worker has chosen a chat, no attempt_started yet
claim-after-append: attempt_started is committed, the attempt has not started
model-before-call: the agent is about to call the model
model-first-delta: the first piece of the answer is received
model-mid-stream: the tenth piece of the answer is received
model-after-stream: the answer is complete, nothing is committed
commit-before-append: the answer is about to be committed
commit-after-append: the answer is committed, the worker has no confirmation yet
tool-before-commit: a message with tool calls is about to be committed
tool-before-run: the tool calls are committed, no tool has run
tool-after-run: a tool has run, its result is not stored
tool-result-after-append: the result of a tool is committed
child-after-create: a child chat is created, its parent does not wait for it yet
flush-before: deltas of drafts are about to be stored
flush-after: deltas of drafts are stored
retry-after-append: a retry is scheduled
interrupt-after-append: an interrupt is committed, the worker has no notification yet
interrupt-before-finish: the worker has stopped, the partial answer is not stored
interrupt-after-finish: the partial answer is stored
edit-after-append: an edit is committed
queue-after-append: a queued message is committed
renew-before: leases are about to be renewed
recovery-before-expire: a lost attempt is about to be recorded
recovery-after-expire: a lost attempt is recorded
"""
_declare_crash_points()


def _chosen_point() -> tuple[str, int] | None:
    chosen = os.environ.get("ANTIPHON_CRASH_AT", "")
    if not chosen:
        return None
    name, _, nth = chosen.partition(":")
    if name not in CRASH_POINTS:
        raise SystemExit(f"ANTIPHON_CRASH_AT: unknown crash point {name!r}; docs/reliability.md lists them")
    return name, int(nth or 1)


_chosen = _chosen_point()
_passed = 0

AT_POINT: ContextVar[Callable[[str], None] | None] = ContextVar("at_point", default=None)
"""Called at each crash point, so that a simulation can end one of its processes; None outside simulations."""


def crash_point(name: str) -> None:
    """Kill the process here if a test has set ANTIPHON_CRASH_AT=<name>[:<nth>]."""
    global _passed
    at_point = AT_POINT.get()
    if at_point is not None:
        at_point(name)
    if _chosen is None or _chosen[0] != name:
        return
    _passed += 1
    if _passed >= _chosen[1]:
        os.kill(os.getpid(), signal.SIGKILL)
