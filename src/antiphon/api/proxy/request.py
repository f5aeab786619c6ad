"""A request that a standby forwards: unchanged, except for an id that makes it repeatable."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from antiphon.api.http.app import TARGET_HEADER
from antiphon.api.http.table import Operation
from antiphon.api.idempotency import IDEMPOTENCY_KEY
from antiphon.core.depth import has_too_many_values
from antiphon.core.values import Value

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade", b"content-length", TARGET_HEADER.encode()}
)  # fmt: skip
"""Headers that belong to one connection and are not forwarded."""

Headers = list[tuple[bytes, bytes]]


class Forwarded(Value):
    """`target` is the path with its query. `is_repeatable`: sent twice it takes effect once."""

    method: str
    target: bytes
    headers: Headers
    body: bytes = b""
    is_repeatable: bool = True

    @staticmethod
    def of(request: Request, body: bytes, operation: Operation | None) -> Forwarded:
        """Raises `HTTPException` for a request with several Host headers."""
        scope = request.scope
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:
            raise HTTPException(400, "A request must have one Host header.")
        dropped = HOP_BY_HOP | names_in(request.headers.get("connection", "").encode("latin-1"))
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        is_read = request.method in ("GET", "HEAD")
        is_foreign = operation is not None and bool(operation.protocol)  # its routes take an Idempotency-Key
        given = with_id(body, operation.repeat_by) if operation is not None and operation.repeat_by else None
        return Forwarded(
            method=request.method,
            target=path + (b"?" + query if query else b""),
            headers=[(name, value.strip(b" \t")) for name, value in scope["headers"] if name not in dropped],
            body=body if given is None else given,
            is_repeatable=is_read or given is not None or (is_foreign and IDEMPOTENCY_KEY in request.headers),
        )

    @staticmethod
    def liveness_check() -> Forwarded:
        """A request for the health of an instance."""
        return Forwarded(method="GET", target=b"/healthz", headers=[(b"host", b"localhost")])

    def after(self, cursor: str | None) -> Forwarded:
        """The same stream, resumed at a cursor."""
        if cursor is None:
            return self
        headers = [(name, value) for name, value in self.headers if name != b"last-event-id"]
        return msgspec.structs.replace(self, headers=[*headers, (b"last-event-id", cursor.encode())])

    def headers_for(self, instance_id: str, *, is_streamed: bool = False) -> Headers:
        """The headers for that instance. `is_streamed`: the body is sent in chunks of unknown total length."""
        has_length = not is_streamed and (self.body or self.method != "GET")
        length = [(b"content-length", str(len(self.body)).encode())] if has_length else []
        return [*self.headers, *length, (TARGET_HEADER.encode(), instance_id.encode())]

    def scope(self, scope: Scope) -> Scope:
        """The scope for an app in this process."""
        return {**scope, "headers": self.headers}

    def receive(self, receive: Receive) -> Receive:
        """A `receive` that gives the body, which was read already, and then the messages of the connection."""
        is_received = False

        async def receive_again() -> Message:
            nonlocal is_received
            if is_received:
                return await receive()
            is_received = True
            return {"type": "http.request", "body": self.body, "more_body": False}

        return receive_again


def names_in(connection: bytes) -> frozenset[bytes]:
    """The header names in a Connection header. They belong to one connection, too."""
    return frozenset(name.strip().lower() for name in connection.split(b",") if name.strip())


def with_id(body: bytes, name: str) -> bytes | None:
    """Ensure that a JSON body has an id, so that it can be sent repeatedly.

    Args:
        body: The body of a request.
        name: The field with the client's own id.

    Returns:
        The body with an id in that field, a new one if it had none. None if the body is not a JSON object or has too
        many values; the primary refuses such a body.
    """
    if has_too_many_values(body):
        return None
    try:
        given: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if name in given and bytes(given[name]).strip() not in (b"null", b'""'):
        return body
    return msgspec.json.encode(given | {name: str(uuid.uuid4())})
