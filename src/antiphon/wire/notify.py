"""The pub/sub contract: channels, messages and handlers, under the reference's names.

Messages are published after the commit and are hints: a receiver tolerates duplicates, loss and reordering. It reads
content from the store; only transient reports (`retry`, errors) are inline. Fields are in wire order; `always(…)`
fields are always encoded, the others are omitted when they have their default. `seq` and `draft` are Antiphon's
additions, which older receivers ignore; of two messages a receiver keeps the one with the greater seq.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from antiphon.core.parts import Part, Usage
from antiphon.core.values import Value
from antiphon.errors import AntiphonError, PeerError
from antiphon.wire.codec import NIL_UUID, Int32, Int64, OpenEnum, always, decode
from antiphon.wire.gotime import ZERO_TIME, Time

CHAT_CONFIG_EVENT_CHANNEL = "chat:config_change"
WANTED_CHANNEL = "antiphon:wanted"
"""Antiphon's addition: a chat needs a worker."""
REVOKED_CHANNEL = "antiphon:revoked"
"""Antiphon's addition: a token was revoked."""


def chat_event_channel(owner_id: UUID) -> str:
    """Where an owner's ChatEvents are published."""
    return f"chat:owner:{owner_id}"


def chat_stream_notify_channel(chat_id: UUID) -> str:
    """Where one chat's ChatStreamNotifyMessages are published."""
    return f"chat:stream:{chat_id}"


def inbox_notification_for_owner_event_channel(owner_id: UUID) -> str:
    """Where an owner's InboxNotificationEvents are published."""
    return f"inbox_notification:owner:{owner_id}"


def draft_channel(chat_id: UUID) -> str:
    """Antiphon's addition: where a chat's deltas are published, if the bus carries them."""
    return f"antiphon:draft:{chat_id}"


class ChatConfigEventKind(OpenEnum):
    PROVIDERS = "providers"
    MODEL_CONFIG = "model_config"
    USER_PROMPT = "user_prompt"


class ChatEventKind(OpenEnum):
    STATUS_CHANGE = "status_change"
    TITLE_CHANGE = "title_change"
    CREATED = "created"
    DELETED = "deleted"
    DIFF_STATUS_CHANGE = "diff_status_change"


class InboxNotificationEventKind(OpenEnum):
    NEW = "new"


class ChatConfigEvent(Value):
    """Providers, model configs or a user's prompt changed: a receiver invalidates its cache.

    `entity_id` is the nil UUID for providers (invalidate all), the config's id, or the user's id.
    """

    kind: ChatConfigEventKind = always(ChatConfigEventKind(""))
    entity_id: UUID = always(NIL_UUID)


class ChatDiffStatus(Value):
    """The state of the pull request that a chat works on; None: the field was never queried."""

    chat_id: UUID = always(NIL_UUID)
    url: str | None = None
    pull_request_state: str | None = None
    pull_request_title: str = always("")
    pull_request_draft: bool = always(False)
    changes_requested: bool = always(False)
    additions: Int32 = always(0)
    deletions: Int32 = always(0)
    changed_files: Int32 = always(0)
    author_login: str | None = None
    author_avatar_url: str | None = None
    base_branch: str | None = None
    head_branch: str | None = None
    pr_number: Int32 | None = None
    commits: Int32 | None = None
    approved: bool | None = None
    reviewer_count: Int32 | None = None
    refreshed_at: Time | None = None
    stale_at: Time | None = None


class Chat(Value):
    """A chat in an owner's list. An older peer's `status` may be pending, paused or completed."""

    id: UUID = always(NIL_UUID)
    owner_id: UUID = always(NIL_UUID)
    workspace_id: UUID | None = None
    build_id: UUID | None = None
    agent_id: UUID | None = None
    parent_chat_id: UUID | None = None
    root_chat_id: UUID | None = None
    last_model_config_id: UUID = always(NIL_UUID)
    title: str = always("")
    status: str = always("")
    last_error: str | None = always(None)
    diff_status: ChatDiffStatus | None = None
    created_at: Time = always(ZERO_TIME)
    updated_at: Time = always(ZERO_TIME)
    archived: bool = always(False)
    pin_order: Int32 = always(0)
    mcp_server_ids: tuple[UUID, ...] | None = always(None)
    labels: dict[str, str] | None = always(None)
    has_unread: bool = always(False)


class ChatEvent(Value):
    """A chat of the owner changed; `chat` is its whole new state."""

    kind: ChatEventKind = always(ChatEventKind(""))
    chat: Chat = always(Chat())
    seq: Int64 | None = None
    draft: Int64 | None = None


class ChatStreamRetry(Value):
    """A model call failed and will be retried at `retrying_at`; `attempt` counts from 1."""

    attempt: Int64 = always(0)
    delay_ms: Int64 = always(0)
    error: str = always("")
    kind: str = ""
    provider: str = ""
    status_code: Int64 = 0
    retrying_at: Time = always(ZERO_TIME)


class ChatStreamError(Value):
    """Why a turn failed."""

    message: str = always("")
    kind: str = ""
    provider: str = ""
    retryable: bool = always(False)
    status_code: Int64 = 0


class ChatStreamNotifyMessage(Value):
    """The chat changed. The fields that are set say what to refresh.

    `after_message_id`: there are messages with a greater id. `worker_id`: the instance that runs the chat.
    `full_refresh`: the history was truncated; read it from the beginning. `error` is the legacy form, always sent
    beside `error_payload` for older replicas; `failure` reads both.
    """

    after_message_id: Int64 = 0
    status: str = ""
    worker_id: str = ""
    retry: ChatStreamRetry | None = None
    error_payload: ChatStreamError | None = None
    error: str = ""
    queue_update: bool = False
    full_refresh: bool = False
    seq: Int64 | None = None
    draft: Int64 | None = None

    @property
    def failure(self) -> ChatStreamError | None:
        """The error: the payload, else the legacy string of an older replica."""
        if self.error_payload is None and self.error:
            return ChatStreamError(message=self.error)
        return self.error_payload


class InboxNotificationAction(Value):
    label: str = always("")
    url: str = always("")


class InboxNotification(Value):
    """A notification for an owner; `content` is Markdown, `read_at` None while unread."""

    id: UUID = always(NIL_UUID)
    user_id: UUID = always(NIL_UUID)
    template_id: UUID = always(NIL_UUID)
    targets: tuple[UUID, ...] | None = always(None)
    title: str = always("")
    content: str = always("")
    icon: str = always("")
    actions: tuple[InboxNotificationAction, ...] | None = always(None)
    read_at: Time | None = always(None)
    created_at: Time = always(ZERO_TIME)


class InboxNotificationEvent(Value):
    kind: InboxNotificationEventKind = always(InboxNotificationEventKind(""))
    inbox_notification: InboxNotification = always(InboxNotification())


class ChatMessage(Value):
    """A message. `role` is one of core.parts.Role, or a newer peer's."""

    id: Int64 = always(0)
    chat_id: UUID = always(NIL_UUID)
    created_by: UUID | None = None
    model_config_id: UUID | None = None
    created_at: Time = always(ZERO_TIME)
    role: str = always("")
    content: tuple[Part, ...] = ()
    usage: Usage | None = None


P = TypeVar("P", bound=Value)
Callback = Callable[[P, AntiphonError | None], Awaitable[None]]
"""A subscriber's function (payload, error): the payload is the type's zero value if there is an error."""
Handler = Callable[[bytes, Exception | None], Awaitable[None]]
"""The function that the bus calls with a message, or with an error (messages dropped, connection lost)."""
Report = Callable[[Exception], None]
"""Receives the exception that a callback raised; the subscription continues."""


def handle_chat_config_event(cb: Callback[ChatConfigEvent], report: Report | None = None) -> Handler:
    """The bus handler for a callback of ChatConfigEvents."""
    return _make_handler(ChatConfigEvent, "chat config event", cb, report)


def handle_chat_event(cb: Callback[ChatEvent], report: Report | None = None) -> Handler:
    """The bus handler for a callback of ChatEvents."""
    return _make_handler(ChatEvent, "chat event", cb, report)


def handle_inbox_notification_event(cb: Callback[InboxNotificationEvent], report: Report | None = None) -> Handler:
    """The bus handler for a callback of InboxNotificationEvents."""
    return _make_handler(InboxNotificationEvent, "inbox notification event", cb, report)


def _make_handler(kind: type[P], name: str, cb: Callback[P], report: Report | None) -> Handler:
    async def handle(message: bytes, error: Exception | None = None) -> None:
        try:
            await cb(*_read(kind, name, message, error))
        except Exception as failure:
            if report is not None:
                report(failure)

    return handle


def _read(kind: type[P], name: str, message: bytes, error: Exception | None) -> tuple[P, AntiphonError | None]:
    if error is not None:
        failure = AntiphonError(f"{name} pubsub: {error}")
        failure.__cause__ = error
        return kind(), failure
    try:
        return decode(message, kind), None
    except PeerError as unreadable:
        failure = PeerError(f"unmarshal {name}: {unreadable}")
        failure.__cause__ = unreadable
        return kind(), failure
