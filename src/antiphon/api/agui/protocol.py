"""The routes of AG-UI, and the shape of its errors."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.agui import chat
from antiphon.api.agui import shapes as s
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Operation, Policy, route
from antiphon.api.protocol import Protocol, kept_headers

PREFIX = "/agui"


def _route(method: str, path: str, handler: Any, summary: str, answer: Any, **more: Any) -> Operation:
    return route(
        method, path, handler, Policy.OWNER, summary, (200, answer), prefix=PREFIX, protocol=chat.NAME, **more
    )


ROUTES: tuple[Operation, ...] = (
    _route("POST", "", chat.run_agui,
           "Run: send a message, results of tools, or answers to interrupts; the answer is a stream of events.",
           Json, body=s.RunBody, may_stream=True),
    _route("GET", "/{thread_id}", chat.join_agui,
           "Join: the messages, the state, and the run in progress, as a stream of events.",
           Json, query=s.JoinQuery, may_stream=True),
    _route("POST", "/{thread_id}/stop", chat.stop_agui, "Interrupt the turn in progress.",
           s.Stopped, body=s.StopBody, is_body_optional=True),
)  # fmt: skip


def refusal(answer: JsonAnswer) -> JsonAnswer:
    """An error of this server's own API, and beside it the fields of the event that AG-UI has for errors."""
    detail = msgspec.json.decode(answer.body)["error"]
    status = 400 if answer.status_code == 422 else answer.status_code
    event = {"type": "RUN_ERROR", "message": detail.get("message", ""), "code": detail.get("code", "")}
    return JsonAnswer(event | {"error": detail}, status, kept_headers(answer))


PROTOCOL = Protocol(
    name=chat.NAME,
    title="AG-UI 1.0",
    prefixes=(PREFIX,),
    routes=ROUTES,
    refusal=refusal,
)
