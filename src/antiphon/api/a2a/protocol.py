"""The routes of A2A, and the shape of its errors."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.a2a.card import PATH as CARD_PATH
from antiphon.api.a2a.card import RPC_PATH, get_agent_card
from antiphon.api.a2a.endpoint import handle_a2a, refused
from antiphon.api.a2a.tasks import NAME
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes.errors import RpcErrorAnswer
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Operation, Policy, route
from antiphon.api.protocol import Protocol, kept_headers
from antiphon.wire.a2a.errors import error_of

ROUTES: tuple[Operation, ...] = (
    route("GET", CARD_PATH, get_agent_card, Policy.OPEN, "The agent card of A2A.",
          (200, Json), (304, None), prefix="", protocol=NAME, error_type=RpcErrorAnswer),
    route("POST", RPC_PATH, handle_a2a, Policy.OWNER,
          "A request of A2A 1.0: JSON-RPC, answered with JSON or with server-sent events.",
          (200, Any), body=Any, prefix="", protocol=NAME, may_stream=True, error_type=RpcErrorAnswer),
)  # fmt: skip


def refusal(answer: JsonAnswer) -> JsonAnswer:
    """An error of this server's own API as JSON-RPC, for requests that were not read."""
    detail = msgspec.json.decode(answer.body)["error"]
    status = 400 if answer.status_code == 422 else answer.status_code
    return refused(error_of(detail, status=answer.status_code, is_read=False), status, kept_headers(answer))


PROTOCOL = Protocol(
    name=NAME,
    title="A2A 1.0: JSON-RPC",
    prefixes=(RPC_PATH, CARD_PATH),
    routes=ROUTES,
    refusal=refusal,
)
