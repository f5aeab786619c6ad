"""The routes of sessions and tokens."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer, no_content
from antiphon.api.http.auth import cookie_name, session_secret
from antiphon.api.http.shapes import access as s
from antiphon.api.http.table import SMALL_BODY_MAX, Call, Operation, Policy, route
from antiphon.errors import Invalid, Unauthenticated
from antiphon.ports import Token
from antiphon.wire.gotime import format_time_us

COOKIE_S = 365 * 24 * 3600
"""How long a browser keeps the cookie; the session in it expires by itself when it is not used."""


async def open_session(call: Call) -> Response:
    """Open a session for a token; its secret is the session cookie."""
    session = await call.instance.tokens.open_session(call.body.token)
    token = session.token
    answer = JsonAnswer({"owner_id": token.owner_id, "owner": token.owner_name, "admin": token.is_admin})
    answer.set_cookie(
        cookie_name(call.request),
        session.secret,
        max_age=COOKIE_S,
        httponly=True,
        samesite="strict",
        secure=call.request.url.scheme == "https",
        path="/",
    )
    return answer


async def get_session(call: Call) -> Response:
    token = call.token
    if token is None:
        raise Unauthenticated
    return JsonAnswer({"owner_id": token.owner_id, "owner": token.owner_name, "admin": token.is_admin})


async def close_session(call: Call) -> Response:
    """Revoke the session: its streams end on every instance, and the cookie becomes invalid."""
    secret = session_secret(call.request)
    if secret is not None:
        await call.instance.tokens.close_session(secret)
    answer = no_content()
    answer.delete_cookie(cookie_name(call.request), path="/", httponly=True, samesite="strict")
    return answer


async def create_token(call: Call) -> Response:
    body: s.CreateTokenBody = call.body
    if not body.owner.isprintable():
        raise Invalid("owner", "a name of printable characters")
    new = await call.instance.owners.create_token(body.owner, is_admin=body.admin)
    return JsonAnswer(_token_json(new.token) | {"token": new.secret}, 201)


async def list_tokens(call: Call) -> Response:
    return JsonAnswer({"tokens": [_token_json(token) for token in await call.instance.tokens.list()]})


async def revoke_token(call: Call) -> Response:
    await call.instance.tokens.revoke(call.path["token_id"])
    return no_content()


def _token_json(token: Token) -> dict[str, Any]:
    return {
        "id": token.token_id,
        "owner_id": token.owner_id,
        "owner": token.owner_name,
        "admin": token.is_admin,
        "created_at": format_time_us(token.created_at),
        "revoked_at": format_time_us(token.revoked_at) if token.revoked_at else None,
    }


_OWNER, _ADMIN, _OPEN = Policy.OWNER, Policy.ADMIN, Policy.OPEN

ROUTES: tuple[Operation, ...] = (
    route("POST", "/session", open_session, _OPEN, "Sign in: exchange a token for a session cookie.",
          (200, s.SessionAnswer), body=s.SessionBody, body_bytes_max=SMALL_BODY_MAX),
    route("GET", "/session", get_session, _OWNER, "The owner that is signed in.", (200, s.SessionAnswer)),
    route("DELETE", "/session", close_session, _OPEN, "Sign out.", (204, None)),
    route("POST", "/tokens", create_token, _ADMIN, "Create a token for an owner. Its secret is returned only here.",
          (201, s.TokenAnswer), body=s.CreateTokenBody, body_bytes_max=SMALL_BODY_MAX),
    route("GET", "/tokens", list_tokens, _ADMIN, "All tokens, without their secrets.", (200, s.TokensAnswer)),
    route("DELETE", "/tokens/{token_id}", revoke_token, _ADMIN, "Revoke a token; its streams end.", (204, None)),
)  # fmt: skip
