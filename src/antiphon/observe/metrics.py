"""The Prometheus metrics of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """All metrics, in their own registry. Names end with the unit; no label has data of an owner."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        self.appends = counter("antiphon_appends", "Committed appends.")
        self.conflicts = counter("antiphon_append_conflicts", "Appends that were decided again after a conflict.")
        self.unknown_outcomes = counter("antiphon_unknown_outcomes", "Commits with an unknown outcome.")
        self.attempts = counter("antiphon_attempts", "Attempts started by this instance.")
        self.takeovers = counter(
            "antiphon_takeovers",
            "Attempts that this instance expired, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.fenced = counter("antiphon_fenced_writes", "Writes of expired attempts that were refused.")
        self.abandoned = counter("antiphon_abandoned_tasks", "Tasks that did not stop when cancelled.")
        self.limited = counter(
            "antiphon_limited", "Messages and turns that a budget or rate limit refused.", ["limit"]
        )
        self.model_calls = counter("antiphon_model_calls", "Model calls started.", ["provider"])
        self.model_errors = counter("antiphon_model_errors", "Failed model calls, by kind.", ["kind"])
        self.tool_calls = counter("antiphon_tool_calls", "Tool calls run by this instance.")
        self.model_file_bytes = gauge(
            "antiphon_model_file_bytes", "Bytes of files that the running turns have loaded for models."
        )
        self.model_file_waits = counter(
            "antiphon_model_file_waits", "Model calls that waited because too many files were loaded."
        )
        self._add_mcp(counter, gauge)
        self.watchers = gauge("antiphon_watchers", "Open streams.")
        self.running = gauge("antiphon_running_turns", "Turns that this instance runs.")
        self.degraded = gauge("antiphon_problems", "Number of failing parts.")
        self.resyncs = counter(
            "antiphon_resyncs", "Watchers that received the whole state again, by reason.", ["reason"]
        )
        self.connections_refused = counter(
            "antiphon_connections_refused", "Connections refused because all were in use."
        )
        self.slow_watchers = counter("antiphon_slow_watchers", "Watchers closed as slow.")
        self.primary_silent = gauge(
            "antiphon_primary_silent_seconds", "How long the primary of a standby has not responded."
        )
        self.role_changes = counter("antiphon_role_changes", "Times a standby became the primary.")
        self.relay_gaps = counter("antiphon_relay_gaps", "Gaps in the deltas received from other instances.")
        self.relay_full = counter("antiphon_relay_full", "Times an instance's link was full (back-pressure).")
        self.frames = counter("antiphon_frames", "Event frames published over ZeroMQ.")
        self.calls = counter("antiphon_calls", "Calls handled over ZeroMQ, by method.", ["method"])
        self.log_reads = counter("antiphon_log_reads", "Reads of a chat's facts from the store.")
        self._add_bus(counter, gauge)
        self.unexpected = counter("antiphon_unexpected_events", "Unexpected events, by `event`.", ["event"])
        self.stalls = counter("antiphon_loop_stalls", "Event loop stalls of more than a second.")
        self.http = Histogram(
            "antiphon_http_seconds",
            "Response time, without streams.",
            ["method", "route", "status"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=self.registry,
        )

    def _add_bus(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        """The metrics of the hints between instances, by the bus."""
        self.bus_published = counter("antiphon_bus_published", "Hints sent to other instances.", ["bus"])
        self.bus_received = counter("antiphon_bus_received", "Hints from other instances.", ["bus"])
        self.bus_dropped = counter("antiphon_bus_dropped", "Hints that were dropped, by reason.", ["bus", "reason"])
        self.bus_reconnects = counter("antiphon_bus_reconnects", "Reconnects of a bus.", ["bus"])
        self.bus_lag = gauge("antiphon_bus_lag_seconds", "Round-trip time of the last heartbeat.", ["bus"])

    def _add_mcp(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        """The metrics of MCP servers, by the server's name."""
        self.mcp_connected = gauge(
            "antiphon_mcp_connected", "Whether an MCP server is connected: 1 or 0.", ["server"]
        )
        self.mcp_tools = gauge("antiphon_mcp_tools", "Tools that an MCP server offers.", ["server"])
        self.mcp_failures = counter("antiphon_mcp_failures", "Connections lost or not made.", ["server"])
        self.mcp_calls = counter("antiphon_mcp_calls", "Tool calls at an MCP server.", ["server", "outcome"])


METRICS = Metrics()
