"""From a method and a path to a route of the table."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from starlette.exceptions import HTTPException

from antiphon.api.http.table import Operation
from antiphon.errors import NotFound
from antiphon.wire.ids import canonical_id

_NODE = dict[str, "Node"]


class Node:
    """A segment of the tree; `name` is the name of the variable segment below it."""

    __slots__ = ("fixed", "name", "operations", "variable")

    def __init__(self) -> None:
        self.fixed: _NODE = {}
        self.variable: Node | None = None
        self.name = ""
        self.operations: dict[str, Operation] = {}


class Router:
    """A tree of path segments. Unknown API paths are `NotFound`; other unknown paths are left to the web UI."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._root = Node()
        self._prefixes = tuple({f"{operation.prefix}/" for operation in operations if operation.prefix})
        for operation in operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.full_path.strip("/").split("/"):
            if segment.startswith("{"):
                node.variable = node.variable or Node()
                node.name = segment.strip("{}")
                node = node.variable
            else:
                node = node.fixed.setdefault(segment, Node())
        assert operation.method not in node.operations, f"two routes at {operation.method} {operation.full_path}"
        node.operations[operation.method] = operation

    def has_websocket(self, path: str) -> bool:
        """Whether there is a WebSocket at a path."""
        try:
            operation, _ = self.match("GET", path)
        except (NotFound, HTTPException):
            return False
        return operation is not None and operation.is_websocket

    def match(self, method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
        """The route and the values in its path; (None, {}) outside the API. HEAD is handled by the route of GET."""
        node = self._root
        values: dict[str, str] = {}
        for segment in path.strip("/").split("/"):
            following = node.fixed.get(segment)
            if following is None and node.variable is not None and segment:
                values[node.name] = canonical_id(unquote(segment))
                following = node.variable
            if following is None:
                if path.startswith(self._prefixes):
                    raise NotFound("address")
                return None, {}
            node = following
        if not node.operations:
            if path.startswith(self._prefixes):
                raise NotFound("address")
            return None, {}
        operation = node.operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            allowed = ", ".join(sorted({*node.operations, *(("HEAD",) if "GET" in node.operations else ())}))
            raise HTTPException(405, f"{method} is not possible here; possible: {allowed}.", {"allow": allowed})
        return operation, values
