"""The queries and answers of links to chats."""

from __future__ import annotations

from antiphon.api.http.shapes.chats import MessageAnswer
from antiphon.api.http.shapes.values import Count, Limit
from antiphon.core.values import Value


class ShareAnswer(Value):
    id: str
    chat_id: str
    created_at: str


class NewShareAnswer(ShareAnswer):
    """`secret` is the bearer token of `GET /shared`; the web UI shows the chat at `#/shared/<secret>`."""

    secret: str


class SharesAnswer(Value):
    shares: list[ShareAnswer]


class SharedQuery(Value):
    before_id: Count | None = None
    limit: Limit = 50


class SharedAnswer(Value):
    """The newest messages, or those before `before_id`, in ascending order."""

    title: str
    created_at: str
    updated_at: str
    messages: list[MessageAnswer]
    has_more: bool
