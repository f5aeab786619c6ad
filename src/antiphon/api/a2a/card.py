"""`GET /.well-known/agent-card.json`: who this agent is, and how it is reached."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.responses import Response

from antiphon.api.a2a.tasks import base_url_of
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.version import __version__
from antiphon.wire.a2a.card import agent_card
from antiphon.wire.codec import encode

PATH = "/.well-known/agent-card.json"
RPC_PATH = "/a2a"
HTTP_PATH = "/a2a/v1"
CACHE_S = 300
"""How long a client may keep the card, in seconds."""


async def get_agent_card(call: Call) -> Response:
    """The card, the same for everyone; its addresses have the host of the request."""
    base = base_url_of(call)
    card: dict[str, Any] = agent_card(base + RPC_PATH, base + HTTP_PATH, version=__version__)
    data = encode(card)
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"cache-control": f"public, max-age={CACHE_S}", "etag": tag, "vary": "Host"}
    if call.request.headers.get("if-none-match") in (tag, "*"):
        return Response(status_code=304, headers=headers)
    return JsonAnswer(data, 200, headers)
