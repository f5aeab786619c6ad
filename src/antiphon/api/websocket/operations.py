"""What a client sends on a WebSocket, as JSON texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from antiphon.core.values import Value

Id = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Watch(Value, tag="watch", tag_field="op"):
    """Follow a chat from `cursor` on; without one from now on, beginning with a `resync`."""

    chat_id: str
    id: Id | None = None
    cursor: str = ""
    commit: Literal["", "ref"] = ""


class Unwatch(Value, tag="unwatch", tag_field="op"):
    """Give no more events of a chat."""

    chat_id: str
    id: Id | None = None


class Request(Value, tag="request", tag_field="op"):
    """A request of the HTTP API: `path` is below `/api/v1`, with its query."""

    id: Id
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, msgspec.Meta(max_length=8_192)]
    body: msgspec.Raw = msgspec.Raw(b"")


Operation = Watch | Unwatch | Request

decode = msgspec.json.Decoder(Operation).decode


class Given(Value):
    """The id of an operation that cannot be decoded."""

    id: Any = None
