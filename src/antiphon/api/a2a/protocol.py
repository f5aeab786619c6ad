"""The routes of A2A's two bindings, and the shapes of their errors."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.a2a import http_json as h
from antiphon.api.a2a.bindings import A2aAnswer, Binding, HttpBinding, RpcBinding
from antiphon.api.a2a.card import HTTP_PATH, RPC_PATH, get_agent_card
from antiphon.api.a2a.card import PATH as CARD_PATH
from antiphon.api.a2a.endpoint import handle_a2a
from antiphon.api.a2a.tasks import NAME
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes.errors import RpcErrorAnswer, StatusErrorAnswer
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Operation, Policy, route
from antiphon.api.protocol import Protocol, kept_headers
from antiphon.wire.a2a.errors import error_of

TASK = "/tasks/{id}"
PUSH = f"{TASK}/pushNotificationConfigs"

ROUTES: tuple[Operation, ...] = (
    route("GET", CARD_PATH, get_agent_card, Policy.OPEN, "The agent card of A2A.",
          (200, Json), (304, None), prefix="", protocol=NAME, error_type=RpcErrorAnswer),
    route("POST", RPC_PATH, handle_a2a, Policy.OWNER,
          "A request of A2A 1.0: JSON-RPC, answered with JSON or with server-sent events.",
          (200, Any), body=Any, prefix="", protocol=NAME, may_stream=True, error_type=RpcErrorAnswer),
)  # fmt: skip


def _route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Operation:
    return route(method, path, handler, Policy.OWNER, summary, (200, Json), prefix=HTTP_PATH, protocol=NAME,
                 error_type=StatusErrorAnswer, media_type=A2aAnswer.media_type, **more)  # fmt: skip


HTTP_ROUTES: tuple[Operation, ...] = (
    _route("POST", "/message:send", h.send_a2a_message, "Send a message; the answer is its task.", body=Json),
    _route("POST", "/message:stream", h.stream_a2a_message, "Send a message; the answer is the stream of its task.",
           body=Json, may_stream=True),
    _route("GET", "/tasks", h.list_a2a_tasks, "Tasks, of one context or the newest of each."),
    _route("GET", TASK, h.get_a2a_task, "A task; with `:subscribe` after its id the stream of it.", may_stream=True),
    _route("POST", TASK, h.change_a2a_task, "Cancel a task (`:cancel` after its id), or `:subscribe` to it.",
           body=Any, is_body_optional=True, may_stream=True),
    _route("POST", PUSH, h.configure_a2a_push, "Refused: this server sends no push notifications.", body=Json),
    _route("GET", PUSH, h.list_a2a_push, "Refused: this server sends no push notifications."),
    _route("GET", PUSH + "/{config_id}", h.get_a2a_push, "Refused: this server sends no push notifications."),
    _route("DELETE", PUSH + "/{config_id}", h.delete_a2a_push, "Refused: this server sends no push notifications."),
    _route("GET", "/extendedAgentCard", h.get_extended_a2a_card, "Refused: there is one card."),
)  # fmt: skip


def _refusal(binding: Binding, answer: JsonAnswer) -> JsonAnswer:
    """An error of this server's own API in the shape of a binding, for requests that were not read."""
    detail = msgspec.json.decode(answer.body)["error"]
    status = 400 if answer.status_code == 422 else answer.status_code
    error = error_of(detail, status=answer.status_code, is_read=False)
    return binding.refusal(error, status, kept_headers(answer))


def rpc_refusal(answer: JsonAnswer) -> JsonAnswer:
    return _refusal(RpcBinding(), answer)


def http_refusal(answer: JsonAnswer) -> JsonAnswer:
    return _refusal(HttpBinding(), answer)


PROTOCOLS = (
    Protocol(
        name=NAME,
        title="A2A 1.0: HTTP+JSON",
        prefixes=(f"{HTTP_PATH}/",),
        routes=HTTP_ROUTES,
        refusal=http_refusal,
    ),
    Protocol(
        name=NAME,
        title="A2A 1.0: JSON-RPC",
        prefixes=(RPC_PATH, CARD_PATH),
        routes=ROUTES,
        refusal=rpc_refusal,
    ),
)
"""The bindings, the longer address first. One name turns both off."""
