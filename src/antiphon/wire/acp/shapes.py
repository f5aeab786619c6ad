"""The parameters of the editor's requests, and its results. Fields that are unknown are ignored."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Invalid, PeerError
from antiphon.wire import codec

PROTOCOL_VERSION = 1

Text = Annotated[str, msgspec.Meta(max_length=4_096)]
Servers = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=100)]
P = TypeVar("P")


class Params(Value, gc=True, rename="camel"):
    """The base of the parameters."""


class Elicitation(Params, gc=True, rename="camel"):
    form: dict[str, Any] | None = None


class ClientSession(Params, gc=True, rename="camel"):
    notices: dict[str, Any] | None = None


class Capabilities(Params, gc=True, rename="camel"):
    """What the editor can show: forms, and notices beside the conversation."""

    elicitation: Elicitation | None = None
    session: ClientSession | None = None

    @property
    def has_forms(self) -> bool:
        return self.elicitation is not None and self.elicitation.form is not None

    @property
    def has_notices(self) -> bool:
        return self.session is not None and self.session.notices is not None


class Initialize(Params, gc=True, rename="camel"):
    protocol_version: int
    client_capabilities: Capabilities | None = None


class NewSession(Params, gc=True, rename="camel"):
    cwd: Text
    mcp_servers: Servers = []
    additional_directories: list[str] = []


class OpenSession(Params, gc=True, rename="camel"):
    """Of `session/load` and `session/resume`."""

    session_id: Text
    cwd: Text
    mcp_servers: Servers = []
    additional_directories: list[str] = []


class ListSessions(Params, gc=True, rename="camel"):
    cwd: Text | None = None
    cursor: Text | None = None


class Session(Params, gc=True, rename="camel"):
    """Of all requests that name a session and no more."""

    session_id: Text


class Prompt(Params, gc=True, rename="camel"):
    session_id: Text
    prompt: list[dict[str, Any]]


class SetMode(Params, gc=True, rename="camel"):
    session_id: Text
    mode_id: Text


class SetConfigOption(Params, gc=True, rename="camel"):
    session_id: Text
    config_id: Text
    value: Text | bool


class CancelRequest(Params, gc=True, rename="camel"):
    request_id: str | int | None


class Outcome(Params, gc=True, rename="camel"):
    outcome: str
    option_id: str = ""


class Permission(Params, gc=True, rename="camel"):
    """The result of `session/request_permission`."""

    outcome: Outcome


class FormAnswer(Params, gc=True, rename="camel"):
    """The result of `elicitation/create`."""

    action: str
    content: dict[str, Any] | None = None


def params_of(raw: Any, shape: type[P]) -> P:
    """The parameters of a request. Raises `Invalid`."""
    try:
        return codec.convert({} if raw is None else raw, shape)
    except PeerError as error:
        raise Invalid("params", str(error)) from error
