"""`/api/ui/chat`: send and stream, resume, stop."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer, no_content
from antiphon.api.http.table import Call
from antiphon.api.named_chats import chat_id_of, chats_of, find_chat
from antiphon.api.turn_targets import Target, restart_of, stop_turn
from antiphon.api.ui_stream.answers import stream_answer
from antiphon.api.ui_stream.shapes import ChatBody, MessagesQuery, StopBody, Stopped, UiMessages
from antiphon.api.ui_stream.turns import UiTurns
from antiphon.errors import NotFound
from antiphon.wire.ui_stream.history import ui_messages

NAME = "ui"
RESTARTS_MAX = 200
"""Maximum number of restarts that are read for a page of messages. Beyond it a message has the id of an earlier
answer of its turn, and is regenerated once more only after a repeat of the request."""


async def send_ui_message(call: Call) -> Response:
    body: ChatBody = call.body
    chat_id = chat_id_of(call, NAME, body.id)
    target = await UiTurns(call, chat_id).start(await find_chat(call, chat_id))
    return await stream_answer(call, target)


async def list_ui_messages(call: Call) -> Response:
    """The messages of the chat, for a page that is loaded. The answer in progress is left out: it is resumed."""
    query: MessagesQuery = call.query
    chats, chat_id = chats_of(call), chat_id_of(call, NAME, call.path["id"])
    chat = await find_chat(call, chat_id)
    if chat is None:
        return JsonAnswer(UiMessages(id=call.path["id"], messages=[], has_more=False))
    page = await chats.page(chat_id, limit=query.limit)
    first = page.messages[0].seq - 1 if page.messages else 0
    shown = ui_messages(
        chat_id, page.messages, running_turn_id=chat.turn_id, restarts=await _restarts(call, chat_id, first)
    )
    return JsonAnswer(UiMessages(id=call.path["id"], messages=shown, has_more=page.has_more))


async def _restarts(call: Call, chat_id: str, after: int) -> dict[int, int]:
    """The facts after a fact that restarted turns last, by turn."""
    found: dict[int, int] = {}
    for _ in range(RESTARTS_MAX):
        restart: Any = await call.instance.store.oldest_entry(chat_id, "turn_restarted", after_seq=after)
        if restart is None:
            break
        after = found[restart.fact.turn_id] = restart.seq
    return found


async def resume_ui_stream(call: Call) -> Response:
    """The answer that is being written, from its beginning, also while it waits for clients. None at rest."""
    chat_id = chat_id_of(call, NAME, call.path["id"])
    try:
        chat = await chats_of(call).get(chat_id)
    except NotFound:
        return no_content()
    if chat.is_idle:
        return no_content()
    turn_id = chat.turn_id
    after = await restart_of(call, chat_id, turn_id) or turn_id
    return await stream_answer(call, Target(chat_id=chat_id, turn_id=turn_id, after=after))


async def stop_ui_chat(call: Call) -> Response:
    """Interrupt the turn that is in progress now."""
    body: StopBody = call.body or StopBody()
    chat_id = chat_id_of(call, NAME, call.path["id"])
    return JsonAnswer(Stopped(interrupted=await stop_turn(call, chat_id, clear_queue=body.clear_queue)))
