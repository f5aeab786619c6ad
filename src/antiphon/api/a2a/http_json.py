"""`/a2a/v1`: the HTTP+JSON binding. Paths and queries become the parameters of the methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from antiphon.api.a2a.bindings import HttpBinding
from antiphon.api.a2a.methods import call_method
from antiphon.api.http.table import Call
from antiphon.errors import NotFound

BINDING = HttpBinding()
TASK_VERBS = {"cancel": "CancelTask", "subscribe": "SubscribeToTask"}
"""The methods that a task's address names after a colon."""


def _with_body(method: str, name: str) -> Callable[[Call], Awaitable[Response]]:
    async def handle(call: Call) -> Response:
        return await call_method(call, BINDING, method, call.body)

    handle.__name__ = name
    return handle


send_a2a_message = _with_body("SendMessage", "send_a2a_message")
stream_a2a_message = _with_body("SendStreamingMessage", "stream_a2a_message")


async def list_a2a_tasks(call: Call) -> Response:
    return await call_method(call, BINDING, "ListTasks", _query(call))


async def get_a2a_task(call: Call) -> Response:
    """The task, or its stream where the address ends in `:subscribe`."""
    task_id, _, verb = call.path["id"].partition(":")
    if verb not in ("", "subscribe"):
        raise NotFound("address")
    method = TASK_VERBS[verb] if verb else "GetTask"
    return await call_method(call, BINDING, method, _query(call) | {"id": task_id})


async def change_a2a_task(call: Call) -> Response:
    """`:cancel` or `:subscribe` after the id say what to do."""
    task_id, _, verb = call.path["id"].partition(":")
    if verb not in TASK_VERBS:
        raise NotFound("address")
    return await call_method(call, BINDING, TASK_VERBS[verb], {"id": task_id})


async def configure_a2a_push(call: Call) -> Response:
    return await call_method(call, BINDING, "CreateTaskPushNotificationConfig", {})


async def list_a2a_push(call: Call) -> Response:
    return await call_method(call, BINDING, "ListTaskPushNotificationConfigs", {})


async def get_a2a_push(call: Call) -> Response:
    return await call_method(call, BINDING, "GetTaskPushNotificationConfig", {})


async def delete_a2a_push(call: Call) -> Response:
    return await call_method(call, BINDING, "DeleteTaskPushNotificationConfig", {})


async def get_extended_a2a_card(call: Call) -> Response:
    return await call_method(call, BINDING, "GetExtendedAgentCard", {})


def _query(call: Call) -> dict[str, Any]:
    return dict(call.request.query_params)
