"""`/agui`: run, join, stop."""

from __future__ import annotations

from starlette.responses import Response

from antiphon.api.agui.runs import AguiRuns
from antiphon.api.agui.shapes import JoinQuery, RunBody, StopBody, Stopped, without_effect
from antiphon.api.agui.streams import Given, empty_run, join, stream_run, whole_run
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chat_id_of, find_chat
from antiphon.api.turn_targets import stop_turn

NAME = "agui"


async def run_agui(call: Call) -> Response:
    body: RunBody = call.body
    chat_id = chat_id_of(call, NAME, body.thread_id, field="threadId")
    run = await AguiRuns(call, chat_id).start(await find_chat(call, chat_id))
    given = Given(
        thread_id=body.thread_id,
        run_id=body.run_id,
        messages=body.messages,
        state=body.state,
        ignored=tuple(without_effect(body)),
    )
    return await stream_run(call, chat_id, run, given)


async def join_agui(call: Call) -> Response:
    """The messages and the state, and the run in progress, also while it waits for clients."""
    query: JoinQuery = call.query
    chat_id = chat_id_of(call, NAME, call.path["thread_id"], field="threadId")
    given = Given(thread_id=call.path["thread_id"], run_id=query.run_id)
    if await find_chat(call, chat_id) is None:
        return whole_run(empty_run(given))
    return await join(call, chat_id, given)


async def stop_agui(call: Call) -> Response:
    """Interrupt the turn that is in progress now."""
    body: StopBody = call.body or StopBody()
    chat_id = chat_id_of(call, NAME, call.path["thread_id"], field="threadId")
    return JsonAnswer(Stopped(interrupted=await stop_turn(call, chat_id, clear_queue=body.clear_queue)))
