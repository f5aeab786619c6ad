"""The JSON objects in responses of the HTTP API, as typed dictionaries.

They are plain JSON, so fields that a newer server adds are present too. Times are RFC 3339; ids of messages, turns
and drafts are seqs.

Generated from the route table by scripts/client_shapes.py. Do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

from antiphon.core.parts import Part

Content = str | Sequence[Part] | Sequence[dict[str, Any]]
"""The content of a message: a string (one text part), or parts, as values of `core.parts` or as JSON objects."""

WhenBusy = Literal["queue", "steer", "interrupt", "reject"]


class ClientTool(TypedDict):
    """A tool that a client runs. `parameters` is a JSON Schema of an object."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]


class OpenCall(TypedDict):
    """A tool call that is waiting for a client. `needs` is result, approval or answer (of a `question`)."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: str
    deadline: str
    question: NotRequired[str]


class Chat(TypedDict):
    """A chat. `status` is waiting, running, interrupting, requires_action or error; `turn_id` is None while idle."""

    id: str
    owner_id: str
    workspace_id: NotRequired[str | None]
    build_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    parent_chat_id: NotRequired[str | None]
    root_chat_id: NotRequired[str | None]
    last_model_config_id: str
    title: str
    status: str
    last_error: str | None
    diff_status: NotRequired[DiffStatus | None]
    created_at: str
    updated_at: str
    archived: bool
    pin_order: int
    mcp_server_ids: list[str] | None
    labels: dict[str, str]
    has_unread: bool
    parent_tool_call_id: NotRequired[str | None]
    forked_from: NotRequired[dict[str, Any] | None]
    seq: int
    draft: int
    queue_length: int
    turn_id: int | None
    model: str
    usage: dict[str, int]
    open_calls: NotRequired[list[OpenCall]]


class ChatPage(TypedDict):
    """A page of chats, latest change first. `next` is the `after` of the following page; None: this is the last."""

    chats: list[Chat]
    next: str | None


class Message(TypedDict):
    """A message of the history. `role` is system, user, assistant or tool; `content` its parts as JSON."""

    id: int
    chat_id: str
    created_at: str
    role: str
    turn_id: int
    created_by: NotRequired[str]
    via: NotRequired[str]
    content: NotRequired[list[dict[str, Any]]]
    usage: NotRequired[dict[str, int]]
    model: NotRequired[str]
    interrupted: NotRequired[bool]
    outcome: NotRequired[str]
    dropped: NotRequired[list[dict[str, str]]]
    client_message_id: NotRequired[str]


class QueuedMessage(TypedDict):
    """A message in the queue."""

    id: int
    chat_id: str
    content: list[dict[str, Any]]
    when_busy: str
    promoted: bool
    created_at: str
    model: NotRequired[str]
    client_message_id: NotRequired[str]


class MessagePage(TypedDict):
    """A page of messages, ascending, and the queue. `has_more`: further messages in the requested direction."""

    messages: list[Message]
    queued_messages: list[QueuedMessage]
    has_more: bool
    open_calls: NotRequired[list[OpenCall]]


class Sent(TypedDict):
    """The result of a send: `message` if it is in the history, `queued_message` if it was queued."""

    message: NotRequired[Message]
    seq: int
    queued_message: NotRequired[QueuedMessage]


class State(TypedDict):
    """The agent's own JSON document of a chat. `seq` 0: it has stored none."""

    state: Any
    seq: int


class Version(TypedDict):
    """What an edit or a retry replaced: the messages from `from_message_id` on, after `after_message_id`."""

    seq: int
    at: str
    from_message_id: int
    after_message_id: int


class VersionList(TypedDict):
    """What edits and retries have replaced in a chat."""

    versions: list[Version]


class NewShare(TypedDict):
    """A new link to a chat. Its `secret` is returned only once."""

    id: str
    chat_id: str
    created_at: str
    secret: str


class Share(TypedDict):
    """A link to a chat, without its secret."""

    id: str
    chat_id: str
    created_at: str


class ShareList(TypedDict):
    """The links to a chat."""

    shares: list[Share]


class Edited(TypedDict):
    """The message that replaced the edited one."""

    message: Message
    seq: int


class Seq(TypedDict):
    """The seq of the new fact; if nothing changed, of the chat's last fact."""

    seq: int


class Retried(TypedDict):
    """The turn that was restarted."""

    turn_id: int
    seq: int


class Interrupted(TypedDict):
    """`interrupted`: the turn was interrupted, or is being interrupted."""

    interrupted: bool
    seq: int


class UploadedFile(TypedDict):
    """An uploaded file. `size` is in bytes; `sha256` is in hexadecimal."""

    file_id: str
    media_type: str
    size: int
    sha256: str
    name: NotRequired[str]


class Token(TypedDict):
    """A bearer token, without its secret."""

    id: str
    owner_id: str
    owner: str
    admin: bool
    created_at: str
    revoked_at: str | None


class NewToken(TypedDict):
    """A new token. `token` is its secret, which is returned only once."""

    id: str
    owner_id: str
    owner: str
    admin: bool
    created_at: str
    revoked_at: str | None
    token: str


class TokenList(TypedDict):
    """All tokens of the store."""

    tokens: list[Token]


class Provider(TypedDict):
    """A provider of models. Its secret is never returned. Only admins get `base_url` and `secret_reference`."""

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


class Model(TypedDict):
    """A model that a chat may name. `model` is what its name stands for."""

    name: str
    model: str
    is_default: bool
    is_demo: bool


class ModelList(TypedDict):
    """The models that a chat may name."""

    default: str
    models: list[Model]


class ProviderError(TypedDict):
    """Why a provider cannot be used, in a sentence."""

    kind: str
    message: str


class ProviderCheck(TypedDict):
    """Whether a provider can be used, and the names of the models it offers."""

    ok: bool
    models: list[str]
    error: ProviderError | None


class Prompt(TypedDict):
    """The owner's system prompt, for every model call in the owner's chats; "": none."""

    prompt: str
    updated_at: str | None


class McpServer(TypedDict):
    """An MCP server. `state` is starting, connected or lost; `tools` are the names of its tools for agents."""

    id: str
    name: str
    state: str
    tools: list[str]


class UsageTotal(TypedDict):
    """Tokens, and the cost of those with a price, in millionths of the currency's unit (None: none has one)."""

    calls: int
    turns: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    cost_micros: int | None
    unpriced_tokens: int


class UsageRow(TypedDict):
    """What was used of one model in one day. A turn counts for its first model."""

    calls: int
    turns: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    cost_micros: int | None
    unpriced_tokens: int
    day: str
    model: str


class Budget(TypedDict):
    """A budget of the day: `limit` and `used` in tokens, or in millionths of the currency's unit."""

    name: str
    limit: int
    used: int
    resets_at: str


class Usage(TypedDict):
    """What an owner has used, by day and model. `currency` is that of the costs."""

    owner_id: str
    currency: str | None
    first_day: str
    last_day: str
    rows: list[UsageRow]
    total: UsageTotal
    budgets: list[Budget]


class McpServers(TypedDict):
    """The MCP servers whose tools chats may use."""

    mcp_servers: list[McpServer]


class Health(TypedDict):
    """The result of a health check."""

    status: str
    instance_id: str
    role: NotRequired[str]


class InstanceSession(TypedDict):
    """The summary of a chat of an instance."""

    id: str
    title: str
    updated_at: str
    message_count: int


class Instance(TypedDict):
    """An instance on the server's machine, or a replica on its store. `is_silent`: it does not respond."""

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
    uptime: NotRequired[str]
    session_count: NotRequired[int]
    active_session_id: NotRequired[str | None]
    active_title: NotRequired[str]
    host: NotRequired[str]
    running: NotRequired[int]
    capacity: NotRequired[int]
    is_draining: NotRequired[bool]
    sessions: NotRequired[list[InstanceSession]]


class InstanceList(TypedDict):
    """The instances on the server's machine and on its store."""

    instances: list[Instance]


class NotificationAction(TypedDict):
    """A link of a notification."""

    label: str
    url: str


class Notification(TypedDict):
    """A notification. `content` is Markdown; `read_at` is None while it is unread."""

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
    """A page of notifications, newest first. `next` is the `after` of the following page."""

    notifications: list[Notification]
    unread_count: int
    next: str | None


class UnreadCount(TypedDict):
    """The number of unread notifications."""

    unread_count: int


class DiffStatus(TypedDict):
    """The state of the pull request that a chat works on."""

    chat_id: str
    url: NotRequired[str | None]
    pull_request_state: NotRequired[str | None]
    pull_request_title: str
    pull_request_draft: bool
    changes_requested: bool
    additions: int
    deletions: int
    changed_files: int
    author_login: NotRequired[str | None]
    author_avatar_url: NotRequired[str | None]
    base_branch: NotRequired[str | None]
    head_branch: NotRequired[str | None]
    pr_number: NotRequired[int | None]
    commits: NotRequired[int | None]
    approved: NotRequired[bool | None]
    reviewer_count: NotRequired[int | None]
    refreshed_at: NotRequired[str | None]
    stale_at: NotRequired[str | None]
