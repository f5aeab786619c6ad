"""The routes of OpenAI's protocol, and the shape of its errors."""

from __future__ import annotations

from functools import wraps
from typing import Any

import msgspec
from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer, error_answer
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Call, Handler, Operation, Policy, route
from antiphon.api.openai import completions, conversations, models, responses
from antiphon.api.openai import shapes as s
from antiphon.api.openai.opened import AfterStart
from antiphon.api.protocol import Protocol, kept_headers
from antiphon.wire.openai.errors import error_json, error_status

NAME = "openai"
PREFIX = "/v1"

RETRY_HEADER = "x-should-retry"
"""Whether OpenAI's clients may repeat a request by themselves."""

_OWNER = Policy.OWNER


def _route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Operation:
    more["error_type"] = s.OpenAIErrorAnswer
    return route(method, path, handler, _OWNER, summary, (200, Json), prefix=PREFIX, protocol=NAME, **more)


def _starting(handler: Handler) -> Handler:
    """A handler that starts a turn. OpenAI's clients repeat a request by themselves after 429 and 5xx: an error after
    the turn has started says that they must not, as the repeat would start another one."""

    @wraps(handler)
    async def handle(call: Call) -> Response:
        try:
            return await handler(call)
        except AfterStart as error:
            cause = error.__cause__
            assert isinstance(cause, Exception)
            answer = refusal(error_answer(cause))
            cause.__traceback__ = None  # it would keep the request in memory
        answer.headers[RETRY_HEADER] = "false"
        return answer

    return handle


ROUTES: tuple[Operation, ...] = (
    _route("POST", "/responses", _starting(responses.create_response),
           "Send a message, or the results of tools; the answer as JSON or as a stream.", body=s.CreateResponseBody,
           may_stream=True),
    _route("GET", "/responses/{response_id}", responses.retrieve_response,
           "A response; with `stream=true` its events after `starting_after`.", query=s.RetrieveQuery,
           may_stream=True),
    _route("DELETE", "/responses/{response_id}", responses.delete_response, "Delete the chat of a response."),
    _route("POST", "/responses/{response_id}/cancel", responses.cancel_response, "Interrupt the turn of a response."),
    _route("GET", "/responses/{response_id}/input_items", responses.list_input_items,
           "What the model was given.", query=s.ListQuery),
    _route("POST", "/chat/completions", _starting(completions.create_completion),
           "Answer messages, with the history in the request or in a chat; as JSON or as a stream.",
           body=s.CompletionBody, may_stream=True),
    _route("POST", "/conversations", conversations.create_conversation, "Create an empty conversation.",
           body=s.ConversationBody, is_body_optional=True),
    _route("GET", "/conversations/{conversation_id}", conversations.retrieve_conversation, "One conversation."),
    _route("POST", "/conversations/{conversation_id}", conversations.update_conversation,
           "Set the metadata of a conversation.", body=s.ConversationBody),
    _route("DELETE", "/conversations/{conversation_id}", conversations.delete_conversation,
           "Delete a conversation and its content."),
    _route("GET", "/conversations/{conversation_id}/items", conversations.list_conversation_items,
           "The items of a conversation.", query=s.ListQuery),
    _route("GET", "/models", models.list_models, "The models that a request may name."),
    _route("GET", "/models/{model}", models.retrieve_model, "One model."),
)  # fmt: skip


def refusal(answer: JsonAnswer) -> JsonAnswer:
    """An error of this server's own API in OpenAI's shape, with its headers."""
    detail = msgspec.json.decode(answer.body)["error"]
    status = error_status(answer.status_code)
    kept = kept_headers(answer)
    if detail.get("is_uncertain"):
        kept[RETRY_HEADER] = "false"
    return JsonAnswer(error_json(status, detail), status, kept)


PROTOCOL = Protocol(
    name=NAME,
    title="OpenAI: Responses, Conversations, Chat Completions, Models",
    prefixes=(f"{PREFIX}/",),
    routes=ROUTES,
    refusal=refusal,
)
