"""The results of methods, in the shape of the revision of the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.errors import AntiphonError
from antiphon.version import __version__
from antiphon.wire import jsonrpc
from antiphon.wire.codec import encode
from antiphon.wire.mcp_server.revisions import (
    REVISIONS,
    SERVER_KEY,
    WITH_INITIALIZE,
    WITHOUT_INITIALIZE,
)
from antiphon.wire.mcp_server.tools import tools_json
from antiphon.wire.mcp_server.uris import TEMPLATES

Json = dict[str, Any]

SERVER = {"name": "antiphon", "title": "Antiphon", "version": __version__}
CAPABILITIES: Json = {"tools": {}, "resources": {}}
CAPABILITIES_WITH_LISTEN: Json = {"tools": {}, "resources": {"subscribe": True, "listChanged": True}}
"""Those of revisions with `subscriptions/listen`; earlier ones need a session for notifications."""
INSTRUCTIONS = (
    "Chats with agents and models, which this server runs and stores. start_chat and send_message return the answer, "
    "or after wait_s seconds the status `running`: then call wait_for_answer. An answer goes on when a call ends, is "
    "cancelled or fails; only stop ends it. With the status `requires_action`, answer each of the open calls with "
    "answer_call, as your user wants it. Repeat a failed call with the same idempotency_key."
)
TTL_MS = 3_600_000
"""How long a client may keep the list of tools, in milliseconds."""
ERROR_KEY = "antiphon/error"
"""The key of `_meta` with the code and the fields of an error that a tool returns."""


def initialize_result(requested: str) -> Json:
    """The revision that the client asks for if it is supported, else the newest with `initialize`."""
    return {
        "protocolVersion": requested if requested in WITH_INITIALIZE else WITH_INITIALIZE[0],
        "capabilities": CAPABILITIES,
        "serverInfo": SERVER,
        "instructions": INSTRUCTIONS,
    }


def discover_result() -> Json:
    return {
        "supportedVersions": list(REVISIONS),
        "capabilities": CAPABILITIES_WITH_LISTEN,
        "instructions": INSTRUCTIONS,
        "_meta": {SERVER_KEY: SERVER},
    }


def tools_result() -> Json:
    return {"tools": tools_json()}


def templates_result() -> Json:
    return {"resourceTemplates": list(TEMPLATES)}


def in_revision(method: str, result: Json, revision: str) -> Json:
    """A result with the fields that the revision adds. What is read may change at once, and is the owner's own."""
    if revision not in WITHOUT_INITIALIZE:
        return result
    shown = {"resultType": "complete", **result}
    if method in ("server/discover", "tools/list", "resources/templates/list"):
        return shown | {"ttlMs": TTL_MS, "cacheScope": "public"}
    if method in ("resources/list", "resources/read"):
        return shown | {"ttlMs": 0, "cacheScope": "private"}
    return shown


def call_result(result: msgspec.Struct) -> Json:
    """The result of a tool: as a value, and as its JSON text for clients that know only text."""
    data = encode(result)
    return {"content": [{"type": "text", "text": data.decode()}], "structuredContent": msgspec.Raw(data)}


def failed_result(error: AntiphonError) -> Json:
    """A tool that was refused: the caller's model reads why."""
    return {
        "content": [{"type": "text", "text": str(error)}],
        "isError": True,
        "_meta": {ERROR_KEY: {"code": error.code, **error.fields()}},
    }


def progress(token: Any, elapsed_s: float, wait_s: float, activity: str) -> bytes:
    """A report of progress. Its number is the time, which always grows."""
    params: Json = {"progressToken": token, "progress": round(elapsed_s, 3), "message": activity}
    if wait_s > 0:
        params["total"] = round(max(wait_s, elapsed_s), 3)
    return jsonrpc.encode_request("notifications/progress", params, None)


def sse(data: bytes) -> bytes:
    """A message as a server-sent event. JSON has no raw line break."""
    return b"event: message\ndata: %b\n\n" % data


def chat_resources(chats: Sequence[Json], following: str | None) -> Json:
    return {"resources": list(chats)} | ({"nextCursor": following} if following else {})
