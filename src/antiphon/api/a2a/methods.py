"""The methods of A2A, the same in each binding."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from antiphon.api.a2a.bindings import Binding
from antiphon.api.a2a.listing import list_tasks
from antiphon.api.a2a.params import params_of
from antiphon.api.a2a.sending import Sending
from antiphon.api.a2a.tasks import Until, open_task
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chats_of
from antiphon.errors import AlreadyDelivered
from antiphon.wire.a2a.card import VERSION
from antiphon.wire.a2a.errors import (
    PUSH_NOT_SUPPORTED,
    TASK_NOT_CANCELABLE,
    UNSUPPORTED_OPERATION,
    VERSION_NOT_SUPPORTED,
    a2a_error,
)
from antiphon.wire.a2a.ids import TaskId, parse_task_id
from antiphon.wire.a2a.requests import GetParams, ListParams, SendParams, TaskParams
from antiphon.wire.a2a.states import CANCELED
from antiphon.wire.a2a.task import TaskView
from antiphon.wire.jsonrpc import METHOD_NOT_FOUND, RpcRefused

WAIT_S = 600.0
"""Maximum time a message waits for its task to end or to wait for the client, in seconds. Then the task is returned
as it is: the client may poll it or subscribe to it."""
CANCEL_WAIT_S = 5.0
"""Maximum time a cancellation waits for the end of the task, in seconds."""
VERSION_HEADER = "A2A-Version"
_VERSION = re.compile(r"1\.0(\.[0-9]{1,9})?", re.ASCII)

Json = dict[str, Any]


async def call_method(call: Call, binding: Binding, name: str, params: Any) -> Response:
    """The response to a request, also to a wrong one, in the shape of its binding."""
    try:
        _check_version(call)
        method = METHODS.get(name)
        if method is None:
            raise a2a_error(METHOD_NOT_FOUND, f"there is no method {name[:100]!r}")
        return await method(call, binding, params)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        return binding.failed(error)


def _check_version(call: Call) -> None:
    """Raises `RpcRefused`. A request without a version is one of 0.3, says the specification."""
    given = call.request.headers.get(VERSION_HEADER) or call.request.query_params.get(VERSION_HEADER) or "0.3"
    if not _VERSION.fullmatch(given.strip()):
        message = f"A2A {given[:20]} is not supported; this server speaks {VERSION}, named by {VERSION_HEADER}."
        raise a2a_error(VERSION_NOT_SUPPORTED, message, supportedVersions=VERSION)


# --- methods


async def _send(call: Call, binding: Binding, params: Any) -> Response:
    sending = Sending(call, params_of(params, SendParams))
    sent = await sending.send()
    configuration = sending.configuration
    until = Until.READ if configuration.return_immediately else Until.WAITS
    length = configuration.history_length

    def result(view: TaskView) -> Json:
        return {"task": view.snapshot(history_length=length)}

    opened = await open_task(call, sent.task_id)
    return opened.answer(binding, result, until, wait_s=WAIT_S, after=sent.after)


async def _send_streaming(call: Call, binding: Binding, params: Any) -> Response:
    """The stream ends with the task, or when the task waits for the client."""
    sent = await Sending(call, params_of(params, SendParams)).send()
    return (await open_task(call, sent.task_id)).stream(binding, Until.WAITS, after=sent.after)


async def _get_task(call: Call, binding: Binding, params: Any) -> Response:
    given = params_of(params, GetParams)
    view = await (await open_task(call, parse_task_id(given.id))).read()
    return binding.answer(lambda: view.snapshot(history_length=given.history_length))


async def _list_tasks(call: Call, binding: Binding, params: Any) -> Response:
    listed = await list_tasks(call, params_of(params, ListParams))
    return binding.answer(lambda: listed)


async def _cancel_task(call: Call, binding: Binding, params: Any) -> Response:
    """Interrupt the turn, or delete the queued message, and wait a moment for the end."""
    task_id = parse_task_id(params_of(params, TaskParams).id)
    view = await (await open_task(call, task_id)).read()
    if view.is_terminal:
        raise _not_cancelable(view, task_id)
    await _stop(call, task_id, view.turn_id)

    def result(view: TaskView) -> Json:
        if view.is_terminal and view.state != CANCELED:
            raise _not_cancelable(view, task_id)
        return view.snapshot()

    return (await open_task(call, task_id)).answer(binding, result, Until.ENDED, wait_s=CANCEL_WAIT_S)


async def _stop(call: Call, task_id: TaskId, turn_id: int) -> None:
    chats, chat_id = chats_of(call), task_id.chat_id
    if not turn_id:
        try:
            await chats.delete_queued(chat_id, task_id.message_id)
            return
        except AlreadyDelivered:  # its turn has just begun
            turn_id = (await (await open_task(call, task_id)).read()).turn_id
    await chats.interrupt(chat_id, turn_id)


def _not_cancelable(view: TaskView, task_id: TaskId) -> RpcRefused:
    return a2a_error(TASK_NOT_CANCELABLE, f"The task has ended: {view.state}.", taskId=str(task_id))


async def _subscribe(call: Call, binding: Binding, params: Any) -> Response:
    """The stream ends with the task."""
    task_id = parse_task_id(params_of(params, TaskParams).id)
    view = await (await open_task(call, task_id)).read()
    if view.is_terminal:
        raise a2a_error(UNSUPPORTED_OPERATION, f"The task has ended ({view.state}): GetTask has it.")
    return (await open_task(call, task_id)).stream(binding, Until.ENDED)


async def _push(call: Call, binding: Binding, params: Any) -> Response:
    raise a2a_error(PUSH_NOT_SUPPORTED, "This server sends no push notifications.")


async def _extended_card(call: Call, binding: Binding, params: Any) -> Response:
    raise a2a_error(UNSUPPORTED_OPERATION, "This agent has one card, at /.well-known/agent-card.json.")


METHODS: dict[str, Callable[[Call, Binding, Any], Awaitable[Response]]] = {
    "SendMessage": _send,
    "SendStreamingMessage": _send_streaming,
    "GetTask": _get_task,
    "ListTasks": _list_tasks,
    "CancelTask": _cancel_task,
    "SubscribeToTask": _subscribe,
    "CreateTaskPushNotificationConfig": _push,
    "GetTaskPushNotificationConfig": _push,
    "ListTaskPushNotificationConfigs": _push,
    "DeleteTaskPushNotificationConfig": _push,
    "GetExtendedAgentCard": _extended_card,
}
