"""Named points at which a test can make the process die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextvars import ContextVar

CRASH_POINTS: dict[str, str] = {}
"""Every named crash point and where it is; `docs/reliability.md` lists them."""


def _declare_crash_points() -> None:
    for line in _POINTS.strip().splitlines():
        name, _, where = line.strip().partition(": ")
        CRASH_POINTS[name] = where


_POINTS = """
before-append: the service has decided, nothing is written
after-append: the append is durable, nobody was told
before-answer: an HTTP answer is ready, not sent
create-before-append: a chat is about to be created
send-before-append: a message is about to be stored
claim-before-append: the worker has chosen a chat, no attempt_started yet
claim-after-append: attempt_started is durable, the attempt has not begun
model-before-call: the agent is about to call the model
model-first-delta: the first piece of the answer has been taken
model-mid-stream: the tenth piece of the answer has been taken
model-after-stream: the model is done, nothing is committed
commit-before-append: the answer is about to be committed
commit-after-append: the answer is durable, the worker does not know
tool-before-commit: a message with tool calls is about to be committed
tool-before-run: the calls are durable, no tool has run
tool-after-run: a tool has run, its result is not stored
tool-result-after-append: a tool's result is durable
flush-before: pieces of drafts are about to be kept
flush-after: pieces of drafts are kept
retry-after-append: a retry is scheduled
interrupt-after-append: an interrupt is durable, the worker does not know
interrupt-before-finish: the worker has stopped, the partial is not stored
interrupt-after-finish: the partial is stored
edit-after-append: an edit is durable
queue-after-append: a queued message is durable
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
        raise SystemExit(f"ANTIPHON_CRASH_AT: there is no crash point {name!r}; see docs/reliability.md")
    return name, int(nth or 1)


_chosen = _chosen_point()
_passed = 0

AT_POINT: ContextVar[Callable[[str], None] | None] = ContextVar("at_point", default=None)
"""Called at each point, where a simulation decides who dies; None: the environment does."""


def crash_point(name: str) -> None:
    """Kill the process here if ANTIPHON_CRASH_AT=<name>[:<nth>] says so (tests); otherwise nothing."""
    global _passed
    at_point = AT_POINT.get()
    if at_point is not None:
        at_point(name)
    if _chosen is None or _chosen[0] != name:
        return
    _passed += 1
    if _passed >= _chosen[1]:
        os.kill(os.getpid(), signal.SIGKILL)
