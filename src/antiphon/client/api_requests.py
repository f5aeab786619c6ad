"""The requests of the HTTP API as values, with the type of the response.

Both clients are these functions with a connection. The docstrings of `AsyncClient` describe each request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from antiphon.client import shapes
from antiphon.core.values import Value
from antiphon.wire import codec

PREFIX = "/api/v1"

A = TypeVar("A")


class ApiRequest(Value, Generic[A]):
    """A request with a response of type `A`. `is_repeatable`: it carries an id chosen by the client, which makes it
    idempotent."""

    method: str
    path: str
    query: dict[str, str] = {}
    body: bytes | None = None
    headers: dict[str, str] = {}
    is_repeatable: bool = False


def path(*segments: str | int) -> str:
    """A path below the prefix; segments are quoted."""
    return PREFIX + "".join("/" + quote(str(segment), safe="") for segment in segments)


# --- chats ------------------------------------------------------------------------------------------


def create_chat(
    *,
    id: str,  # noqa: A002 - the wire's own word
    content: shapes.Content | None,
    title: str,
    model: str,
    system: str,
    labels: dict[str, str] | None,
    tools: Sequence[Any] = (),
    mcp_server_ids: Sequence[str] | None = None,
) -> ApiRequest[shapes.Chat]:
    body = _body(
        id=id,
        content=content,
        title=title,
        model=model,
        system=system,
        labels=labels or {},
        tools=tools or None,
        mcp_server_ids=mcp_server_ids,
    )
    return ApiRequest(method="POST", path=path("chats"), body=body, is_repeatable=True)


def chats(
    *, parent_chat_id: str | None, archived: bool, label: str, title: str, limit: int, after: str | None
) -> ApiRequest[shapes.ChatPage]:
    query = _query(
        parent_chat_id=parent_chat_id,
        archived=None if parent_chat_id and not archived else archived,
        label=label or None,
        q=title or None,
        limit=limit,
        after=after,
    )
    return ApiRequest(method="GET", path=path("chats"), query=query)


def chat(chat_id: str) -> ApiRequest[shapes.Chat]:
    return ApiRequest(method="GET", path=path("chats", chat_id))


def update_chat(
    chat_id: str, *, mcp_server_ids: Sequence[str] | Literal["all"] | None = None, **changes: Any
) -> ApiRequest[shapes.Chat]:
    body = {name: value for name, value in changes.items() if value is not None}
    if mcp_server_ids is not None:
        body["mcp_server_ids"] = None if mcp_server_ids == "all" else mcp_server_ids
    return ApiRequest(method="PATCH", path=path("chats", chat_id), body=codec.encode(body))


def mcp_servers() -> ApiRequest[shapes.McpServers]:
    return ApiRequest(method="GET", path=path("mcp-servers"))


def delete_chat(chat_id: str) -> ApiRequest[None]:
    return ApiRequest(method="DELETE", path=path("chats", chat_id))


# --- messages ---------------------------------------------------------------------------------------


def messages(
    chat_id: str, *, after_id: int | None, before_id: int | None, limit: int, as_of: int | None = None
) -> ApiRequest[shapes.MessagePage]:
    query = _query(after_id=after_id, before_id=before_id, limit=limit, as_of=as_of)
    return ApiRequest(method="GET", path=path("chats", chat_id, "messages"), query=query)


def versions(chat_id: str) -> ApiRequest[shapes.VersionList]:
    return ApiRequest(method="GET", path=path("chats", chat_id, "versions"))


def fork(
    chat_id: str,
    *,
    message_id: int,
    as_of: int | None,
    id: str,  # noqa: A002 - the wire's own word
    title: str,
) -> ApiRequest[shapes.Chat]:
    body = _body(message_id=message_id, as_of=as_of, id=id, title=title)
    return ApiRequest(method="POST", path=path("chats", chat_id, "fork"), body=body, is_repeatable=True)


def export(chat_id: str, kind: str) -> ApiRequest[None]:
    return ApiRequest(method="GET", path=path("chats", chat_id, "export"), query=_query(format=kind))


def create_share(chat_id: str) -> ApiRequest[shapes.NewShare]:
    return ApiRequest(method="POST", path=path("chats", chat_id, "shares"))


def shares(chat_id: str) -> ApiRequest[shapes.ShareList]:
    return ApiRequest(method="GET", path=path("chats", chat_id, "shares"))


def revoke_share(chat_id: str, share_id: str) -> ApiRequest[None]:
    return ApiRequest(method="DELETE", path=path("chats", chat_id, "shares", share_id))


def state(chat_id: str) -> ApiRequest[shapes.State]:
    return ApiRequest(method="GET", path=path("chats", chat_id, "state"))


def send(
    chat_id: str, content: shapes.Content, *, when_busy: shapes.WhenBusy, client_message_id: str, model: str
) -> ApiRequest[shapes.Sent]:
    body = _body(content=content, when_busy=when_busy, client_message_id=client_message_id, model=model)
    return ApiRequest(method="POST", path=path("chats", chat_id, "messages"), body=body, is_repeatable=True)


def edit(chat_id: str, message_id: int, content: shapes.Content, *, clear_queue: bool) -> ApiRequest[shapes.Edited]:
    body = _body(content=content, clear_queue=clear_queue)
    return ApiRequest(method="PATCH", path=path("chats", chat_id, "messages", message_id), body=body)


def retry(chat_id: str, turn_id: int | None) -> ApiRequest[shapes.Retried]:
    return ApiRequest(method="POST", path=path("chats", chat_id, "retry"), body=_body(turn_id=turn_id))


def interrupt(chat_id: str, turn_id: int, *, clear_queue: bool) -> ApiRequest[shapes.Interrupted]:
    body = _body(turn_id=turn_id, clear_queue=clear_queue)
    return ApiRequest(method="POST", path=path("chats", chat_id, "interrupt"), body=body)


def decide_call(
    chat_id: str,
    tool_call_id: str,
    *,
    approved: bool,
    reason: str = "",
    args: dict[str, Any] | None = None,
    always: bool = False,
) -> ApiRequest[shapes.Seq]:
    body = _body(tool_call_id=tool_call_id, approved=approved, reason=reason, args=args, always=always)
    return ApiRequest(method="POST", path=path("chats", chat_id, "approvals"), body=body)


def submit_result(chat_id: str, tool_call_id: str, result: Any, *, is_error: bool) -> ApiRequest[shapes.Seq]:
    body = codec.encode({"tool_call_id": tool_call_id, "result": result, "is_error": is_error})
    return ApiRequest(method="POST", path=path("chats", chat_id, "tool-results"), body=body)


def answer(chat_id: str, tool_call_id: str, answer: Any) -> ApiRequest[shapes.Seq]:
    body = codec.encode({"tool_call_id": tool_call_id, "answer": answer})
    return ApiRequest(method="POST", path=path("chats", chat_id, "answers"), body=body)


# --- the queue --------------------------------------------------------------------------------------


def edit_queued(chat_id: str, queued_id: int, content: shapes.Content) -> ApiRequest[shapes.Seq]:
    return ApiRequest(method="PATCH", path=path("chats", chat_id, "queue", queued_id), body=_body(content=content))


def delete_queued(chat_id: str, queued_id: int) -> ApiRequest[shapes.Seq]:
    return ApiRequest(method="DELETE", path=path("chats", chat_id, "queue", queued_id))


def move_queued(chat_id: str, queued_id: int, before: int | None) -> ApiRequest[shapes.Seq]:
    body = codec.encode({"before": before})
    return ApiRequest(method="POST", path=path("chats", chat_id, "queue", queued_id, "move"), body=body)


def promote_queued(chat_id: str, queued_id: int) -> ApiRequest[shapes.Seq]:
    return ApiRequest(method="POST", path=path("chats", chat_id, "queue", queued_id, "promote"))


# --- files ------------------------------------------------------------------------------------------


def upload(*, size: int, media_type: str, name: str) -> ApiRequest[shapes.UploadedFile]:
    headers = {"content-length": str(size), "content-type": media_type or "application/octet-stream"}
    if name:
        headers["x-filename"] = quote(name, safe="", errors="replace")
    return ApiRequest(method="POST", path=path("files"), headers=headers, is_repeatable=True)


def download(file_id: str, *, start: int, stop: int | None) -> ApiRequest[None]:
    is_part = start > 0 or stop is not None
    headers = {"range": f"bytes={start}-{'' if stop is None else stop - 1}"} if is_part else {}
    return ApiRequest(method="GET", path=path("files", file_id), headers=headers)


# --- streams ----------------------------------------------------------------------------------------


def watch(chat_id: str, *, until_idle: bool, by_ref: bool) -> ApiRequest[None]:
    query = _query(until="idle" if until_idle else None, commit="ref" if by_ref else None)
    return ApiRequest(method="GET", path=path("chats", chat_id, "stream"), query=query)


def feed() -> ApiRequest[None]:
    return ApiRequest(method="GET", path=path("feed"))


# --- tokens -----------------------------------------------------------------------------------------


def create_token(owner: str, *, admin: bool) -> ApiRequest[shapes.NewToken]:
    return ApiRequest(method="POST", path=path("tokens"), body=_body(owner=owner, admin=admin))


def tokens() -> ApiRequest[shapes.TokenList]:
    return ApiRequest(method="GET", path=path("tokens"))


def revoke_token(token_id: str) -> ApiRequest[None]:
    return ApiRequest(method="DELETE", path=path("tokens", token_id))


def usage(*, first_day: str, last_day: str, owner: str) -> ApiRequest[shapes.Usage]:
    query = _query(to=last_day or None, owner=owner or None) | ({"from": first_day} if first_day else {})
    return ApiRequest(method="GET", path=path("usage"), query=query)


# --- the inbox --------------------------------------------------------------------------------------


def inbox(*, unread: bool, limit: int, after: str) -> ApiRequest[shapes.Inbox]:
    query = _query(unread="true" if unread else None, limit=str(limit), after=after or None)
    return ApiRequest(method="GET", path=path("inbox"), query=query)


def read_notification(notification_id: str) -> ApiRequest[shapes.Notification]:
    return ApiRequest(method="PUT", path=path("inbox", notification_id, "read"))


def read_whole_inbox() -> ApiRequest[shapes.UnreadCount]:
    return ApiRequest(method="PUT", path=path("inbox", "read-all"))


def read_chat(chat_id: str, *, seq: int | None) -> ApiRequest[shapes.Seq]:
    return ApiRequest(method="PUT", path=path("chats", chat_id, "read"), body=_body(seq=seq))


def set_diff_status(chat_id: str, **status: Any) -> ApiRequest[shapes.Seq]:
    return ApiRequest(method="PUT", path=path("chats", chat_id, "diff-status"), body=_body(**status))


# --- instances --------------------------------------------------------------------------------------


def instances() -> ApiRequest[shapes.InstanceList]:
    return ApiRequest(method="GET", path=path("instances"))


# --- configuration


def providers() -> ApiRequest[shapes.ProviderList]:
    return ApiRequest(method="GET", path=path("providers"))


def check_provider(provider_id: str) -> ApiRequest[shapes.ProviderCheck]:
    return ApiRequest(method="POST", path=path("providers", provider_id, "check"))


def models() -> ApiRequest[shapes.ModelList]:
    return ApiRequest(method="GET", path=path("models"))


def create_provider(**fields: Any) -> ApiRequest[shapes.Provider]:
    return ApiRequest(method="POST", path=path("providers"), body=_body(**fields))


def change_provider(provider_id: str, **changes: Any) -> ApiRequest[shapes.Provider]:
    return ApiRequest(method="PATCH", path=path("providers", provider_id), body=_body(**changes))


def delete_provider(provider_id: str) -> ApiRequest[None]:
    return ApiRequest(method="DELETE", path=path("providers", provider_id))


def model_configs() -> ApiRequest[shapes.ModelConfigList]:
    return ApiRequest(method="GET", path=path("model-configs"))


def create_model_config(**fields: Any) -> ApiRequest[shapes.ModelConfig]:
    return ApiRequest(method="POST", path=path("model-configs"), body=_body(**fields))


def change_model_config(config_id: str, **changes: Any) -> ApiRequest[shapes.ModelConfig]:
    return ApiRequest(method="PATCH", path=path("model-configs", config_id), body=_body(**changes))


def delete_model_config(config_id: str) -> ApiRequest[None]:
    return ApiRequest(method="DELETE", path=path("model-configs", config_id))


def prompt() -> ApiRequest[shapes.Prompt]:
    return ApiRequest(method="GET", path=path("me", "prompt"))


def set_prompt(text: str) -> ApiRequest[shapes.Prompt]:
    return ApiRequest(method="PUT", path=path("me", "prompt"), body=_body(prompt=text))


def delete_prompt() -> ApiRequest[None]:
    return ApiRequest(method="DELETE", path=path("me", "prompt"))


# --- health


def healthz() -> ApiRequest[shapes.Health]:
    return ApiRequest(method="GET", path="/healthz")


def readyz() -> ApiRequest[dict[str, Any]]:
    return ApiRequest(method="GET", path="/readyz")


def _query(**given: Any) -> dict[str, str]:
    """The query parameters; those that are None are omitted."""
    shown = {name: value for name, value in given.items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in shown.items()}


def _body(**given: Any) -> bytes:
    """The JSON of a body; fields that are None are omitted."""
    return codec.encode({name: value for name, value in given.items() if value is not None})
