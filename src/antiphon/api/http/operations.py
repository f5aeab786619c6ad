"""The whole route table of the HTTP API, and the route that describes it."""

from __future__ import annotations

from starlette.responses import Response

from antiphon.api.http import access, chats, configs, files, inbox, instances, mcp_servers, system, usage
from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.openapi import openapi_document
from antiphon.api.http.shapes.values import Json
from antiphon.api.http.table import Call, Operation, Policy, route


async def openapi(call: Call) -> Response:
    return JsonAnswer(openapi_document(OPERATIONS))


OPERATIONS: tuple[Operation, ...] = (
    *chats.ROUTES,
    *access.ROUTES,
    *files.ROUTES,
    *inbox.ROUTES,
    *configs.ROUTES,
    *instances.ROUTES,
    *mcp_servers.ROUTES,
    *usage.ROUTES,
    *system.ROUTES,
    route("GET", "/openapi.json", openapi, Policy.OPEN, "This document.", (200, Json), prefix=""),
)
