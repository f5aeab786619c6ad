"""What the server answers with, as typed dictionaries (docs/http.md): plain JSON objects, so that fields a newer
server adds are there too. Times are RFC 3339; ids of messages, turns and drafts are seqs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

from antiphon.core.parts import Part

Content = str | Sequence[Part] | Sequence[dict[str, Any]]
"""What a message says: a string (one text part), or parts, as values of `core.parts` or as JSON objects."""

WhenBusy = Literal["queue", "steer", "interrupt", "reject"]


class OpenCall(TypedDict):
    """A tool call that waits for an answer from outside. `needs` is result or approval."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: str
    deadline: str


class Chat(TypedDict):
    """A chat and where it stands. `status` is waiting, running, interrupting, requires_action or error; `turn_id`
    is None while it is idle."""

    id: str
    owner_id: str
    title: str
    status: str
    last_error: str | None
    created_at: str
    updated_at: str
    archived: bool
    pin_order: int
    labels: dict[str, str]
    has_unread: bool
    seq: int
    draft: int
    queue_length: int
    turn_id: int | None
    model: str
    usage: dict[str, int]

    open_calls: NotRequired[list[OpenCall]]


class ChatPage(TypedDict):
    """A page of chats, latest change first; `next` asks for the following one, None: there is none."""

    chats: list[Chat]
    next: str | None


class Message(TypedDict):
    """A message of the history. `role` is system, user, assistant or tool; `content` its parts as JSON."""

    id: int
    chat_id: str
    created_at: str
    role: str
    turn_id: int
    content: NotRequired[list[dict[str, Any]]]
    created_by: NotRequired[str]
    usage: NotRequired[dict[str, int]]
    interrupted: NotRequired[bool]
    outcome: NotRequired[str]
    dropped: NotRequired[list[dict[str, str]]]
    client_message_id: NotRequired[str]


class QueuedMessage(TypedDict):
    """A message that waits for the turn to end."""

    id: int
    chat_id: str
    content: list[dict[str, Any]]
    when_busy: str
    promoted: bool
    created_at: str
    model: NotRequired[str]
    client_message_id: NotRequired[str]


class MessagePage(TypedDict):
    """Messages, ascending, and all that wait. `has_more`: in the direction that was asked."""

    messages: list[Message]
    queued_messages: list[QueuedMessage]
    has_more: bool


class Sent(TypedDict):
    """What became of a message: `message` if it entered the history, `queued_message` if it waits."""

    seq: int
    message: NotRequired[Message]
    queued_message: NotRequired[QueuedMessage]


class Edited(TypedDict):
    """The message that took the edited one's place."""

    seq: int
    message: Message


class Seq(TypedDict):
    """The seq of the fact that says so, else the chat's last."""

    seq: int


class Retried(TypedDict):
    """The turn that runs again."""

    turn_id: int
    seq: int


class Interrupted(TypedDict):
    """`interrupted`: that turn is being or was just stopped."""

    interrupted: bool
    seq: int


class Token(TypedDict):
    """A bearer token, without its secret."""

    id: str
    owner_id: str
    owner: str
    admin: bool
    created_at: str
    revoked_at: str | None


class TokenList(TypedDict):
    """All tokens of the store."""

    tokens: list[Token]


class NewToken(Token):
    """A token that was just made; `token` is its secret, shown this once."""

    token: str


class Provider(TypedDict):
    """Where models are called; of its secret only that there is one. Admins are told `base_url` and
    `secret_reference`, too."""

    id: str
    name: str
    kind: str
    has_secret: bool
    is_enabled: bool
    created_at: str
    updated_at: str
    base_url: NotRequired[str]
    secret_reference: NotRequired[str]


class ProviderList(TypedDict):
    """All providers."""

    providers: list[Provider]


class ModelConfig(TypedDict):
    """A name for a model with its parameters."""

    id: str
    name: str
    model: str
    parameters: dict[str, Any]
    is_default: bool
    is_enabled: bool
    created_at: str
    updated_at: str


class ModelConfigList(TypedDict):
    """All model configurations."""

    model_configs: list[ModelConfig]


class Prompt(TypedDict):
    """What every model is told first, in one's own chats; empty: nothing."""

    prompt: str
    updated_at: str | None


class Health(TypedDict):
    """Alive, and who."""

    status: str
    instance_id: str


class Instance(TypedDict):
    """An instance of the machine, or a replica on the store. `is_silent`: it does not answer."""

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
    host: NotRequired[str]
    running: NotRequired[int]
    capacity: NotRequired[int]
    is_draining: NotRequired[bool]


class InstanceList(TypedDict):
    instances: list[Instance]


class NotificationAction(TypedDict):
    label: str
    url: str


class Notification(TypedDict):
    """What happened while nobody watched; `content` is Markdown, `read_at` None while it was not read."""

    id: str
    user_id: str
    template_id: str
    targets: list[str]
    title: str
    content: str
    icon: str
    actions: list[NotificationAction]
    read_at: str | None
    created_at: str


class Inbox(TypedDict):
    """A page of notifications, the newest first; `next` is the `after` of the following page."""

    notifications: list[Notification]
    unread_count: int
    next: str | None


class UnreadCount(TypedDict):
    unread_count: int
