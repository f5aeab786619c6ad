"""What requests and answers look like: types for reading bodies, and for /openapi.json."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.core.facts import CallDropped
from antiphon.core.model import Needs, WhenBusy
from antiphon.core.parts import NO_USAGE, Part, Usage
from antiphon.core.values import Value
from antiphon.wire import codec, notify
from antiphon.wire.gotime import Time

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Limit = Annotated[int, msgspec.Meta(ge=1, description="a greater one than allowed is cut")]
Uuid = Annotated[
    str, msgspec.Meta(pattern="^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$")
]
PinOrder = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]

# --- requests ---------------------------------------------------------------------------------------


class CreateChatBody(Value):
    id: Uuid | None = None
    content: str | list[Part] | None = None
    title: str = ""
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}


class ChangeChatBody(Value):
    title: str | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    pin_order: PinOrder | UnsetType = UNSET
    model: str | UnsetType = UNSET
    system: str | UnsetType = UNSET


class SendBody(Value):
    content: str | list[Part]
    when_busy: WhenBusy = WhenBusy.QUEUE
    client_message_id: str | None = None
    model: str = ""


class EditBody(Value):
    content: str | list[Part]
    clear_queue: bool = False


class RetryBody(Value):
    turn_id: Count = 0


class EditQueuedBody(Value):
    content: str | list[Part]


class MoveQueuedBody(Value):
    before: Count | None


class InterruptBody(Value):
    turn_id: Count
    clear_queue: bool = False


class ApprovalBody(Value):
    tool_call_id: Name
    approved: bool
    reason: str = ""


class SessionBody(Value):
    token: str


class CreateTokenBody(Value):
    owner: Name
    admin: bool = False


# --- queries ----------------------------------------------------------------------------------------


class ListChatsQuery(Value):
    archived: bool | None = None
    label: str = ""
    q: str = ""
    limit: Limit = 50
    after: str = ""


class MessagesQuery(Value):
    after_id: Count | None = None
    before_id: Count | None = None
    limit: Limit = 50


class StreamQuery(Value):
    after: str = ""
    until: str = ""
    commit: str = ""


# --- answers ----------------------------------------------------------------------------------------


class OpenCallAnswer(Value):
    """A tool call that waits for an answer from outside."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: Needs
    deadline: str


class ChatAnswer(notify.Chat):
    """The reference's Chat with where it stands."""

    seq: int = codec.always(0)
    draft: int = codec.always(0)
    queue_length: int = codec.always(0)
    turn_id: int | None = codec.always(None)
    model: str = codec.always("")
    usage: Usage = codec.always(NO_USAGE)
    open_calls: tuple[OpenCallAnswer, ...] = codec.always(())


class MessageAnswer(Value):
    id: int
    chat_id: str
    created_at: str
    role: str
    turn_id: int
    created_by: str = ""
    content: list[Part] = []
    usage: Usage | None = None
    interrupted: bool = False
    outcome: str = ""
    dropped: list[CallDropped] = []
    client_message_id: str = ""


class QueuedMessageAnswer(Value):
    id: int
    chat_id: str
    content: list[Part]
    when_busy: WhenBusy
    promoted: bool
    created_at: str
    model: str = ""
    client_message_id: str = ""


class ChatsAnswer(Value):
    chats: list[ChatAnswer]
    next: str | None


class MessagesAnswer(Value):
    messages: list[MessageAnswer]
    queued_messages: list[QueuedMessageAnswer]
    has_more: bool
    open_calls: list[OpenCallAnswer]


class SentAnswer(Value):
    message: MessageAnswer
    seq: int


class QueuedAnswer(Value):
    queued_message: QueuedMessageAnswer
    seq: int


class SeqAnswer(Value):
    seq: int


class RetryAnswer(Value):
    turn_id: int
    seq: int


class InterruptAnswer(Value):
    interrupted: bool
    seq: int


class TokenAnswer(Value):
    id: str
    owner_id: str
    owner: str
    admin: bool
    created_at: str
    revoked_at: str | None
    token: str = ""


class TokensAnswer(Value):
    tokens: list[TokenAnswer]


class SessionAnswer(Value):
    owner_id: str
    owner: str
    admin: bool


class HealthAnswer(Value):
    status: str
    instance_id: str
    role: str


class ReadyAnswer(Value):
    """`warnings` name what is as it was asked for, though not safe: `bus_without_keys`, `bus_without_credentials`.
    `slowed` names what does not work and makes all only slower: `hints`, `relay`."""

    status: str
    warnings: list[str] | UnsetType = UNSET
    slowed: list[str] | UnsetType = UNSET


class InstanceEventsQuery(Value):
    topic: str = ""
    """Only these topics, with commas between them."""


class InstanceSessionBody(Value):
    session_id: str


class InstanceSendBody(Value):
    session_id: str
    content: str


class OkAnswer(Value):
    ok: bool


class SessionShown(Value):
    id: str
    title: str
    updated_at: str
    message_count: int


class InstanceAnswer(Value):
    """`is_silent`: it does not answer (of a replica: its session is gone). What only an instance that answers can say
    is left out of a silent one. `host`, `running` turns of `capacity` and `is_draining` are said of replicas."""

    instance_id: str
    pid: int
    role: str
    version: str
    project_id: str
    data: str
    started_at: str
    http_url: str
    rpc_endpoint: str
    is_self: bool
    is_silent: bool
    uptime: str = ""
    session_count: int = 0
    active_session_id: str | None = None
    active_title: str = ""
    host: str = ""
    running: int = 0
    capacity: int = 0
    is_draining: bool = False
    sessions: list[SessionShown] | UnsetType = UNSET


class InstancesAnswer(Value):
    instances: list[InstanceAnswer]


# --- the inbox


class InboxQuery(Value):
    """`after` is the `next` of the page before."""

    unread: bool = False
    limit: Limit = 50
    after: str = ""


class NotificationAnswer(notify.InboxNotification):
    """The reference's InboxNotification."""


class InboxAnswer(Value):
    notifications: list[notify.InboxNotification]
    unread_count: int
    next: str | None


class UnreadAnswer(Value):
    unread_count: int


class ReadChatBody(Value):
    """Without a `seq`: up to the chat's last."""

    seq: Count | None = None


DIFF_TEXT_MAX = 2_048
DiffText = Annotated[str, msgspec.Meta(max_length=DIFF_TEXT_MAX)]


class DiffStatusBody(Value):
    """The reference's ChatDiffStatus of this chat; what is not given was never looked up."""

    url: DiffText | None = None
    pull_request_state: DiffText | None = None
    pull_request_title: DiffText = ""
    pull_request_draft: bool = False
    changes_requested: bool = False
    additions: codec.Int32 = 0
    deletions: codec.Int32 = 0
    changed_files: codec.Int32 = 0
    author_login: DiffText | None = None
    author_avatar_url: DiffText | None = None
    base_branch: DiffText | None = None
    head_branch: DiffText | None = None
    pr_number: codec.Int32 | None = None
    commits: codec.Int32 | None = None
    approved: bool | None = None
    reviewer_count: codec.Int32 | None = None
    refreshed_at: Time | None = None
    stale_at: Time | None = None


# --- configuration


class CreateProviderBody(Value):
    """`secret` is `env:NAME`, `file:PATH` or the secret itself; it is never given back."""

    name: str
    kind: str
    base_url: str = ""
    secret: str = ""
    is_enabled: bool = True


class ChangeProviderBody(Value):
    """Another kind or base_url forgets the secret, unless a new one comes along; null takes it away."""

    name: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    secret: str | UnsetType | None = UNSET
    is_enabled: bool | UnsetType = UNSET


class ProviderAnswer(Value):
    """`base_url` and `secret_reference` (where the secret is, if it is kept elsewhere) are told to admins only."""

    id: str
    name: str
    kind: str
    has_secret: bool
    is_enabled: bool
    created_at: str
    updated_at: str
    base_url: str | UnsetType = UNSET
    secret_reference: str | UnsetType = UNSET


class ProvidersAnswer(Value):
    providers: list[ProviderAnswer]


class CreateModelConfigBody(Value):
    """`parameters` go into each request to the provider as they are."""

    name: str
    model: str
    parameters: dict[str, Any] = {}
    is_default: bool = False
    is_enabled: bool = True


class ChangeModelConfigBody(Value):
    name: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    is_default: bool | UnsetType = UNSET
    is_enabled: bool | UnsetType = UNSET


class ModelConfigAnswer(Value):
    id: str
    name: str
    model: str
    parameters: dict[str, Any]
    is_default: bool
    is_enabled: bool
    created_at: str
    updated_at: str


class ModelConfigsAnswer(Value):
    model_configs: list[ModelConfigAnswer]


class PromptBody(Value):
    prompt: str


class PromptAnswer(Value):
    prompt: str
    updated_at: str | None


class ErrorDetail(Value):
    code: str
    message: str
    field: str = ""
    reason: str = ""
    status: str = ""
    limit: int = 0
    retry_after_ms: int = 0
    id: str = ""


class ErrorAnswer(Value):
    error: ErrorDetail


Json = dict[str, Any]
