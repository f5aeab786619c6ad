"""The whole route table of the HTTP API, and the route that describes it with those of the protocols that are on."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from antiphon.api.http import (
    access,
    chats,
    configs,
    exports,
    files,
    inbox,
    instances,
    many_chats,
    mcp_servers,
    shared_chats,
    system,
    usage,
)
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.openapi import openapi_document
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.api.protocol import Protocol
from antiphon.api.protocols import protocols_without
from antiphon.api.websocket import answer as websocket


async def openapi(call: Call) -> Response:
    return JsonAnswer(openapi_document(operations_of(protocols_without(call.instance.options.no_api))))


OPERATIONS: tuple[Operation, ...] = (
    *chats.ROUTES,
    *many_chats.ROUTES,
    *websocket.ROUTES,
    *access.ROUTES,
    *files.ROUTES,
    *exports.ROUTES,
    *shared_chats.ROUTES,
    *inbox.ROUTES,
    *configs.ROUTES,
    *instances.ROUTES,
    *mcp_servers.ROUTES,
    *usage.ROUTES,
    *system.ROUTES,
    route("GET", "/openapi.json", openapi, Policy.OPEN, "This document.", (200, Json), prefix=""),
)
"""The routes of this server's own API."""


def operations_of(protocols: Iterable[Protocol]) -> tuple[Operation, ...]:
    """All routes: those of this server's own API, then those of other protocols."""
    return (*OPERATIONS, *(operation for protocol in protocols for operation in protocol.routes))
