"""The bodies of AG-UI's routes. Fields that are unknown are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from antiphon.api.chat_settings import ToolShape
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.wire.agui.input import ResumeEntry

RunName = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
Messages = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=10_000)]
OWN = "antiphon"
"""The field of `forwardedProps` that is this server's."""


class RunBody(Value, gc=True):
    """AG-UI's RunAgentInput."""

    thread_id: RunName = msgspec.field(name="threadId")
    run_id: RunName = msgspec.field(name="runId")
    messages: Messages
    tools: list[ToolShape] = []
    context: list[Any] = []
    state: Any = None
    resume: list[ResumeEntry] | None = None
    parent_run_id: str | None = msgspec.field(default=None, name="parentRunId")
    forwarded_props: Any = msgspec.field(default=None, name="forwardedProps")


class OwnProps(Value, gc=True):
    """`forwardedProps.antiphon`: Antiphon's own settings of a run."""

    model: str | None = None
    labels: dict[str, str] | None = None
    when_busy: Literal["queue", "steer", "interrupt", "reject"] | None = msgspec.field(default=None, name="whenBusy")
    regenerate: bool = False
    """Answer the last message again, if it was sent before."""


def own_props(body: RunBody) -> OwnProps:
    """Raises `Invalid`."""
    given = body.forwarded_props
    if not isinstance(given, dict) or OWN not in given:
        return OwnProps()
    try:
        return msgspec.convert(given[OWN], OwnProps)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Invalid(f"forwardedProps.{OWN}", str(error)) from error


def without_effect(body: RunBody) -> list[str]:
    """The fields of a request that it has and that change nothing, besides the state."""
    given = body.forwarded_props
    has_props = bool(given) and not (isinstance(given, dict) and given.keys() <= {OWN})
    fields = {"context": body.context, "forwardedProps": has_props, "parentRunId": body.parent_run_id}
    return [name for name, value in fields.items() if value]


class JoinQuery(Value):
    run_id: RunName = msgspec.field(default="joined", name="runId")


class StopBody(Value):
    clear_queue: bool = msgspec.field(default=False, name="clearQueue")


class Stopped(Value):
    """Whether a turn is being interrupted."""

    interrupted: bool
