"""Facts: what has happened in a chat. A fact is stored for ever and never refused.

These are the stored formats; kinds and fields are only added, never changed or removed. Content is stored once,
beside its fact: `content` carries it from `decide` to the store and is not part of the stored body. `content_seq`
(0: the fact's own seq) and `content_size` refer to it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from antiphon.core.model import ErrorInfo, ForkedFrom, Needs, Outcome, Parent, Status, WhenBusy
from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import NO_USAGE, Role, Usage
from antiphon.core.values import Value


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Fact(Value, tag=_snake, tag_field="type"):
    """The base of all kinds; on the wire and in the store `type` is the kind's name in snake case."""


class Closes(Value):
    """The message contains this draft up to the position `upto`."""

    draft: int
    upto: int


class CallOpened(Value):
    """A tool call of an assistant's message."""

    tool_call_id: str
    tool_name: str
    needs: Needs = Needs.SERVER
    is_idempotent: bool = False


class CallDropped(Value):
    """A tool call that was unfinished when its message was stored as a partial."""

    tool_call_id: str
    tool_name: str


class ActionNeeded(Value):
    """A call that waits for a client's result or a person's approval."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: Needs


class ChatCreated(Fact):
    """`is_title_made`: the title was derived from the first message, not chosen by a person."""

    owner_id: str
    title: str = ""
    is_title_made: bool = False
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}
    tools: Any = None
    mcp_server_ids: tuple[str, ...] | None = None
    """The ids of the MCP servers that the chat uses; None: all configured ones."""
    parent: Parent | None = None
    """For a child chat: the chat whose turn started it."""
    forked_from: ForkedFrom | None = None
    """For a fork: the chat and the message at which it began. Its history follows as `message_appended`."""


class MessageAppended(Fact):
    """`turn_id` is the turn that the message belongs to: its own seq if it starts the turn. `used` is `usage` by
    model."""

    role: Role
    turn_id: int
    content_size: int
    content_seq: int = 0
    queued_id: int = 0
    client_message_id: str = ""
    created_by: str = ""
    model: str = ""
    trace: str = ""
    """The W3C traceparent of the request that sent the message."""
    via: str = ""
    """How it was sent: by `http`, `zmq`, `python` (the embedding program) or `chat` (the parent of a child chat)."""
    interrupted: bool = False
    outcome: str = ""
    """Why the model's answer ended early: length, refusal, content_filter or empty. "": it ended normally."""
    dropped: tuple[CallDropped, ...] = ()
    closes: Closes | None = None
    usage: Usage = NO_USAGE
    used: tuple[ModelUsage, ...] = ()
    calls: tuple[CallOpened, ...] = ()
    resolves: str = ""
    content: bytes = b""


class MessageQueued(Fact):
    content_size: int
    when_busy: WhenBusy = WhenBusy.QUEUE
    client_message_id: str = ""
    created_by: str = ""
    model: str = ""
    trace: str = ""
    via: str = ""
    content: bytes = b""


class QueuedMessageEdited(Fact):
    queued_id: int
    content_size: int
    content: bytes = b""


class QueuedMessageDeleted(Fact):
    queued_id: int


class QueueMoved(Fact):
    queued_id: int
    before: int | None = None


class QueuedMessagePromoted(Fact):
    queued_id: int


class HistoryTruncated(Fact):
    """`state_seq` is the fact of the agent's state that holds again: the last one before the messages that go (0:
    none)."""

    from_message_id: int
    state_seq: int = 0


class AttemptStarted(Fact):
    instance_id: str


class AttemptReleased(Fact):
    """`usage` is what the attempt has used since its last message; `used` is the same by model. The content is the
    beginning of the unfinished answer; empty unless a model may go on from it."""

    attempt: int
    calls_not_begun: tuple[str, ...] = ()
    usage: Usage = NO_USAGE
    used: tuple[ModelUsage, ...] = ()
    content_size: int = 0
    content: bytes = b""


class AttemptLost(Fact):
    """`reason` is lease, dead or interrupt. The content is the beginning of the unfinished answer, as it was flushed;
    empty unless a model may go on from it."""

    attempt: int
    reason: str
    content_size: int = 0
    content: bytes = b""


class RetryScheduled(Fact):
    """`usage` is that of the failed try; `used` is the same by model."""

    tries: int
    delay_ms: int
    error: str
    retrying_at: int
    kind: str = ""
    provider: str = ""
    status_code: int = 0
    usage: Usage = NO_USAGE
    used: tuple[ModelUsage, ...] = ()


class InterruptRequested(Fact):
    turn_id: int
    by: str = ""


class ActionRequired(Fact):
    calls: tuple[ActionNeeded, ...]
    deadline: int


class ActionResolved(Fact):
    """`outcome` is result, approved, denied or expired. An approval may have other `args` than the model's, and may
    hold for the tool `always`, that is, in this chat."""

    tool_call_id: str
    outcome: str
    by: str = ""
    args: Any = None
    always: bool = False


class TurnRestarted(Fact):
    turn_id: int


class TurnEnded(Fact):
    """`usage` is that of the whole turn; `used` is the same by model."""

    turn_id: int
    outcome: Outcome
    error: ErrorInfo | None = None
    usage: Usage = NO_USAGE
    used: tuple[ModelUsage, ...] = ()


class StateChanged(Fact):
    """The agent has stored another state (`turn.state`). `before` is the fact of the one that it replaces (0: none).
    `content` is the JSON of the state."""

    content_size: int
    before: int = 0
    content: bytes = b""


class TitleChanged(Fact):
    """`by` is person or model. `used` is what the model that wrote it has used."""

    title: str
    by: str
    used: tuple[ModelUsage, ...] = ()


class LabelsChanged(Fact):
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class PinChanged(Fact):
    pin_order: int


class ModelChanged(Fact):
    model: str


class SystemChanged(Fact):
    system: str


class ToolsChanged(Fact):
    """The tools that clients run: a list of objects with `name`, `description` and `parameters`; None: none."""

    tools: Any


class McpServersChanged(Fact):
    """The ids of the MCP servers that the chat uses from now on; None: all configured ones."""

    mcp_server_ids: tuple[str, ...] | None


class DiffStatusChanged(Fact):
    diff_status: Any


class Archived(Fact):
    pass


class Unarchived(Fact):
    pass


class ChatDeleted(Fact):
    """`used` is what the turn in progress has used so far."""

    used: tuple[ModelUsage, ...] = ()


AnyFact = (
    ChatCreated
    | MessageAppended
    | MessageQueued
    | QueuedMessageEdited
    | QueuedMessageDeleted
    | QueueMoved
    | QueuedMessagePromoted
    | HistoryTruncated
    | AttemptStarted
    | AttemptReleased
    | AttemptLost
    | RetryScheduled
    | InterruptRequested
    | ActionRequired
    | ActionResolved
    | TurnRestarted
    | TurnEnded
    | StateChanged
    | TitleChanged
    | LabelsChanged
    | PinChanged
    | ModelChanged
    | SystemChanged
    | ToolsChanged
    | McpServersChanged
    | DiffStatusChanged
    | Archived
    | Unarchived
    | ChatDeleted
)

KINDS: dict[str, type[Fact]] = {str(kind.__struct_config__.tag): kind for kind in Fact.__subclasses__()}

WITH_CONTENT = (
    MessageAppended,
    MessageQueued,
    QueuedMessageEdited,
    StateChanged,
    AttemptReleased,
    AttemptLost,
)
"""The kinds of facts that have content of their own."""

OPENS_DRAFT: frozenset[type[Fact]] = frozenset(
    {
        ChatCreated,
        MessageAppended,
        AttemptStarted,
        AttemptReleased,
        AttemptLost,
        RetryScheduled,
        ActionRequired,
        HistoryTruncated,
        TurnRestarted,
        TurnEnded,
    }
)
"""The facts that change the history or the holder of the turn. Each closes the open draft and opens the next."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A fact with its sequence number and its time, in microseconds since the epoch."""

    seq: int
    at: int
    fact: Fact


class Entry(Value):
    """A fact as it is stored, with the chat's status and open draft after it. `more`: its append has further facts.

    When read from the store, `content` is the content that `content_seq` refers to (None: there is none, or the
    truncation `hidden_by` has hidden it).
    """

    recorded: Recorded
    status: Status
    draft: int
    more: bool = False
    content: bytes | None = None
    hidden_by: int = 0

    @property
    def seq(self) -> int:
        return self.recorded.seq

    @property
    def fact(self) -> Fact:
        return self.recorded.fact


def kind_of(fact: Fact) -> str:
    return str(fact.__struct_config__.tag)
