"""The state of a chat: the fold of its facts.

The id of a message, a queued message, a turn, an attempt or a draft is the seq of the fact that created it
(0: none). Times are whole microseconds since the Unix epoch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from antiphon.core.model_usage import ModelUsage
from antiphon.core.parts import NO_USAGE, Usage
from antiphon.core.values import Value

FOLD_VERSION = 1
"""Increases when `evolve` changes its result for a stored log. An instance writes only to chats whose version it
supports."""


class Status(StrEnum):
    """The status of a chat; `core.transitions` has every change of it."""

    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    REQUIRES_ACTION = "requires_action"
    ERROR = "error"


IDLE = frozenset({Status.WAITING, Status.ERROR})


class WhenBusy(StrEnum):
    """What happens to a message that arrives while the chat is busy."""

    QUEUE = "queue"
    STEER = "steer"
    INTERRUPT = "interrupt"
    REJECT = "reject"


class Needs(StrEnum):
    """What a tool call needs next: the server to run it, a client to send its result, a person to approve it, a
    person to answer its question, or a child chat to end its turn."""

    SERVER = "server"
    RESULT = "result"
    APPROVAL = "approval"
    ANSWER = "answer"
    CHILD = "child"

    @property
    def is_run_here(self) -> bool:
        """Whether an attempt of the turn runs the call by itself."""
        return self in (Needs.SERVER, Needs.CHILD)


class CallState(StrEnum):
    """The progress of a tool call. `begun` means that an attempt may have run it."""

    OPEN = "open"
    AWAITING = "awaiting"
    APPROVED = "approved"
    BEGUN = "begun"


class Outcome(StrEnum):
    """How a turn ended."""

    ANSWERED = "answered"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    REPLACED = "replaced"


class Queued(Value):
    """A queued message: its id and size. Its content is stored at `content_seq`."""

    id: int
    content_seq: int
    content_size: int
    when_busy: WhenBusy = WhenBusy.QUEUE
    is_promoted: bool = False
    model: str = ""
    client_message_id: str = ""
    created_by: str = ""
    trace: str = ""
    via: str = ""
    created_at: int = 0


ALLOWED_TOOLS_MAX = 128
"""Maximum number of tools that a person has allowed for a chat. Beyond it, the first ones need approval again."""


class Call(Value):
    """A tool call that has no result yet."""

    tool_call_id: str
    tool_name: str
    needs: Needs = Needs.SERVER
    state: CallState = CallState.OPEN
    is_idempotent: bool = False
    args: Any = None
    """The arguments that a person approved in place of the model's; None: the model's."""


class ErrorInfo(Value):
    """Why a model call or a turn failed, in a form that can be shown to people."""

    message: str
    kind: str = ""
    provider: str = ""
    retryable: bool = msgspec.field(default_factory=bool)
    status_code: int = 0


FIRST_TURN_ID = 2
"""The turn of a chat that is created with a message: it is the second fact. A parent starts its child with it."""


class ForkedFrom(Value):
    """Where a fork began: the chat, and the last message that it took over from it."""

    chat_id: str
    message_id: int


class Parent(Value):
    """Where a child chat belongs: the chat and the tool call that started it, the chat at the top, and how many chats
    are above it (a child of a chat without a parent has 1). `answer_id` is the first message of the parent's answer:
    after an edit or a retry, another answer may have a call of the same id."""

    chat_id: str
    tool_call_id: str
    root_chat_id: str
    depth: int
    answer_id: int = 0


class Chat(Value):
    """The state of a chat: everything that `decide` and a list of chats need."""

    owner_id: str
    seq: int = 0
    status: Status = Status.WAITING
    draft: int = 0
    # the holder of the turn
    attempt: int = 0
    holder: str = ""
    # the turn in progress (turn_id 0 = none) and the last one that ended
    turn_id: int = 0
    turn_model: str = ""
    turn_trace: str = ""
    """The W3C traceparent of the request that started the turn."""
    turn_usage: Usage = NO_USAGE
    turn_used: tuple[ModelUsage, ...] = ()
    """`turn_usage` by model, until the turn ends."""
    turn_failures: int = 0
    tries: int = 0
    retrying_at: int = 0
    answer_id: int = 0
    interrupt_at: int = 0
    interrupt_seq: int = 0
    deadline: int = 0
    calls: tuple[Call, ...] = ()
    last_turn_id: int = 0
    last_outcome: Outcome | None = None
    last_error: ErrorInfo | None = None
    # queued messages
    steering: tuple[Queued, ...] = ()
    queue: tuple[Queued, ...] = ()
    # about the chat
    parent: Parent | None = None
    forked_from: ForkedFrom | None = None
    """For a child chat: the chat whose turn started it."""
    is_taken_over: bool = False
    """A person has run the turn again that the parent started."""
    title: str = ""
    is_titled_by_person: bool = False
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}
    pin_order: int = 0
    is_archived: bool = False
    is_deleted: bool = False
    diff_status: Any = None
    tools: Any = None
    mcp_server_ids: tuple[str, ...] | None = None
    """The ids of the MCP servers that the chat uses; None: all configured ones."""
    allowed_tools: tuple[str, ...] = ()
    """The tools whose calls need no approval any more: a person has allowed them for this chat."""
    state_seq: int = 0
    """The fact that has the agent's state (0: none)."""
    beginning_seq: int = 0
    """The fact that has the beginning of an unfinished answer, from which a model may go on (0: none)."""
    usage: Usage = NO_USAGE
    last_message_id: int = 0
    created_at: int = 0
    updated_at: int = 0

    @property
    def is_idle(self) -> bool:
        return self.status in IDLE

    @property
    def waits(self) -> bool:
        """Whether any message is queued."""
        return bool(self.queue or self.steering)

    @property
    def queue_length(self) -> int:
        return len(self.queue) + len(self.steering)

    @property
    def needs_worker(self) -> bool:
        """Whether a turn is in progress that no attempt holds. It may still have to wait until `retrying_at`."""
        return self.status is Status.RUNNING and not self.attempt

    def is_for_parent(self, turn_id: int) -> bool:
        """Whether this turn runs for the parent of the chat. Later turns of a child are a person's own, and so is the
        first one when it is retried."""
        return self.parent is not None and turn_id == FIRST_TURN_ID and not self.is_taken_over

    def call(self, tool_call_id: str) -> Call | None:
        return next((call for call in self.calls if call.tool_call_id == tool_call_id), None)

    def queued(self, queued_id: int) -> Queued | None:
        return next((item for item in (*self.steering, *self.queue) if item.id == queued_id), None)
