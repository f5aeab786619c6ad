"""The routes outside the API: health, readiness, metrics, the OpenAPI document."""

from __future__ import annotations

from typing import Any

from prometheus_client import generate_latest
from starlette.responses import Response

from antiphon.api.http import shapes as s
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Answer, Call, Operation, Policy
from antiphon.observe.metrics import METRICS


async def healthz(call: Call) -> Response:
    """Alive, and who."""
    return JsonAnswer({"status": "ok", "instance_id": call.instance.instance_id, "role": call.instance.role})


async def readyz(call: Call) -> Response:
    """Ready for work; open to all, so without detail (the log and the metrics have it). What is only slower is named,
    and no reason to send the work elsewhere: the other replicas would have the same trouble."""
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


async def openapi(call: Call) -> Response:
    from antiphon.api.http.app import OPERATIONS
    from antiphon.api.http.openapi import openapi_document

    return JsonAnswer(openapi_document(OPERATIONS))


def _route(path: str, handler: object, policy: Policy, summary: str, *answers: Answer) -> Operation:
    return Operation(
        method="GET",
        path=path,
        name=handler.__name__,  # type: ignore[attr-defined]
        summary=summary,
        policy=policy,
        handler=handler,  # type: ignore[arg-type]
        answers=answers,
        prefix="",
    )


ROUTES: tuple[Operation, ...] = (
    _route("/healthz", healthz, Policy.OPEN, "Whether it is alive.", Answer(status=200, type=s.HealthAnswer)),
    _route(
        "/readyz",
        readyz,
        Policy.OPEN,
        "Whether it is ready for work.",
        Answer(status=200, type=s.ReadyAnswer),
        Answer(status=503, type=s.ReadyAnswer),
    ),
    _route("/metrics", metrics, Policy.ADMIN, "Metrics for Prometheus.", Answer(status=200)),
    _route("/openapi.json", openapi, Policy.OPEN, "This document.", Answer(status=200, type=s.Json)),
)
