"""The Prometheus metrics of a process."""

from __future__ import annotations

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
        self.unexpected = Counter(
            "antiphon_unexpected_events", "Unexpected events, by `event`.", ["event"], registry=r
        )
        self.stalls = Counter("antiphon_loop_stalls", "Event loop stalls of over a second.", registry=r)
        self.http = Histogram(
            "antiphon_http_seconds",
            "Time to answer, streams excluded.",
            ["method", "route", "status"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=r,
        )


METRICS = Metrics()
