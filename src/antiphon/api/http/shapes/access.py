"""The bodies of the routes of sessions and tokens."""

from __future__ import annotations

from antiphon.api.http.shapes.values import Name
from antiphon.core.values import Value


class SessionBody(Value):
    token: str


class CreateTokenBody(Value):
    owner: Name
    admin: bool = False


class TokenAnswer(Value):
    id: str
    owner_id: str
    owner: str
    admin: bool
    created_at: str
    revoked_at: str | None
    token: str = ""


class TokensAnswer(Value):
    tokens: list[TokenAnswer]


class SessionAnswer(Value):
    owner_id: str
    owner: str
    admin: bool
