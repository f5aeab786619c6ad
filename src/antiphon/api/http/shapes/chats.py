"""The bodies and queries of the routes of chats, messages and streams."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from antiphon.api.http.shapes.values import CallId, Count, Limit, PinOrder, Uuid
from antiphon.chats.client_tools import ClientTool
from antiphon.core.facts import CallDropped
from antiphon.core.model import ForkedFrom, Needs, WhenBusy
from antiphon.core.parts import NO_USAGE, Part, Usage
from antiphon.core.values import Value
from antiphon.wire import codec, notify


class CreateChatBody(Value):
    id: Uuid | None = None
    content: str | list[Part] | None = None
    title: str = ""
    model: str = ""
    system: str = ""
    labels: dict[str, str] = {}
    tools: list[ClientTool] = []
    mcp_server_ids: list[Uuid] | None = None


class ForkBody(Value):
    """`as_of`: the fork of the history as it was at that seq."""

    message_id: Count
    as_of: Count | None = None
    id: Uuid | None = None
    title: str = ""


class ChangeChatBody(Value):
    title: str | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    pin_order: PinOrder | UnsetType = UNSET
    model: str | UnsetType = UNSET
    system: str | UnsetType = UNSET
    tools: list[ClientTool] | UnsetType = UNSET
    mcp_server_ids: list[Uuid] | UnsetType | None = UNSET


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
    tool_call_id: CallId
    approved: bool
    reason: str = ""
    args: dict[str, Any] | UnsetType = UNSET
    always: bool = False


class ToolResultBody(Value):
    tool_call_id: CallId
    result: Any
    is_error: bool = False


class AnswerBody(Value):
    tool_call_id: CallId
    answer: Any


class ListChatsQuery(Value):
    parent_chat_id: Uuid | None = None
    archived: bool | None = None
    pinned: bool = False
    label: str = ""
    q: str = ""
    limit: Limit = 50
    after: str = ""


class MessagesQuery(Value):
    after_id: Count | None = None
    before_id: Count | None = None
    as_of: Count | None = None
    limit: Limit = 50


class ExportQuery(Value):
    """`format` is `json` or `markdown`."""

    format: str = "json"


class StreamQuery(Value):
    after: str = ""
    until: str = ""
    commit: str = ""


class StreamsQuery(Value):
    """`after` and `Last-Event-ID` have a cursor for each chat, separated by commas."""

    chat: list[str] = []
    after: str = ""
    commit: str = ""


class OpenCallAnswer(Value):
    """A tool call that waits for a client."""

    tool_call_id: str
    tool_name: str
    args: Any
    needs: Needs
    deadline: str
    question: str = ""


class ChatAnswer(notify.Chat):
    """The reference's Chat with its state. A fork has `forked_from`. A child chat has `parent_chat_id`,
    `root_chat_id` (the chat at the top) and `parent_tool_call_id` (the call that started it)."""

    parent_tool_call_id: str | None = None
    forked_from: ForkedFrom | None = None
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
    via: str = ""
    content: list[Part] = []
    usage: Usage | None = None
    model: str = ""
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


class VersionAnswer(Value):
    """What an edit or a retry replaced: the messages from `from_message_id` on, after `after_message_id` (0: none).
    `as_of` a seq before `seq` shows them."""

    seq: int
    at: str
    from_message_id: int
    after_message_id: int


class VersionsAnswer(Value):
    versions: list[VersionAnswer]


class StateAnswer(Value):
    """`seq` is the fact of the state, 0 if the agent has stored none."""

    state: Any
    seq: int


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
