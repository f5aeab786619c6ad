"""The route table: every route with its policy, request and answer. Routing, /openapi.json, the authorization
matrix and the reference in docs/http.md are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from antiphon.core.values import Value
from antiphon.errors import Invalid, NotFound
from antiphon.instance import Instance
from antiphon.ports import Token

API = "/api/v1"
CHAT_ID_MAX = 128
BODY_BYTES_MAX = 8 * 1024 * 1024
SMALL_BODY_MAX = 16 * 1024


class Policy(StrEnum):
    """Who may: anyone; whoever has a token, for what is their own; the admin only."""

    OPEN = "open"
    OWNER = "owner"
    ADMIN = "admin"


class Call:
    """One request on its way to a handler: who asks, and what, already checked."""

    __slots__ = ("body", "instance", "path", "query", "request", "token")

    def __init__(
        self,
        instance: Instance,
        request: Request,
        *,
        token: Token | None,
        path: dict[str, Any],
        query: Any,
        body: Any,
    ) -> None:
        self.instance = instance
        self.request = request
        self.token = token
        self.path = path
        self.query = query
        self.body = body

    @property
    def owner_id(self) -> str:
        assert self.token is not None, "the route's policy asks for a token"
        return self.token.owner_id

    @property
    def chat_id(self) -> str:
        """Raises `NotFound` for what is too long to be an id (what is asked for is remembered for a while)."""
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
    """One status a route answers with, and the body's type (None: no body)."""

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
    repeat_by: str = ""
    """The body's field that holds the client's own id: with it a request may be sent again."""
    prefix: str = API

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
