"""`GET /.well-known/agent-card.json`: who this agent is, and how it is reached."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from antiphon.api.a2a.tasks import base_url_of
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.errors import Invalid
from antiphon.version import __version__
from antiphon.wire.a2a.card import CardSettings, agent_card
from antiphon.wire.codec import encode

PATH = "/.well-known/agent-card.json"
RPC_PATH = "/a2a"
HTTP_PATH = "/a2a/v1"
CONFIG_KEY = "agent_card"
"""What the configuration for agents has for the card."""
CACHE_S = 300
"""How long a client may keep the card, in seconds."""


async def get_agent_card(call: Call) -> Response:
    """The card, the same for everyone; its addresses have the host of the request."""
    base, given = base_url_of(call), _settings(call.instance.options.config)
    card = agent_card(given, base + RPC_PATH, base + HTTP_PATH, version=__version__)
    data = encode(card)
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"cache-control": f"public, max-age={CACHE_S}", "etag": tag, "vary": "Host"}
    if call.request.headers.get("if-none-match") in (tag, "*"):
        return Response(status_code=304, headers=headers)
    return JsonAnswer(data, 200, headers)


def _settings(config: Mapping[str, Any]) -> CardSettings:
    """Raises `Invalid` for a wrong value in the server's configuration."""
    try:
        return msgspec.convert(config.get(CONFIG_KEY, {}), CardSettings)
    except msgspec.ValidationError as error:
        raise Invalid(f"config.{CONFIG_KEY}", str(error)) from error
