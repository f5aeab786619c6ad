"""What people and workers may ask of a chat. A command may be refused, and then changes nothing.

Content is the canonical JSON of a list of parts, as bytes: the rules look at its size only.
Refusals are `errors.Refused`; which ones, stands with the rules in `people` and `workers`.
"""

from __future__ import annotations

from typing import Any

from antiphon.core.facts import ActionNeeded, CallDropped, CallOpened
from antiphon.core.model import ErrorInfo, WhenBusy
from antiphon.core.parts import NO_USAGE, Role, Usage
from antiphon.core.values import Value

QUEUE_MAX = 100
QUEUE_BYTES_MAX = 8 * 1024 * 1024


class Command(Value):
    """The base of all commands."""


# --- people -----------------------------------------------------------------------------------------


class CreateChat(Command):
    owner_id: str
    content: bytes = b""
    title: str = ""
    is_title_made: bool = False
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}
    tools: Any = None
    client_message_id: str = ""


class SendMessage(Command):
    content: bytes
    when_busy: WhenBusy = WhenBusy.QUEUE
    client_message_id: str = ""
    model: str = ""
    by: str = ""
    queue_max: int = QUEUE_MAX
    queue_bytes_max: int = QUEUE_BYTES_MAX


class EditMessage(Command):
    """`target`: the role of the visible message `message_id` at the state decided on; None = no such."""

    message_id: int
    content: bytes
    target: Role | None
    clear_queue: bool = False
    by: str = ""


class Retry(Command):
    turn_id: int = 0


class QueueCommand(Command):
    """`was_delivered`: the message is not in the queue because it became part of the history."""

    queued_id: int
    was_delivered: bool = False


class EditQueued(QueueCommand):
    content: bytes = b""
    queue_bytes_max: int = QUEUE_BYTES_MAX


class DeleteQueued(QueueCommand):
    """`existed`: it was once queued here, so a repeated delete is answered rather than punished."""

    existed: bool = False


class MoveQueued(QueueCommand):
    before: int | None = None


class PromoteQueued(QueueCommand):
    by: str = ""


class Interrupt(Command):
    turn_id: int
    clear_queue: bool = False
    by: str = ""


class SubmitToolResults(Command):
    tool_call_id: str
    content: bytes
    by: str = ""


class Approve(Command):
    tool_call_id: str
    by: str = ""


class Deny(Command):
    tool_call_id: str
    reason: str = ""
    by: str = ""


class Rename(Command):
    title: str


class SetLabels(Command):
    labels: dict[str, str]


class SetPin(Command):
    pin_order: int


class SetModel(Command):
    model: str


class SetSystem(Command):
    system: str


class SetDiffStatus(Command):
    diff_status: Any


class Archive(Command):
    pass


class Unarchive(Command):
    pass


class Delete(Command):
    pass


# --- workers ----------------------------------------------------------------------------------------


class StartAttempt(Command):
    instance_id: str


class AttemptCommand(Command):
    """Named by the attempt and the draft it closes; refused as `stale_attempt` unless both are current."""

    attempt: int
    draft: int


class CommitMessage(AttemptCommand):
    content: bytes
    upto: int
    calls: tuple[CallOpened, ...] = ()
    usage: Usage = NO_USAGE
    model: str = ""
    is_last: bool = False
    outcome: str = ""


class RequireAction(AttemptCommand):
    calls: tuple[ActionNeeded, ...]
    deadline: int


class PartialCommand(AttemptCommand):
    """Brings what was written so far, kept if the turn ends with it: interrupted, or failed."""

    content: bytes = b""
    upto: int = 0
    usage: Usage = NO_USAGE
    model: str = ""
    dropped: tuple[CallDropped, ...] = ()


class FailAttempt(PartialCommand, kw_only=True):
    """`delay_ms` None: the failure is final, and what was written is kept. Else the next try starts a new draft."""

    error: ErrorInfo
    delay_ms: int | None = None


class FinishInterrupt(PartialCommand):
    pass


class ReleaseAttempt(PartialCommand):
    calls_not_begun: tuple[str, ...] = ()


class CommitToolResult(Command):
    attempt: int
    tool_call_id: str
    content: bytes


class ExpireAttempt(Command):
    """`reason` is lease, dead or interrupt; content is what was flushed of draft `draft`."""

    attempt: int
    reason: str
    draft: int = 0
    content: bytes = b""
    upto: int = 0
    dropped: tuple[CallDropped, ...] = ()
    keep: bool = False


class ExpireAction(Command):
    pass


class GenerateTitle(Command):
    title: str
