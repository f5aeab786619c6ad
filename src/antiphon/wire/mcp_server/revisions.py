"""The revisions of MCP, and what a request's headers must say in each.

Until 2025-11-25 a client agrees on a revision with `initialize`, and later requests name it in a header. From
2026-07-28 on there is no such beginning: every request names its revision in `params._meta`, and headers repeat parts
of the body for programs between client and server, which must agree with it. This server keeps no session, so each
request is judged alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from antiphon.wire.jsonrpc import INVALID_PARAMS, Request, RpcRefused
from antiphon.wire.mcp_server.errors import HEADER_MISMATCH, UNSUPPORTED_VERSION

WITH_INITIALIZE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Newest first. The first one is offered to a client that wants one that is not supported."""
WITHOUT_INITIALIZE = ("2026-07-28",)
REVISIONS = (*WITHOUT_INITIALIZE, *WITH_INITIALIZE)
UNNAMED = "2025-03-26"
"""The revision of a request that names none: the header came with the next revision."""
WITH_BATCHES = frozenset({"2025-03-26", "2024-11-05"})

VERSION_HEADER = "mcp-protocol-version"
METHOD_HEADER = "mcp-method"
NAME_HEADER = "mcp-name"
HEADERS = (VERSION_HEADER, METHOD_HEADER, NAME_HEADER)

META = "io.modelcontextprotocol/"
VERSION_KEY = f"{META}protocolVersion"
CAPABILITIES_KEY = f"{META}clientCapabilities"
SERVER_KEY = f"{META}serverInfo"

NAMED = {"tools/call": "name", "resources/read": "uri"}
"""Methods with a name, and the parameter that has it: NAME_HEADER repeats it."""

_ENCODED = ("=?base64?", "?=")
"""What is around a value that a header cannot have as it is."""


def revision_of(request: Request, headers: Mapping[str, str]) -> str:
    """The revision of a request. `headers` are those of HEADERS that it has, by lower-case name.

    Raises:
        RpcRefused: The revision is not supported, or the headers contradict the body.
    """
    given = headers.get(VERSION_HEADER)
    meta = meta_of(request)
    if request.method == "initialize" and VERSION_KEY not in meta:
        return WITH_INITIALIZE[0]  # the parameters say which; a header cannot know it yet
    if VERSION_KEY in meta or given in WITHOUT_INITIALIZE:
        return _revision_of_meta(request, meta, headers)
    if given is None:
        return UNNAMED
    return supported(given)


def supported(revision: str) -> str:
    """Raises `RpcRefused` unless the revision is supported."""
    if revision not in REVISIONS:
        data = {"supported": list(REVISIONS), "requested": revision}
        raise RpcRefused(UNSUPPORTED_VERSION, "Unsupported protocol version", status=400, data=data)
    return revision


def meta_of(request: Request) -> dict[str, Any]:
    """The `_meta` of a request; empty if it has none."""
    meta = request.params.get("_meta") if isinstance(request.params, dict) else None
    return meta if isinstance(meta, dict) else {}


def _revision_of_meta(request: Request, meta: dict[str, Any], headers: Mapping[str, str]) -> str:
    for key, kind in ((VERSION_KEY, str), (CAPABILITIES_KEY, dict)):
        if not isinstance(meta.get(key), kind):
            message = f"invalid params: _meta needs {key!r}, a {'string' if kind is str else 'object'}"
            raise RpcRefused(INVALID_PARAMS, message, status=400)
    revision: str = meta[VERSION_KEY]
    _check_header(headers, VERSION_HEADER, revision)
    _check_header(headers, METHOD_HEADER, request.method)
    name = request.params.get(NAMED[request.method]) if request.method in NAMED else None
    if isinstance(name, str):
        _check_header(headers, NAME_HEADER, name)
    if revision not in WITHOUT_INITIALIZE:
        data = {"supported": list(REVISIONS), "requested": revision}
        raise RpcRefused(UNSUPPORTED_VERSION, "Unsupported protocol version", status=400, data=data)
    return revision


def _check_header(headers: Mapping[str, str], name: str, value: str) -> None:
    given = headers.get(name)
    if given is None or decoded_header(given) != value:
        what = "is missing" if given is None else "does not match the body"
        raise RpcRefused(HEADER_MISMATCH, f"Header mismatch: {name} {what}", status=400)


def encoded_header(value: str) -> str:
    """A text as the value of a header."""
    before, after = _ENCODED
    is_plain = value.isascii() and (value.isprintable() or not value) and value == value.strip()
    if is_plain and not (value.startswith(before) and value.endswith(after)):
        return value
    return before + base64.b64encode(value.encode("utf-8", "replace")).decode() + after


def decoded_header(value: str) -> str | None:
    """The text in the value of a header; None if it is encoded wrongly."""
    before, after = _ENCODED
    if not (value.startswith(before) and value.endswith(after) and len(value) >= len(before) + len(after)):
        return value
    try:
        return base64.b64decode(value[len(before) : -len(after)], validate=True).decode()
    except ValueError:  # also of binascii and of the decoding
        return None
