"""Writes src/antiphon/client/shapes.py from the types of the HTTP API's route table.

Run it as `./dev exec python scripts/client_shapes.py`. A test checks that the written file is fresh. Descriptions and
names are here, because the server's types have others.
"""

from __future__ import annotations

import enum
import subprocess
import sys
import types
import typing
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Union

import msgspec

from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.shapes import (
    access,
    chats,
    configuration,
    files,
    inbox,
    instances,
    mcp_servers,
    shares,
    system,
    usage,
)
from antiphon.chats.client_tools import ClientTool
from antiphon.core import parts
from antiphon.core.facts import CallDropped
from antiphon.core.model import ForkedFrom, WhenBusy
from antiphon.wire import notify

FILE = Path(__file__).parents[1] / "src" / "antiphon" / "client" / "shapes.py"

HEAD = '''"""The JSON objects in responses of the HTTP API, as typed dictionaries.

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

WhenBusy = Literal[{when_busy}]
'''


class Shape(typing.NamedTuple):
    """A typed dictionary: the types that it merges (a field that not all have is not required), and its description.

    `required`, `optional` and `omitted` fields are so whatever the types say.
    """

    sources: tuple[type[msgspec.Struct], ...]
    description: str
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    omitted: frozenset[str] = frozenset()


SHAPES: dict[str, Shape] = {
    "ClientTool": Shape(
        (ClientTool,),
        "A tool that a client runs. `parameters` is a JSON Schema of an object.",
        optional=frozenset({"description", "parameters"}),
    ),
    "OpenCall": Shape(
        (chats.OpenCallAnswer,),
        "A tool call that is waiting for a client. `needs` is result, approval or answer (of a `question`).",
    ),
    "Chat": Shape(
        (chats.ChatAnswer,),
        "A chat. `status` is waiting, running, interrupting, requires_action or error; `turn_id` is None while idle.",
        optional=frozenset({"open_calls"}),
    ),
    "ChatPage": Shape(
        (chats.ChatsAnswer,),
        "A page of chats, latest change first. `next` is the `after` of the following page; None: this is the last.",
    ),
    "Message": Shape(
        (chats.MessageAnswer,),
        "A message of the history. `role` is system, user, assistant or tool; `content` its parts as JSON.",
    ),
    "QueuedMessage": Shape((chats.QueuedMessageAnswer,), "A message in the queue."),
    "MessagePage": Shape(
        (chats.MessagesAnswer,),
        "A page of messages, ascending, and the queue. `has_more`: further messages in the requested direction.",
        optional=frozenset({"open_calls"}),
    ),
    "Sent": Shape(
        (chats.SentAnswer, chats.QueuedAnswer),
        "The result of a send: `message` if it is in the history, `queued_message` if it was queued.",
    ),
    "State": Shape((chats.StateAnswer,), "The agent's own JSON document of a chat. `seq` 0: it has stored none."),
    "Version": Shape(
        (chats.VersionAnswer,),
        "What an edit or a retry replaced: the messages from `from_message_id` on, after `after_message_id`.",
    ),
    "VersionList": Shape((chats.VersionsAnswer,), "What edits and retries have replaced in a chat."),
    "NewShare": Shape((shares.NewShareAnswer,), "A new link to a chat. Its `secret` is returned only once."),
    "Share": Shape((shares.ShareAnswer,), "A link to a chat, without its secret."),
    "ShareList": Shape((shares.SharesAnswer,), "The links to a chat."),
    "Edited": Shape((chats.SentAnswer,), "The message that replaced the edited one."),
    "Seq": Shape((chats.SeqAnswer,), "The seq of the new fact; if nothing changed, of the chat's last fact."),
    "Retried": Shape((chats.RetryAnswer,), "The turn that was restarted."),
    "Interrupted": Shape(
        (chats.InterruptAnswer,), "`interrupted`: the turn was interrupted, or is being interrupted."
    ),
    "UploadedFile": Shape((files.UploadAnswer,), "An uploaded file. `size` is in bytes; `sha256` is in hexadecimal."),
    "Token": Shape((access.TokenAnswer,), "A bearer token, without its secret.", omitted=frozenset({"token"})),
    "NewToken": Shape(
        (access.TokenAnswer,),
        "A new token. `token` is its secret, which is returned only once.",
        required=frozenset({"token"}),
    ),
    "TokenList": Shape((access.TokensAnswer,), "All tokens of the store."),
    "Provider": Shape(
        (configuration.ProviderAnswer,),
        "A provider of models. Its secret is never returned. Only admins get `base_url` and `secret_reference`.",
    ),
    "ProviderList": Shape((configuration.ProvidersAnswer,), "All providers."),
    "ModelConfig": Shape((configuration.ModelConfigAnswer,), "A name for a model with its parameters."),
    "ModelConfigList": Shape((configuration.ModelConfigsAnswer,), "All model configurations."),
    "Model": Shape(
        (configuration.ModelAnswer,), "A model that a chat may name. `model` is what its name stands for."
    ),
    "ModelList": Shape((configuration.ModelsAnswer,), "The models that a chat may name."),
    "ProviderError": Shape((configuration.ProviderErrorAnswer,), "Why a provider cannot be used, in a sentence."),
    "ProviderCheck": Shape(
        (configuration.ProviderCheckAnswer,), "Whether a provider can be used, and the names of the models it offers."
    ),
    "Prompt": Shape(
        (configuration.PromptAnswer,),
        "The owner's system prompt, for every model call in the owner's chats; \"\": none.",
    ),
    "McpServer": Shape(
        (mcp_servers.McpServerAnswer,),
        "An MCP server. `state` is starting, connected or lost; `tools` are the names of its tools for agents.",
    ),
    "UsageTotal": Shape(
        (usage.UsageTotal,),
        "Tokens, and the cost of those with a price, in millionths of the currency's unit (None: none has one).",
    ),
    "UsageRow": Shape((usage.UsageRow,), "What was used of one model in one day. A turn counts for its first model."),
    "Budget": Shape(
        (usage.BudgetAnswer,),
        "A budget of the day: `limit` and `used` in tokens, or in millionths of the currency's unit.",
    ),
    "Usage": Shape(
        (usage.UsageAnswer,), "What an owner has used, by day and model. `currency` is that of the costs."
    ),
    "McpServers": Shape((mcp_servers.McpServersAnswer,), "The MCP servers whose tools chats may use."),
    "Health": Shape((system.HealthAnswer,), "The result of a health check.", optional=frozenset({"role"})),
    "InstanceSession": Shape((instances.SessionShown,), "The summary of a chat of an instance."),
    "Instance": Shape(
        (instances.InstanceAnswer,),
        "An instance on the server's machine, or a replica on its store. `is_silent`: it does not respond.",
    ),
    "InstanceList": Shape((instances.InstancesAnswer,), "The instances on the server's machine and on its store."),
    "NotificationAction": Shape((notify.InboxNotificationAction,), "A link of a notification."),
    "Notification": Shape(
        (notify.InboxNotification,), "A notification. `content` is Markdown; `read_at` is None while it is unread."
    ),
    "Inbox": Shape(
        (inbox.InboxAnswer,), "A page of notifications, newest first. `next` is the `after` of the following page."
    ),
    "UnreadCount": Shape((inbox.UnreadAnswer,), "The number of unread notifications."),
    "DiffStatus": Shape((notify.ChatDiffStatus,), "The state of the pull request that a chat works on."),
}

NAMES = {source: name for name, shape in reversed(SHAPES.items()) for source in shape.sources}
OTHERS = {
    parts.Usage: "dict[str, int]",
    ForkedFrom: "dict[str, Any]",
    CallDropped: "dict[str, str]",
    inbox.NotificationAnswer: "Notification",
}
NEVER_NULL = {"labels", "targets", "actions", "usage"}
"""Fields that may be null by their type; this server omits them or sends an empty value instead."""
NOT_IN_CLIENTS = {access.SessionAnswer, system.ReadyAnswer, instances.OkAnswer, shares.SharedAnswer}
"""The types of responses that no method of a client returns."""


def made() -> str:
    """The text of the file."""
    for kind in response_types():
        assert kind in NAMES or kind in OTHERS or kind in NOT_IN_CLIENTS, f"{kind.__name__} is in no shape"
    when_busy = ", ".join(f'"{word.value}"' for word in WhenBusy)
    text = HEAD.replace("{when_busy}", when_busy) + "".join(map(_class, SHAPES))
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(FILE), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def response_types() -> Iterator[type[msgspec.Struct]]:
    """The types of successful responses in the route table."""
    for operation in OPERATIONS:
        for answer in operation.answers:
            if isinstance(answer.type, type) and issubclass(answer.type, msgspec.Struct):
                yield answer.type


def _class(name: str) -> str:
    shape = SHAPES[name]
    fields: dict[str, str] = {}
    for source in shape.sources:
        hints = typing.get_type_hints(source)
        for field in msgspec.structs.fields(source):
            if field.name in shape.omitted:
                continue
            is_required = _is_always_sent(field) and all(
                field.name in other.__struct_fields__ for other in shape.sources
            )
            is_required = field.name in shape.required or (is_required and field.name not in shape.optional)
            text = _text(hints[field.name])
            if field.name in NEVER_NULL:
                text = text.removesuffix(" | None")
            fields[field.encode_name] = text if is_required else f"NotRequired[{text}]"
    lines = [f"    {field}: {text}" for field, text in fields.items()]
    return "\n".join(["", "", f"class {name}(TypedDict):", f'    """{shape.description}"""', "", *lines, ""])


def _is_always_sent(field: msgspec.structs.FieldInfo) -> bool:
    """Fields without a default are, and those of `codec.always`: a callable default is never omitted."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory not in (list, dict, set, tuple)
    return field.default is msgspec.NODEFAULT


def _text(kind: Any) -> str:
    """A type as it is written in a typed dictionary of plain JSON."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if parts.Text in arguments:
            return "dict[str, Any]"
        return " | ".join(dict.fromkeys(_text(member) for member in arguments if member is not msgspec.UnsetType))
    if origin in (list, tuple):
        return f"list[{_text(arguments[0])}]"
    if origin is dict:
        return f"dict[{_text(arguments[0])}, {_text(arguments[1])}]"
    if kind is type(None):
        return "None"
    if kind is Any:
        return "Any"
    if kind in NAMES or kind in OTHERS:
        return NAMES.get(kind) or OTHERS[kind]
    if issubclass(kind, str | enum.Enum | uuid.UUID | datetime):
        return "str"
    assert kind in (int, float, bool), f"no JSON type for {kind}"
    return str(kind.__name__)


def main() -> None:
    FILE.write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
