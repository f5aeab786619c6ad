"""`/v1/responses`: create, retrieve, resume, cancel, delete, and the items of the input."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.api.http.translated import TranslatedAnswer, TranslatedStream, Translation
from antiphon.api.idempotency import key_of
from antiphon.api.named_chats import chats_of
from antiphon.api.openai import shapes as s
from antiphon.api.openai.listing import listed_items
from antiphon.api.openai.opened import OpenedTurn, open_turn
from antiphon.api.openai.turns import Turns, Wanted, model_of
from antiphon.core.events import CaughtUp, Delta, Event, FactEvent
from antiphon.core.model import Chat
from antiphon.errors import Invalid, NotAllowedNow
from antiphon.wire.openai.ids import ResponseId, parse_conversation_id, parse_response_id
from antiphon.wire.openai.items import read_input
from antiphon.wire.openai.response import ResponseStream
from antiphon.wire.openai.response_items import StreamEvent
from antiphon.wire.openai.settings import check_format, function_tools, header_of, ignored_settings
from antiphon.wire.turn_output import PartText

WAIT_S = 600.0
"""Maximum time a request without a stream waits for the end of its response, in seconds. Then the response is
returned as it is, in progress: the client may poll it."""
CANCEL_WAIT_S = 5.0
"""Maximum time a cancellation waits for the end of the turn, in seconds."""
SNAPSHOT_WAIT_S = 30.0
"""Maximum time in which a stored response is read, in seconds."""


class ResponseTranslation(Translation):
    """The server-sent events of a Response, or the object as of now."""

    def __init__(self, turn: OpenedTurn, starting_after: int = -1) -> None:
        self._output = turn.output()
        self.stream = ResponseStream(turn.info, starting_after)

    @property
    def is_complete(self) -> bool:
        return self.stream.is_complete

    def begin(self) -> bytes:
        return _sse(self.stream.begin())

    def apply(self, event: Event) -> bytes:
        if type(event) is Delta and not self.stream.is_complete:
            outputs = self._output.apply(event)
            if len(outputs) == 1 and type(output := outputs[0]) is PartText:
                return self.stream.delta_sse(output)
            return _sse(self.stream.apply(outputs))
        self._note_time(event)
        return _sse(self.stream.apply(self._output.apply(event)))

    def _note_time(self, event: Event) -> None:
        if isinstance(event, FactEvent) and not self.stream.is_complete:
            self.stream.at = event.at

    def pieces(self, event: Event) -> Iterator[bytes]:
        self._note_time(event)
        for made in self.stream.events(self._output.apply(event)):
            yield _sse([made])

    def cut_off(self, reason: str) -> bytes:
        number = self.stream.resume_number
        message = f"The server closed the stream ({reason}); retrieve the response with starting_after={number}."
        return _sse([self.stream.error("stream_closed", message)])

    def handle(self, event: Event) -> bool:
        """Apply an event; whether the response is complete."""
        self.apply(event)
        return self.is_complete

    def handle_stored(self, event: Event) -> bool:
        """Apply an event; whether all that is stored has come. A turn that was retried goes on after its end."""
        self.apply(event)
        return isinstance(event, CaughtUp) or self._output.is_past


def _sse(events: list[StreamEvent]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event.type.encode(), event.data) for event in events)


# --- create


async def create_response(call: Call) -> Response:
    body: s.CreateResponseBody = call.body
    wanted, ignored = _wanted(call, body)
    turns = Turns(chats_of(call))
    if body.previous_response_id and body.conversation is not None:
        raise Invalid("conversation", "give previous_response_id or conversation, not both")
    if body.background and body.store is False:
        raise Invalid("store", "a response in the background is stored")
    if body.previous_response_id:
        response_id = await turns.follow(parse_response_id(body.previous_response_id), wanted)
    elif body.conversation is not None:
        response_id = await _of_conversation(turns, body.conversation, wanted)
    else:
        response_id = await turns.begin(wanted)
    given: dict[str, Any] = {
        "background": bool(body.background),
        "store": body.store is not False,
        "previous_response_id": body.previous_response_id,
    }
    turn = await open_turn(call, response_id, given=given)
    translation = ResponseTranslation(turn)
    headers = header_of(ignored)
    is_new = not body.previous_response_id and body.conversation is None
    on_complete = forget(call, response_id) if is_new and body.store is False else None
    if body.stream:
        return TranslatedStream(
            turn.opened, turn.watcher, translation, headers=headers.items(), on_complete=on_complete
        )
    if body.background:
        await turn.close()
        return JsonAnswer(translation.stream.response(), 200, headers)
    return _until_complete(turn, translation, WAIT_S, headers=headers, on_complete=on_complete)


def _wanted(call: Call, body: s.CreateResponseBody) -> tuple[Wanted, list[str]]:
    check_format(body.text.format if body.text else None, "text.format")
    tools = function_tools(body.tools, is_nested=False) if body.tools is not None else None
    wanted = Wanted(
        input=read_input(body.input),
        model=model_of(body.model),
        system=body.instructions,
        tools=() if body.tool_choice == "none" else tools,
        labels=body.metadata or {},
        key=key_of(call),
    )
    settings = {name: getattr(body, name) for name in s.Settings.__struct_fields__}
    return wanted, ignored_settings(settings, body.tool_choice)


async def _of_conversation(turns: Turns, conversation: str | s.ConversationParam, wanted: Wanted) -> ResponseId:
    name = conversation if isinstance(conversation, str) else conversation.id
    return await turns.go_on(parse_conversation_id(name), wanted)


def forget(call: Call, response_id: ResponseId) -> Callable[[], Awaitable[None]]:
    """`store: false`: the chat that this request has created is deleted once its answer was delivered, unless it has
    other turns by then."""

    async def delete() -> None:
        chats = chats_of(call)
        chat = await chats.get(response_id.chat_id)
        if chat.is_idle and await _is_only_turn(call, response_id, chat):
            with contextlib.suppress(NotAllowedNow):  # another request has used it meanwhile
                await chats.delete(response_id.chat_id, upto=chat.seq)

    return delete


async def _is_only_turn(call: Call, response_id: ResponseId, chat: Chat) -> bool:
    """Whether no other turn has run in the chat: its history may have come with the request."""
    has_other = await chats_of(call).has_run_before(response_id.chat_id, response_id.turn_id)
    return chat.last_turn_id == response_id.turn_id and not chat.queue and not has_other


def _until_complete(
    turn: OpenedTurn,
    translation: ResponseTranslation,
    wait_s: float,
    *,
    headers: dict[str, str] | None = None,
    on_complete: Callable[[], Awaitable[None]] | None = None,
) -> Response:
    return TranslatedAnswer(
        turn.opened,
        turn.watcher,
        apply=translation.handle,
        answer=translation.stream.response,
        wait_s=wait_s,
        headers=headers,
        on_complete=on_complete,
    )


# --- retrieve


async def retrieve_response(call: Call) -> Response:
    query: s.RetrieveQuery = call.query
    turn = await open_turn(call, parse_response_id(call.path["response_id"]))
    if query.stream:
        return TranslatedStream(turn.opened, turn.watcher, ResponseTranslation(turn, query.starting_after))
    translation = ResponseTranslation(turn)
    return TranslatedAnswer(
        turn.opened,
        turn.watcher,
        apply=translation.handle_stored,
        answer=translation.stream.response,
        wait_s=SNAPSHOT_WAIT_S,
    )


async def cancel_response(call: Call) -> Response:
    """Interrupt the turn of a response, and wait a moment for its end. A response that is over stays as it is."""
    turn = await open_turn(call, parse_response_id(call.path["response_id"]))
    try:
        await chats_of(call).interrupt(turn.id.chat_id, turn.id.turn_id)
    except BaseException:
        await turn.close()
        raise
    return _until_complete(turn, ResponseTranslation(turn), CANCEL_WAIT_S)


async def delete_response(call: Call) -> Response:
    """Delete the chat of a response. One that is a part of a longer chat cannot be deleted by itself."""
    text = call.path["response_id"]
    turn = await open_turn(call, parse_response_id(text))
    await turn.close()
    chat = await chats_of(call).get(turn.id.chat_id)
    if not await _is_only_turn(call, turn.id, chat):
        raise Invalid("response_id", "this response is a part of a longer conversation; delete the conversation")
    await chats_of(call).delete(turn.id.chat_id, upto=chat.seq)
    return JsonAnswer({"id": text, "object": "response", "deleted": True})


async def list_input_items(call: Call) -> Response:
    """All that the model was given for this response: the messages up to its beginning."""
    turn = await open_turn(call, parse_response_id(call.path["response_id"]))
    await turn.close()
    return await listed_items(call, turn.id.chat_id, upto=turn.id.after)
