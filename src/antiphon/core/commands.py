"""Commands: what people and workers can ask of a chat. A refused command changes nothing.

Content is the canonical JSON of a list of parts, as bytes; the rules read only its size. A refusal is an
`errors.Refused`; the rules in `people` and `workers` raise it.
"""

from __future__ import annotations

from typing import Any

from antiphon.core.facts import ActionNeeded, CallDropped, CallOpened
from antiphon.core.model import ErrorInfo, ForkedFrom, Needs, Parent, WhenBusy
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import NO_USAGE, Role, Usage
from antiphon.core.values import Value

QUEUE_MAX = 100
"""Maximum number of messages queued in one chat."""
QUEUE_BYTES_MAX = 8 * 1024 * 1024
"""Maximum size of all messages queued in one chat, in bytes."""


class Command(Value):
    """The base of all commands."""


# --- people -----------------------------------------------------------------------------------------


class PastMessage(Value):
    """A message of a history that a chat is created with. `calls` are those of an assistant's message, all run by
    now; `resolves` is the call that a tool's message answers."""

    role: Role
    content: bytes
    calls: tuple[CallOpened, ...] = ()
    resolves: str = ""
    client_message_id: str = ""
    model: str = ""
    interrupted: bool = False
    outcome: str = ""


class CreateChat(Command):
    """With `history` the chat begins with these messages; its last turn is in progress, unless `content` starts one
    or the chat is a fork (`forked_from`). `state` is the JSON of the agent's state after the history."""

    owner_id: str
    content: bytes = b""
    title: str = ""
    is_title_made: bool = False
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}
    tools: Any = None
    mcp_server_ids: tuple[str, ...] | None = None
    client_message_id: str = ""
    trace: str = ""
    via: str = ""
    parent: Parent | None = None
    history: tuple[PastMessage, ...] = ()
    forked_from: ForkedFrom | None = None
    state: bytes = b""


class SendMessage(Command):
    """`trace` is the W3C traceparent of the request, `via` the API that it came by. Both are stored."""

    content: bytes
    when_busy: WhenBusy = WhenBusy.QUEUE
    client_message_id: str = ""
    model: str = ""
    by: str = ""
    trace: str = ""
    via: str = ""
    queue_max: int = QUEUE_MAX
    queue_bytes_max: int = QUEUE_BYTES_MAX
    unfinished: bytes = b""


class EditMessage(Command):
    """`target` is the role of the visible message `message_id` in the state that is decided on; None: no such
    message. `state_seq` is the fact of the agent's state before that message (0: none)."""

    message_id: int
    content: bytes
    target: Role | None
    state_seq: int = 0
    clear_queue: bool = False
    client_message_id: str = ""
    by: str = ""
    trace: str = ""
    via: str = ""


class Retry(Command):
    """`state_seq` is the fact of the agent's state before the turn's first answer (0: none)."""

    turn_id: int = 0
    state_seq: int = 0


class QueueCommand(Command):
    """`was_delivered`: the message has left the queue and is part of the history."""

    queued_id: int
    was_delivered: bool = False


class EditQueued(QueueCommand):
    content: bytes = b""
    queue_bytes_max: int = QUEUE_BYTES_MAX


class DeleteQueued(QueueCommand):
    """`existed`: the message was once queued here. Deleting it a second time succeeds."""

    existed: bool = False


class MoveQueued(QueueCommand):
    before: int | None = None


class PromoteQueued(QueueCommand):
    by: str = ""
    unfinished: bytes = b""


class Interrupt(Command):
    """`only_waiting`: nothing happens unless the turn waits for clients: one may have answered meanwhile."""

    turn_id: int
    clear_queue: bool = False
    only_waiting: bool = False
    by: str = ""
    unfinished: bytes = b""


class SubmitToolResults(Command):
    """The result of a call that `needs` a client's result, or a person's answer."""

    tool_call_id: str
    content: bytes
    by: str = ""
    needs: Needs = Needs.RESULT


class Approve(Command):
    """`args` replace the model's arguments unless they are None. `always`: calls of this tool need no approval in
    this chat any more."""

    tool_call_id: str
    by: str = ""
    args: Any = None
    always: bool = False


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


class SetTools(Command):
    """`tools` are the tools that clients run, as `chats.client_tools` makes them; None: no tools."""

    tools: Any


class SetMcpServers(Command):
    """`mcp_server_ids` are the ids of the MCP servers that the chat uses; None: all configured ones."""

    mcp_server_ids: tuple[str, ...] | None


class SetSystem(Command):
    system: str


class SetDiffStatus(Command):
    diff_status: Any


class Archive(Command):
    pass


class Unarchive(Command):
    pass


class Delete(Command):
    """`upto`: refused if the chat has facts after this one; 0: not checked."""

    upto: int = 0


# --- workers ----------------------------------------------------------------------------------------


class StartAttempt(Command):
    instance_id: str


class AttemptCommand(Command):
    """Names the attempt and the draft that it closes. Refused as `stale_attempt` unless both are current."""

    attempt: int
    draft: int


class CommitMessage(AttemptCommand):
    """`state` is the JSON of the agent's new state; None: it has not changed. `used` is `usage` by model."""

    content: bytes
    upto: int
    calls: tuple[CallOpened, ...] = ()
    usage: Usage = NO_USAGE
    used: tuple[ModelUsage, ...] = ()
    model: str = ""
    is_last: bool = False
    outcome: str = ""
    state: bytes | None = None


class RequireAction(AttemptCommand):
    calls: tuple[ActionNeeded, ...]
    deadline: int


class PartialCommand(AttemptCommand):
    """Carries the content written so far. It is stored if the command ends the turn (interrupted or failed)."""

    content: bytes = b""
    upto: int = 0
    usage: Usage = NO_USAGE
    used: tuple[ModelUsage, ...] = ()
    model: str = ""
    dropped: tuple[CallDropped, ...] = ()
    unfinished: bytes = b""


class FailAttempt(PartialCommand, kw_only=True):
    """`delay_ms` None: the failure is final and the content written so far is stored. Otherwise the next try starts
    a new draft after this delay."""

    error: ErrorInfo
    delay_ms: int | None = None
    calls_not_begun: tuple[str, ...] = ()
    """Open calls that this attempt has not run: after a long delay the next one may run them."""


class FinishInterrupt(PartialCommand):
    pass


class ReleaseAttempt(PartialCommand):
    """`beginning` is the content of the draft, if a model may go on from it."""

    calls_not_begun: tuple[str, ...] = ()
    beginning: bytes = b""


class CommitToolResult(Command):
    attempt: int
    tool_call_id: str
    content: bytes


class CancelCalls(Command):
    """The agent does not wait for these calls any more. Those that have a result keep it."""

    attempt: int
    tool_call_ids: tuple[str, ...]


class ExpireAttempt(Command):
    """`reason` is lease, dead or interrupt. `content` is the flushed part of draft `draft`; `keep`: store it as a
    message even if the turn continues. `beginning` is the same content, if a model may go on from it."""

    attempt: int
    reason: str
    draft: int = 0
    content: bytes = b""
    upto: int = 0
    dropped: tuple[CallDropped, ...] = ()
    keep: bool = False
    beginning: bytes = b""
    unfinished: bytes = b""


class ExpireAction(Command):
    pass


class GenerateTitle(Command):
    """`used` is what the model that wrote the title has used."""

    title: str
    used: tuple[ModelUsage, ...] = ()


MAY_END_TURN = (SendMessage, PromoteQueued, Interrupt, PartialCommand, ExpireAttempt)
"""Commands that may end a turn whose answer is unfinished. Their `unfinished` is the content of the chat's
`beginning_seq` in the state that is decided on (empty: there is none): it is stored as the partial if the turn ends
and nothing newer was written."""
