"""The routes of the AI SDK's protocol, and the shape of its errors."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Operation, Policy, route
from antiphon.api.protocol import Protocol, kept_headers
from antiphon.api.ui_stream import chat
from antiphon.api.ui_stream import shapes as s

PREFIX = "/api/ui"
ERROR_HEADER = "antiphon-error"
"""The code of an error: its body is the sentence alone, because the AI SDK shows the body to the user."""


def _route(method: str, path: str, handler: Any, summary: str, *answers: tuple[int, Any], **more: Any) -> Operation:
    answers = answers or ((200, Json),)
    return route(
        method,
        path,
        handler,
        Policy.OWNER,
        summary,
        *answers,
        prefix=PREFIX,
        protocol=chat.NAME,
        has_text_errors=True,
        **more,
    )


ROUTES: tuple[Operation, ...] = (
    _route("POST", "/chat", chat.send_ui_message,
           "Send a message, an edit, answers to tool calls, or regenerate; the answer is a UI message stream.",
           body=s.ChatBody, may_stream=True),
    _route("GET", "/chat/{id}", chat.list_ui_messages,
           "The messages of a chat in the AI SDK's shape, without the answer in progress.", (200, s.UiMessages),
           query=s.MessagesQuery),
    _route("GET", "/chat/{id}/stream", chat.resume_ui_stream,
           "The answer in progress from its beginning, as a UI message stream; 204 at rest.",
           (200, Json), (204, None), may_stream=True),
    _route("POST", "/chat/{id}/stop", chat.stop_ui_chat, "Interrupt the turn in progress.", (200, s.Stopped),
           body=s.StopBody, is_body_optional=True),
)  # fmt: skip


class TextAnswer(JsonAnswer):
    """An error as a sentence."""

    media_type = "text/plain"


def refusal(answer: JsonAnswer) -> JsonAnswer:
    """An error of this server's own API as the AI SDK reads it: the body is the message."""
    detail = msgspec.json.decode(answer.body)["error"]
    status = 400 if answer.status_code == 422 else answer.status_code
    sentence = str(detail.get("message", "")).encode("utf-8", "replace")
    return TextAnswer(sentence, status, {**kept_headers(answer), ERROR_HEADER: str(detail.get("code", ""))})


PROTOCOL = Protocol(
    name=chat.NAME,
    title="Vercel AI SDK: UI message stream v1",
    prefixes=(f"{PREFIX}/",),
    routes=ROUTES,
    refusal=refusal,
)
