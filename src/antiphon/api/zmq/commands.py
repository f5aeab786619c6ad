"""`antiphon.command`: a person's command by its name in snake case, as the request of the HTTP API that it stands
for."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from antiphon.core.values import Value
from antiphon.errors import NotFound, PeerError
from antiphon.wire.codec import encode


class Route(Value):
    """Where a command leads: a method and a path below `/chats/{id}`.

    `field` is the only field of a command that changes one property of the chat; `constants` complete the body.
    """

    method: str
    path: str = ""
    field: str = ""
    constants: dict[str, Any] = {}


ROUTES: dict[str, Route] = {
    "send_message": Route(method="POST", path="/messages"),
    "edit_message": Route(method="PATCH", path="/messages/{message_id}"),
    "retry": Route(method="POST", path="/retry"),
    "interrupt": Route(method="POST", path="/interrupt"),
    "edit_queued": Route(method="PATCH", path="/queue/{queued_id}"),
    "delete_queued": Route(method="DELETE", path="/queue/{queued_id}"),
    "move_queued": Route(method="POST", path="/queue/{queued_id}/move"),
    "promote_queued": Route(method="POST", path="/queue/{queued_id}/promote"),
    "approve": Route(method="POST", path="/approvals", constants={"approved": True}),
    "deny": Route(method="POST", path="/approvals", constants={"approved": False}),
    "submit_tool_results": Route(method="POST", path="/tool-results"),
    "answer": Route(method="POST", path="/answers"),
    "rename": Route(method="PATCH", field="title"),
    "set_labels": Route(method="PATCH", field="labels"),
    "set_pin": Route(method="PATCH", field="pin_order"),
    "set_model": Route(method="PATCH", field="model"),
    "set_system": Route(method="PATCH", field="system"),
    "set_tools": Route(method="PATCH", field="tools"),
    "set_mcp_servers": Route(method="PATCH", field="mcp_server_ids"),
    "archive": Route(method="PATCH", constants={"archived": True}),
    "unarchive": Route(method="PATCH", constants={"archived": False}),
    "delete": Route(method="DELETE"),
}


def request_of(name: str, session_id: str, fields: dict[str, Any]) -> tuple[str, str, bytes]:
    """The HTTP request of a command: method, path below the API's prefix, and body.

    Raises:
        NotFound: There is no such command, or no such chat.
        PeerError: A field of the command is missing.
    """
    route = ROUTES.get(name)
    if route is None:
        raise NotFound("command")
    if not session_id:
        raise NotFound
    given = {name: value for name, value in fields.items() if (name, value) != ("client_message_id", "")}
    path = f"/chats/{quote(session_id, safe='')}{route.path}"
    for id_field in ("message_id", "queued_id"):
        if "{" + id_field + "}" in path:
            path = path.replace("{" + id_field + "}", str(_pop_number(given, id_field, name)))
    if route.field:
        given = {route.field: _pop(given, route.field, name)}
        if given[route.field] is None and route.field != "pin_order":
            raise PeerError(f"{name} needs {route.field}")
    elif route.method == "PATCH" and not route.path:
        given = {}
    return route.method, path, encode(given | route.constants)


def _pop(given: dict[str, Any], field: str, command: str) -> Any:
    if field not in given:
        raise PeerError(f"{command} needs {field}")
    return given.pop(field)


def _pop_number(given: dict[str, Any], field: str, command: str) -> int:
    number = _pop(given, field, command)
    if type(number) is not int:
        raise PeerError(f"{command} needs {field}, a number")
    return number
