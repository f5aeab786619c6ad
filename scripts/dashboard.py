"""Writes the Grafana dashboard, deploy/grafana/antiphon.json: ./dev exec python scripts/dashboard.py

A test checks that it is fresh, and that every metric in it and in the alert rules exists.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "deploy" / "grafana" / "antiphon.json"
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Running turns", "short", {"{{instance}}": "antiphon_running_turns"}),
    ("Open streams", "short", {"{{instance}}": "antiphon_watchers"}),
    ("Failing parts", "short", {"{{instance}}": "antiphon_problems"}),
    ("Model calls per second", "reqps", {"{{provider}}": "sum by (provider) (rate(antiphon_model_calls_total[5m]))"}),
    ("Failed model calls per second", "reqps", {"{{kind}}": "sum by (kind) (rate(antiphon_model_errors_total[5m]))"}),
    ("Tool calls per second", "reqps", {"{{instance}}": "rate(antiphon_tool_calls_total[5m])"}),
    (
        "Response time (p50, p99)",
        "s",
        {
            "p50": "histogram_quantile(0.5, sum by (le) (rate(antiphon_http_seconds_bucket[5m])))",
            "p99": "histogram_quantile(0.99, sum by (le) (rate(antiphon_http_seconds_bucket[5m])))",
        },
    ),
    ("Requests per second", "reqps", {"{{status}}": "sum by (status) (rate(antiphon_http_seconds_count[5m]))"}),
    ("Refused by limits of owners", "reqps", {"{{limit}}": "sum by (limit) (rate(antiphon_limited_total[5m]))"}),
    (
        "Attempts started and taken over",
        "short",
        {
            "started": "sum(increase(antiphon_attempts_total[5m]))",
            "taken over ({{reason}})": "sum by (reason) (increase(antiphon_takeovers_total[5m]))",
            "refused writes": "sum(increase(antiphon_fenced_writes_total[5m]))",
        },
    ),
    (
        "Watchers that fell behind",
        "short",
        {
            "closed as slow": "sum(increase(antiphon_slow_watchers_total[5m]))",
            "whole state sent again ({{reason}})": "sum by (reason) (increase(antiphon_resyncs_total[5m]))",
        },
    ),
    ("Event loop stalls", "short", {"{{instance}}": "increase(antiphon_loop_stalls_total[5m])"}),
    ("Hints per second", "reqps", {
        "sent by {{bus}}": "sum by (bus) (rate(antiphon_bus_published_total[5m]))",
        "dropped by {{bus}}": "sum by (bus) (rate(antiphon_bus_dropped_total[5m]))",
    }),
    ("Round trip of the bus", "s", {"{{instance}}": "antiphon_bus_lag_seconds"}),
    ("Unexpected events", "short", {"{{event}}": "sum by (event) (increase(antiphon_unexpected_events_total[5m]))"}),
    ("MCP servers connected", "short", {"{{server}}": "antiphon_mcp_connected"}),
    ("CPU", "percentunit", {"{{instance}}": "rate(process_cpu_seconds_total{job=\"antiphon\"}[5m])"}),
    ("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes{job=\"antiphon\"}"}),
)  # fmt: skip


def made() -> str:
    dashboard = {
        "title": "Antiphon",
        "uid": "antiphon",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, *panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _panel(number: int, title: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for place, (legend, expr) in enumerate(queries.items())
        ],
    }


if __name__ == "__main__":
    FILE.write_text(made(), encoding="utf-8")
