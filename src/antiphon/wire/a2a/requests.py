"""The parameters of A2A's methods. Unknown fields are ignored.

Parameters are ProtoJSON: a field may have its name in camel case or, as in the `.proto` file, in snake case, and null
stands for a field that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from antiphon.core.values import Value

State = Literal[
    "TASK_STATE_UNSPECIFIED",
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
MaybeName = Annotated[str, msgspec.Meta(max_length=1_024)]
Length = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Json = dict[str, Any]

PARTS_MAX = 1_000
"""Maximum number of parts of a message."""
OWN = "antiphon"
"""The key of `metadata` that is this server's."""


class SendParams(Value, rename="camel", gc=True):
    """Those of `SendMessage` and `SendStreamingMessage`."""

    message: Json
    configuration: Json = {}
    metadata: Json = {}


class Configuration(Value, rename="camel", gc=True):
    accepted_output_modes: list[str] = []
    history_length: Length | None = None
    return_immediately: bool = False
    task_push_notification_config: Any = None


class Message(Value, rename="camel", gc=True):
    message_id: Name
    role: Literal["ROLE_USER", 1]
    parts: Annotated[list[Json], msgspec.Meta(min_length=1, max_length=PARTS_MAX)]
    context_id: MaybeName = ""
    task_id: MaybeName = ""
    metadata: Json = {}


class GetParams(Value, rename="camel"):
    id: Name
    history_length: Length | None = None


class TaskParams(Value, rename="camel"):
    """Those of `CancelTask` and `SubscribeToTask`."""

    id: Name


class ListParams(Value, rename="camel"):
    context_id: MaybeName = ""
    status: State = "TASK_STATE_UNSPECIFIED"
    page_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    page_token: MaybeName = ""
    history_length: Length | None = None
    status_timestamp_after: str = ""
    include_artifacts: bool = False


def fields_of(given: Mapping[str, Any]) -> Json:
    """The fields of an object by their names in camel case, without those that are null."""
    return {_camel(name): value for name, value in given.items() if value is not None}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)
