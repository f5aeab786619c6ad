"""The routes outside the API: health, readiness and metrics."""

from __future__ import annotations

from typing import Any

from prometheus_client import generate_latest
from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes import system as s
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.observe.metrics import METRICS


async def healthz(call: Call) -> Response:
    """The liveness probe."""
    return JsonAnswer({"status": "ok", "instance_id": call.instance.instance_id, "role": call.instance.role})


async def readyz(call: Call) -> Response:
    """The readiness probe. It is open to all, so it has no detail (the log and the metrics have it). What is only
    slower is listed with status 200: all replicas have that problem, so a load balancer must not drop this one."""
    problems, slowed = call.instance.problems(), call.instance.health.degradations()
    shown: dict[str, Any] = {"status": "degraded" if problems or slowed else "ready"}
    if slowed:
        shown["slowed"] = sorted(slowed)
    if call.instance.health.warnings:
        shown["warnings"] = sorted(call.instance.health.warnings)
    return JsonAnswer(shown, 503 if problems else 200)


async def metrics(call: Call) -> Response:
    call.instance.update_gauges()
    return Response(generate_latest(METRICS.registry), media_type="text/plain; version=0.0.4; charset=utf-8")


_OPEN, _ADMIN = Policy.OPEN, Policy.ADMIN

ROUTES: tuple[Operation, ...] = (
    route("GET", "/healthz", healthz, _OPEN, "Whether the instance is alive.", (200, s.HealthAnswer), prefix=""),
    route("GET", "/readyz", readyz, _OPEN, "Whether the instance is ready for work.",
          (200, s.ReadyAnswer), (503, s.ReadyAnswer), prefix=""),
    route("GET", "/metrics", metrics, _ADMIN, "Metrics for Prometheus.", (200, None), prefix=""),
)  # fmt: skip
