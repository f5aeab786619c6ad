"""The tools: their arguments and results as types, and their descriptions. The schemas are made from the types."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import UNSET, Meta, UnsetType

from antiphon.core.values import Value
from antiphon.wire.mcp_server.schema import schema_of

WAIT_S = 45.0
"""How long a call waits for an answer if it does not say, in seconds: clients usually give up after 60."""
WAIT_S_MAX = 600.0
"""Maximum time a call waits, in seconds."""
LIST_MAX = 100
PAGE_MAX = 100
PAGE = 20

ChatId = Annotated[str, Meta(min_length=1, max_length=128, description="The id of a chat.")]
Text = Annotated[str, Meta(min_length=1, description="The text of the message.")]
Wait = Annotated[
    float,
    Meta(
        ge=0,
        le=WAIT_S_MAX,
        description="How long to wait for the answer, in seconds; 0 returns at once. When the time is up, the answer "
        "goes on: wait_for_answer returns it later.",
    ),
]
Key = Annotated[
    str,
    Meta(
        max_length=128,
        pattern="^[ -~]*$",
        description="Any text for this call. The same call repeated with the same key runs nothing twice.",
    ),
]
Id = Annotated[int, Meta(ge=1, le=2**53)]
Position = Annotated[int, Meta(ge=0, le=2**53)]


class AnswerStatus(StrEnum):
    """What has become of a message."""

    QUEUED = "queued"
    RUNNING = "running"
    REQUIRES_ACTION = "requires_action"
    ANSWERED = "answered"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    REPLACED = "replaced"
    DELETED = "deleted"


# --- arguments


class StartChat(Value):
    text: Text
    title: Annotated[str, Meta(description="Made from the text if empty.")] = ""
    model: Annotated[str, Meta(description="The server's default model if empty.")] = ""
    system: Annotated[str, Meta(description="The system prompt of the chat.")] = ""
    labels: Annotated[dict[str, str], Meta(description="Names and values by which the chat can be found.")] = {}
    wait_s: Wait = WAIT_S
    idempotency_key: Key = ""


class SendMessage(Value):
    chat_id: ChatId
    text: Text
    when_busy: Annotated[
        Literal["queue", "steer", "interrupt", "reject"],
        Meta(
            description="While an answer is written: wait for its end, join it, interrupt it, or refuse the message."
        ),
    ] = "queue"
    wait_s: Wait = WAIT_S
    idempotency_key: Key = ""


class WaitForAnswer(Value):
    chat_id: ChatId
    message_id: Annotated[Id | None, Meta(description="The message_id of a result.")] = None
    wait_s: Wait = WAIT_S


class ReadChat(Value):
    chat_id: ChatId
    after_id: Annotated[Position | None, Meta(description="Messages after this one; 0: from the first one.")] = None
    before_id: Annotated[Id | None, Meta(description="Messages before this one.")] = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE


class Stop(Value):
    chat_id: ChatId
    clear_queue: Annotated[bool, Meta(description="Delete the messages that wait, too.")] = False


class ListChats(Value):
    query: Annotated[str, Meta(description="Part of the title.")] = ""
    archived: bool = False
    limit: Annotated[int, Meta(ge=1, le=LIST_MAX)] = PAGE
    cursor: Annotated[str, Meta(max_length=256, description="The next_cursor of the page before.")] = ""


class AnswerCall(Value, gc=True):
    chat_id: ChatId
    tool_call_id: Annotated[str, Meta(min_length=1, description="The id of the open call.")]
    approved: Annotated[bool | None, Meta(description="For a call that needs an approval.")] = None
    reason: Annotated[str, Meta(max_length=256, description="Why it is denied.")] = ""
    answer: Annotated[Any, Meta(description="For a call that needs an answer: any JSON value.")] | UnsetType = UNSET
    result: Annotated[Any, Meta(description="For a call that needs a result: any JSON value.")] | UnsetType = UNSET
    is_error: Annotated[bool, Meta(description="The tool has failed; the result says why.")] = False
    wait_s: Wait = WAIT_S


# --- results


class OpenCallResult(Value, gc=True):
    """A tool call that waits for an approval, an answer or a result."""

    tool_call_id: str
    tool_name: str
    needs: Literal["approval", "answer", "result"]
    deadline: str
    args: Any = None
    question: str = ""


class AnswerResult(Value, gc=True):
    """What has become of a message, and its answer so far."""

    chat_id: str
    status: AnswerStatus
    message_id: Annotated[int, Meta(description="Of the message that is being answered; 0: there is none.")] = 0
    answer: Annotated[str, Meta(description="The text of the answer; the beginning of it while it is written.")] = ""
    is_cut: Annotated[bool, Meta(description="The answer is too long for a result; read the resource.")] = False
    attachments: Annotated[list[Any], Meta(description="Files, sources and values of the answer.")] = []
    open_calls: list[OpenCallResult] = []
    error: Annotated[str, Meta(description="Why the answer failed.")] = ""
    next: Annotated[str, Meta(description="What to do to go on.")] = ""


class MessageResult(Value, gc=True):
    message_id: int
    role: Literal["user", "assistant", "tool"]
    created_at: str
    text: str = ""
    calls: Annotated[list[Any], Meta(description="Tool calls, or the results of tool calls.")] = []
    attachments: list[Any] = []
    reasoning: str = ""
    is_interrupted: bool = False
    is_cut: Annotated[bool, Meta(description="Parts are left out because the message is too large.")] = False


class ChatResult(Value, gc=True):
    """A page of a chat, oldest message first."""

    chat_id: str
    title: str
    status: str
    messages: list[MessageResult]
    has_more: Annotated[bool, Meta(description="There are further messages in the direction of the page.")] = False
    queued: Annotated[list[MessageResult], Meta(description="The next messages that wait.")] = []
    queued_count: Annotated[int, Meta(description="The number of messages that wait.")] = 0
    open_calls: list[OpenCallResult] = []


class ChatSummary(Value):
    chat_id: str
    title: str
    status: str
    updated_at: str
    is_archived: bool = False


class ChatsResult(Value, gc=True):
    chats: list[ChatSummary]
    next_cursor: str = ""


# --- the table


class ToolInfo(NamedTuple):
    """A tool. `hints` are the annotations of the specification."""

    name: str
    title: str
    description: str
    arguments: type[Value]
    result: type[Value]
    hints: dict[str, bool]


READS = {"readOnlyHint": True, "openWorldHint": False}
STARTS = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False, "openWorldHint": True}
ENDS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": False}
DECIDES = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}

TOOLS: tuple[ToolInfo, ...] = (
    ToolInfo("start_chat", "Start a chat",
             "Start a chat with an agent or a model and return its answer. A long answer is returned with the status "
             "`running`; it goes on, and wait_for_answer returns the rest.", StartChat, AnswerResult, STARTS),
    ToolInfo("send_message", "Send a message",
             "Send a message to a chat and return the answer. While another answer is being written it waits in a "
             "queue, unless `when_busy` says otherwise.", SendMessage, AnswerResult, STARTS),
    ToolInfo("wait_for_answer", "Wait for an answer",
             "Wait until a message is answered, fails, or needs an approval or an answer. Without message_id: the "
             "message that is being answered, or else the last one.", WaitForAnswer, AnswerResult, READS),
    ToolInfo("read_chat", "Read a chat",
             "Read messages of a chat: the newest ones, or those after or before a message.", ReadChat, ChatResult,
             READS),
    ToolInfo("stop", "Stop an answer",
             "Stop the answer that is being written in a chat. What was written is kept.", Stop, AnswerResult, ENDS),
    ToolInfo("list_chats", "List chats", "List chats, latest change first.", ListChats, ChatsResult, READS),
    ToolInfo("answer_call", "Answer an open call",
             "Approve or deny a tool call of a chat that requires action, answer its question, or give the result of "
             "a tool that clients run; then wait for the chat's answer. Approve only what your user wants.",
             AnswerCall, AnswerResult, DECIDES),
)  # fmt: skip

BY_NAME = {tool.name: tool for tool in TOOLS}


@cache
def tools_json() -> list[dict[str, Any]]:
    """The tools as `tools/list` returns them."""
    return [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": schema_of(tool.arguments),
            "outputSchema": schema_of(tool.result),
            "annotations": {"title": tool.title, **tool.hints},
        }
        for tool in TOOLS
    ]
