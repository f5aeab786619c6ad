"""What operators see: metrics, logs and, for tests, the named points at which the process can be made to die."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """Every metric, in a registry of its own. Names end in their unit; none carries an owner's data."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.appends = Counter("antiphon_appends", "Appends that were written.", registry=r)
        self.conflicts = Counter("antiphon_append_conflicts", "Appends decided again.", registry=r)
        self.unknown_outcomes = Counter("antiphon_unknown_outcomes", "Commits whose answer was lost.", registry=r)
        self.attempts = Counter("antiphon_attempts", "Attempts begun here.", registry=r)
        self.takeovers = Counter("antiphon_takeovers", "Attempts expired here, by reason.", ["reason"], registry=r)
        self.fenced = Counter("antiphon_fenced_writes", "Writes refused to an attempt that was over.", registry=r)
        self.abandoned = Counter("antiphon_abandoned_tasks", "Tasks that did not end when told to.", registry=r)
        self.model_calls = Counter("antiphon_model_calls", "Model calls begun.", ["provider"], registry=r)
        self.model_errors = Counter("antiphon_model_errors", "Failed model calls, by kind.", ["kind"], registry=r)
        self.tool_calls = Counter("antiphon_tool_calls", "Tool calls run here.", registry=r)
        self.watchers = Gauge("antiphon_watchers", "Open streams.", registry=r)
        self.running = Gauge("antiphon_running_turns", "Turns that run here.", registry=r)
        self.degraded = Gauge("antiphon_problems", "How many things are degraded.", registry=r)
        self.resyncs = Counter("antiphon_resyncs", "Watchers given the whole state.", ["reason"], registry=r)
        self.connections_refused = Counter(
            "antiphon_connections_refused", "Connections refused because all were in use.", registry=r
        )
        self.slow_watchers = Counter("antiphon_slow_watchers", "Watchers closed as slow.", registry=r)
        self.primary_silent = Gauge(
            "antiphon_primary_silent_seconds", "How long a standby's primary has not answered.", registry=r
        )
        self.role_changes = Counter("antiphon_role_changes", "Times a standby became the primary.", registry=r)
        self.relay_gaps = Counter("antiphon_relay_gaps", "Deltas of other instances that were missed.", registry=r)
        self.relay_full = Counter("antiphon_relay_full", "Times an instance took no more deltas.", registry=r)
        self.frames = Counter("antiphon_frames", "Event frames published over ZeroMQ.", registry=r)
        self.calls = Counter("antiphon_calls", "Calls answered over ZeroMQ, by method.", ["method"], registry=r)
        self.log_reads = Counter("antiphon_log_reads", "Reads of a chat's facts from the store.", registry=r)
        self.bus_published = Counter("antiphon_bus_published", "Hints sent to other instances.", ["bus"], registry=r)
        self.bus_received = Counter("antiphon_bus_received", "Hints from other instances.", ["bus"], registry=r)
        self.bus_dropped = Counter(
            "antiphon_bus_dropped", "Hints that could not be sent, by reason.", ["bus", "reason"], registry=r
        )
        self.bus_reconnects = Counter(
            "antiphon_bus_reconnects", "Times a bus was connected again.", ["bus"], registry=r
        )
        self.bus_lag = Gauge(
            "antiphon_bus_lag_seconds", "How long the last heartbeat took to come back.", ["bus"], registry=r
        )
        self.oddities = Counter("antiphon_oddities", "What should not happen and did.", ["what"], registry=r)
        self.stalls = Counter("antiphon_loop_stalls", "Event loop stalls of over a second.", registry=r)
        self.http = Histogram(
            "antiphon_http_seconds",
            "Time to answer, streams excluded.",
            ["method", "route", "status"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=r,
        )


METRICS = Metrics()

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


def configure_logging(*, as_json: bool, level: str = "info") -> None:
    """Structured logs on stderr: one event for each thing that happened, with fields."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
