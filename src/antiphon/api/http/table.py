"""The route table: every route with its policy, request and answer. Routing, /openapi.json, the authorization
matrix and the reference in docs/http.md are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from antiphon.api.cancellation import CancellableRequests
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.shapes.errors import ErrorAnswer
from antiphon.chats.chat_fields import HTTP
from antiphon.core.values import Value
from antiphon.errors import Invalid, NotFound
from antiphon.instance import Instance
from antiphon.ports import Token

API = "/api/v1"
CHAT_ID_MAX = 128
"""Maximum length of a chat's id in a path."""
BODY_BYTES_MAX = 8 * 1024 * 1024
"""Maximum size of a request's body unless its route or the option says otherwise, in bytes."""
SMALL_BODY_MAX = 16 * 1024
"""Maximum size of the body of a route that needs little, in bytes."""


class Policy(StrEnum):
    """Who may use a route: everyone; who has a link to a chat; an owner with a token; an admin with a token."""

    OPEN = "open"
    SHARE = "share"
    OWNER = "owner"
    ADMIN = "admin"


Dispatch = Callable[[Request, str, str, str, bytes], Awaitable[Response]]
"""Handles another request of the same client: its own request (for its access), method, path below `API`, query and
body. Raises what a request is refused with."""


class Call:
    """A request for a handler: authorized, with decoded path, query and body. `via` is the API that it came by.
    `cancellable` has the requests that other requests may cancel."""

    __slots__ = ("body", "cancellable", "dispatch", "instance", "limits", "path", "query", "request", "token", "via")

    def __init__(
        self,
        instance: Instance,
        request: Request,
        *,
        token: Token | None,
        path: dict[str, Any],
        query: Any,
        body: Any,
        limits: HttpLimits,
        cancellable: CancellableRequests,
        via: str = HTTP,
        dispatch: Dispatch | None = None,
    ) -> None:
        self.via = via
        self.cancellable = cancellable
        self.dispatch = dispatch
        self.instance = instance
        self.request = request
        self.token = token
        self.path = path
        self.query = query
        self.body = body
        self.limits = limits

    @property
    def owner_id(self) -> str:
        assert self.token is not None, "the policy of the route requires a token"
        return self.token.owner_id

    @property
    def chat_id(self) -> str:
        """Raises `NotFound` for a text beyond the maximum length of an id, so that none is cached."""
        chat_id: str = self.path["chat_id"]
        if len(chat_id) > CHAT_ID_MAX:
            raise NotFound
        return chat_id

    def id(self, name: str) -> int:
        """A numeric id of the path. Raises `Invalid`."""
        text = self.path[name]
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise Invalid(name, "a message's id is a whole number")
        return int(text)


Handler = Callable[[Call], Awaitable[Response]]


class Answer(Value):
    """A status of a response, and the type of its body (None: no body)."""

    status: int
    type: Any = None


class Operation(Value, gc=True):
    """One route."""

    method: str
    path: str
    name: str
    summary: str
    policy: Policy
    handler: Handler
    answers: tuple[Answer, ...]
    body: Any = None
    body_bytes_max: int = BODY_BYTES_MAX
    is_body_optional: bool = False
    query: type[msgspec.Struct] | None = None
    is_stream: bool = False
    is_websocket: bool = False
    """The route is a WebSocket, or may be used as one."""
    may_stream: bool = False
    """The response is a stream of events if the request says so."""
    is_upload: bool = False
    """The body is bytes, which the handler reads piece by piece."""
    is_download: bool = False
    """The response is bytes."""
    repeat_by: str = ""
    """The field of the body with the client's own id. A request that has one may be sent repeatedly."""
    prefix: str = API
    has_text_errors: bool = False
    """Errors are sentences as plain text."""
    error_type: Any = ErrorAnswer
    """The type of the body of an error, unless that is a text."""
    media_type: str = "application/json"
    """That of JSON responses, errors included."""
    protocol: str = ""
    """The protocol that the route belongs to (`api.protocols`); empty: the API of this server."""

    repeated: tuple[str, ...] = ()
    """The parameters of the query that may be given several times."""

    @property
    def full_path(self) -> str:
        return self.prefix + self.path


def route(
    method: str, path: str, handler: Any, policy: Policy, summary: str, *answers: tuple[int, Any], **more: Any
) -> Operation:
    """One line of the table. `answers` are statuses with the types of their bodies; `more` are further fields."""
    return Operation(
        method=method,
        path=path,
        name=handler.__name__,
        summary=summary,
        policy=policy,
        handler=handler,
        answers=tuple(Answer(status=status, type=kind) for status, kind in answers),
        **more,
    )
