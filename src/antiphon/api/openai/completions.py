"""`/v1/chat/completions`: the history is in the request, or in a chat that a header names."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.api.http.translated import TranslatedAnswer, TranslatedStream, Translation
from antiphon.api.named_chats import chat_id_of, chats_of, find_chat
from antiphon.api.openai import shapes as s
from antiphon.api.openai.opened import OpenedTurn, open_turn
from antiphon.api.openai.responses import WAIT_S, forget
from antiphon.api.openai.turns import PROTOCOL, Turns, Wanted, key_of, model_of
from antiphon.core.events import Event
from antiphon.errors import Invalid
from antiphon.wire.codec import encode
from antiphon.wire.openai.chat_messages import first_new, read_messages
from antiphon.wire.openai.completion import CompletionStream
from antiphon.wire.openai.errors import error_json
from antiphon.wire.openai.ids import ResponseId
from antiphon.wire.openai.settings import check_format, function_tools, header_of, ignored_settings

CHAT_HEADER = "antiphon-chat-id"
"""Names the chat of a request: its id, or any text that the client chooses. Every response has it."""


class CompletionTranslation(Translation):
    """The server-sent events of a chat completion, or the object."""

    def __init__(self, turn: OpenedTurn, *, is_streamed: bool, include_usage: bool = False) -> None:
        self._output = turn.output()
        self._include_usage = include_usage
        self.stream = CompletionStream(turn.info, is_sent=is_streamed)

    @property
    def is_complete(self) -> bool:
        return self.stream.is_complete

    def begin(self) -> bytes:
        return _sse(self.stream.begin())

    def apply(self, event: Event) -> bytes:
        chunks = self.stream.apply(self._output.apply(event))
        if not self.is_complete:
            return _sse(chunks)
        if self.stream.error is not None:
            return _sse([*chunks, error_json(500, self.stream.error)]) + DONE
        return _sse([*chunks, self.stream.usage_chunk()] if self._include_usage else chunks) + DONE

    def cut_off(self, reason: str) -> bytes:
        message = f"The server closed the stream ({reason}); the answer is in the chat."
        return _sse([error_json(503, {"code": "stream_closed", "message": message})])

    def handle(self, event: Event) -> bool:
        self.stream.apply(self._output.apply(event))
        return self.is_complete

    def answer(self) -> Any:
        """The object, or the error of a turn that has failed. A client must not repeat it by itself: each request
        is another turn."""
        error, status = self.stream.error, 500
        if error is None and self.is_complete:
            return self.stream.completion()
        if error is None:  # the time is up, or the server stops
            message = f"The turn is still running; its answer will be in the chat {self.stream.info.id.chat_id}."
            error, status = {"code": "not_finished", "message": message}, 503
        return JsonAnswer(error_json(status, error), status, {"x-should-retry": "false"})


DONE = b"data: [DONE]\n\n"


def _sse(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: %b\n\n" % encode(chunk) for chunk in chunks)


async def create_completion(call: Call) -> Response:
    body: s.CompletionBody = call.body
    if body.n not in (None, 1):
        raise Invalid("n", "one answer to a request")
    check_format(body.response_format, "response_format")
    turn_id = await _start(call, body)
    turn = await open_turn(call, turn_id, given={})
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    translation = CompletionTranslation(turn, is_streamed=bool(body.stream), include_usage=include_usage)
    settings = {name: getattr(body, name) for name in s.Settings.__struct_fields__}
    headers = header_of(ignored_settings(settings, body.tool_choice)) | {CHAT_HEADER: turn_id.chat_id}
    is_new = CHAT_HEADER not in call.request.headers
    on_complete = forget(call, turn_id) if is_new and body.store is False else None
    if body.stream:
        return TranslatedStream(
            turn.opened, turn.watcher, translation, headers=headers.items(), on_complete=on_complete
        )
    return TranslatedAnswer(
        turn.opened,
        turn.watcher,
        apply=translation.handle,
        answer=translation.answer,
        wait_s=WAIT_S,
        headers=headers,
        on_complete=on_complete,
    )


async def _start(call: Call, body: s.CompletionBody) -> ResponseId:
    turns = Turns(chats_of(call))
    name: str = call.request.headers.get(CHAT_HEADER, "")
    chat_id = chat_id_of(call, PROTOCOL, name, field=CHAT_HEADER, kind="chat") if name else ""
    key = key_of(call)
    is_known = (
        bool(chat_id) and await find_chat(call, chat_id) is not None and not await turns.has_begun(chat_id, key)
    )
    first = first_new(body.messages) if is_known else 0
    tools = function_tools(body.tools, is_nested=True) if body.tools is not None else None
    wanted = Wanted(
        input=read_messages(body.messages, first),
        model=model_of(body.model),
        tools=() if body.tool_choice == "none" else tools,
        labels=body.metadata or {},
        key=key,
    )
    if is_known:
        return await turns.go_on(chat_id, wanted)
    return await turns.begin(wanted, chat_id=chat_id)
