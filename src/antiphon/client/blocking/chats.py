# Generated from client/asynchronous/chats.py by scripts/blocking_client.py. Do not edit.
"""The requests on chats, their messages and their queue."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from antiphon.client import api_requests, shapes
from antiphon.client.blocking.request_group import RequestGroup


class Chats(RequestGroup):
    """The part of `Client` for chats. A request on a chat raises `NotFound` if the owner has no such chat."""

    # --- chats

    def create_chat(
        self,
        content: shapes.Content | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the wire's own word
        title: str = "",
        model: str = "",
        system: str = "",
        labels: dict[str, str] | None = None,
        tools: Sequence[shapes.ClientTool] = (),
        mcp_server_ids: Sequence[str] | None = None,
    ) -> shapes.Chat:
        """Create a chat. This request is repeatable.

        Args:
            content: the first message; with it the first turn starts.
            id: a UUID for the chat; default: a new one. The same id with the same body returns the same chat.
            title: the title; default: derived from the first message.
            model: the chat's model; default: the server's.
            system: the chat's system prompt.
            labels: labels to search chats by.
            tools: the tools that clients run (`submit_tool_result`), besides those of the server.
            mcp_server_ids: the MCP servers that the chat uses, by id (`mcp_servers`); default: all configured ones.

        Returns:
            The chat.

        Raises:
            Conflict: the id was used with another body.
            Invalid, TooLarge: a field is not allowed.
        """
        id = id or str(uuid.uuid4())  # noqa: A001
        request = api_requests.create_chat(
            id=id,
            content=content,
            title=title,
            model=model,
            system=system,
            labels=labels,
            tools=tools,
            mcp_server_ids=mcp_server_ids,
        )
        return self._connection.request(request)

    def chats(
        self,
        *,
        parent_chat_id: str | None = None,
        archived: bool = False,
        label: str = "",
        title: str = "",
        limit: int = 50,
        after: str | None = None,
    ) -> shapes.ChatPage:
        """List the owner's chats, latest change first. Child chats are listed by their parent only.

        Args:
            parent_chat_id: list the child chats of this chat, archived ones included.
            archived: list the archived chats instead.
            label: only chats with this label, `key` or `key:value`.
            title: only chats whose title contains this text.
            limit: maximum number of chats, at most 500.
            after: the `next` of the previous page.

        Returns:
            A page of chats.
        """
        request = api_requests.chats(
            parent_chat_id=parent_chat_id, archived=archived, label=label, title=title, limit=limit, after=after
        )
        return self._connection.request(request)

    def chat(self, chat_id: str) -> shapes.Chat:
        """One chat."""
        return self._connection.request(api_requests.chat(chat_id))

    def update_chat(
        self,
        chat_id: str,
        *,
        title: str | None = None,
        archived: bool | None = None,
        labels: dict[str, str] | None = None,
        pin_order: int | None = None,
        model: str | None = None,
        system: str | None = None,
        tools: Sequence[shapes.ClientTool] | None = None,
        mcp_server_ids: Sequence[str] | Literal["all"] | None = None,
    ) -> shapes.Chat:
        """Change fields of a chat, all in one append. A field that is None stays unchanged.

        Args:
            chat_id: the chat.
            title: the new title.
            archived: whether the chat is archived.
            labels: the new labels; they replace all previous ones.
            pin_order: the position among the pinned chats; 0: not pinned.
            model: the model of later turns.
            system: the system prompt of later turns.
            tools: the tools that clients run, from the next model call on; they replace all previous ones.
            mcp_server_ids: the MCP servers that the chat uses from the next model call on, by id; `all`: all
                configured ones.

        Returns:
            The chat after the change.

        Raises:
            NotAllowedNow: a running chat cannot be archived.
        """
        request = api_requests.update_chat(
            chat_id,
            title=title,
            archived=archived,
            labels=labels,
            pin_order=pin_order,
            model=model,
            system=system,
            tools=tools,
            mcp_server_ids=mcp_server_ids,
        )
        return self._connection.request(request)

    def mcp_servers(self) -> list[shapes.McpServer]:
        """The MCP servers of the instance, with their ids, states and tools."""
        return (self._connection.request(api_requests.mcp_servers()))["mcp_servers"]

    def usage(self, *, first_day: str = "", last_day: str = "", owner: str = "") -> shapes.Usage:
        """What was used: tokens and costs by day and model, and the budgets of this day.

        Args:
            first_day: the first day, in UTC, as 2026-11-30; default: 29 days before the last one.
            last_day: the last day; default: today.
            owner: the name of another owner, for admins; default: the owner of the token.

        Raises:
            Invalid: a day is none, or there are more than 400.
            Forbidden: only an admin may read the usage of another owner.
        """
        return self._connection.request(api_requests.usage(first_day=first_day, last_day=last_day, owner=owner))

    def delete_chat(self, chat_id: str) -> None:
        """Delete a chat and its content; its streams end."""
        self._connection.request(api_requests.delete_chat(chat_id))

    def read_chat(self, chat_id: str, *, seq: int | None = None) -> int:
        """Mark a chat as read up to `seq` (None: up to its last fact). Returns the seq up to which it is read."""
        answer = self._connection.request(api_requests.read_chat(chat_id, seq=seq))
        return answer["seq"]

    def set_diff_status(self, chat_id: str, **status: Any) -> int:
        """Set the state of the chat's pull request, by the fields of the contract's ChatDiffStatus. Returns the seq
        of the fact."""
        answer = self._connection.request(api_requests.set_diff_status(chat_id, **status))
        return answer["seq"]

    # --- messages

    def messages(
        self,
        chat_id: str,
        *,
        after_id: int | None = None,
        before_id: int | None = None,
        limit: int = 50,
        as_of: int | None = None,
    ) -> shapes.MessagePage:
        """List messages of the history, ascending, and the queue.

        Args:
            chat_id: the chat.
            after_id: only messages after this one.
            before_id: only messages before this one. Without either: the newest messages.
            limit: maximum number of messages, 1 to 1,000.
            as_of: the history as it was at that seq, with what edits and retries have replaced since.

        Returns:
            A page of messages and the whole queue.
        """
        request = api_requests.messages(chat_id, after_id=after_id, before_id=before_id, limit=limit, as_of=as_of)
        return self._connection.request(request)

    def state(self, chat_id: str) -> shapes.State:
        """Get the agent's own JSON document of the chat (`turn.state`)."""
        return self._connection.request(api_requests.state(chat_id))

    def send(
        self,
        chat_id: str,
        content: shapes.Content,
        *,
        when_busy: shapes.WhenBusy = "queue",
        client_message_id: str | None = None,
        model: str = "",
    ) -> shapes.Sent:
        """Send a message. It is durable when this returns. This request is repeatable.

        Args:
            chat_id: the chat.
            content: the message: a string or a list of parts.
            when_busy: what to do while a turn runs: queue, steer, interrupt or reject.
            client_message_id: an id for the message, 1 to 128 printable ASCII characters; default: a new one. The
                same id with the same body returns the same result.
            model: the model of the turn; default: the chat's.

        Returns:
            The message, or the queued message if the chat was busy.

        Raises:
            Busy: a turn runs and `when_busy` is reject.
            Conflict: the id was used with another body.
            TooMany, TooLarge: the queue is full.
        """
        client_id = client_message_id or str(uuid.uuid4())
        request = api_requests.send(chat_id, content, when_busy=when_busy, client_message_id=client_id, model=model)
        return self._connection.request(request)

    def edit(
        self, chat_id: str, message_id: int, content: shapes.Content, *, clear_queue: bool = False
    ) -> shapes.Edited:
        """Replace a user's message: the history is truncated there and a new turn starts.

        Args:
            chat_id: the chat.
            message_id: the message to replace.
            content: the new message.
            clear_queue: also delete all queued messages.

        Returns:
            The new message.

        Raises:
            NotFound: there is no such message in the visible history.
            Invalid: the message is not a user's.
        """
        return self._connection.request(api_requests.edit(chat_id, message_id, content, clear_queue=clear_queue))

    def retry(self, chat_id: str, turn_id: int | None = None) -> shapes.Retried:
        """Run the last turn again, under the same turn id.

        Args:
            chat_id: the chat.
            turn_id: the turn; if given, it must be the last one.

        Raises:
            Busy: a turn is running.
            Invalid: `turn_id` is not the last turn.
            NotAllowedNow: the chat has had no turn.
        """
        return self._connection.request(api_requests.retry(chat_id, turn_id))

    def interrupt(self, chat_id: str, turn_id: int, *, clear_queue: bool = False) -> shapes.Interrupted:
        """Interrupt a turn. If another turn or none is running, nothing happens; a second call is not an error.

        Args:
            chat_id: the chat.
            turn_id: the turn to interrupt.
            clear_queue: also delete all queued messages.
        """
        return self._connection.request(api_requests.interrupt(chat_id, turn_id, clear_queue=clear_queue))

    def approve(
        self, chat_id: str, tool_call_id: str, *, args: dict[str, Any] | None = None, always: bool = False
    ) -> shapes.Seq:
        """Approve a tool call.

        Args:
            chat_id: the chat.
            tool_call_id: the call.
            args: run the tool with these arguments instead of the model's, unless None.
            always: whether this tool needs no approval in this chat any more.

        Raises:
            NotFound: no such call needs an approval.
            NotAllowedNow: the call was already answered.
        """
        return self._connection.request(
            api_requests.decide_call(chat_id, tool_call_id, approved=True, args=args, always=always)
        )

    def deny(self, chat_id: str, tool_call_id: str, *, reason: str = "") -> shapes.Seq:
        """Deny a tool call; the model receives `reason`. Raises as `approve`."""
        return self._connection.request(
            api_requests.decide_call(chat_id, tool_call_id, approved=False, reason=reason)
        )

    def submit_tool_result(
        self, chat_id: str, tool_call_id: str, result: Any, *, is_error: bool = False
    ) -> shapes.Seq:
        """Give the result (any JSON value) of a tool that clients run. Raises as `approve`."""
        return self._connection.request(api_requests.submit_result(chat_id, tool_call_id, result, is_error=is_error))

    def answer(self, chat_id: str, tool_call_id: str, answer: Any) -> shapes.Seq:
        """Answer a question of an agent with any JSON value. Raises as `approve`."""
        return self._connection.request(api_requests.answer(chat_id, tool_call_id, answer))

    # --- the queue; each request raises `AlreadyDelivered` if the message has left the queue

    def edit_queued(self, chat_id: str, queued_id: int, content: shapes.Content) -> shapes.Seq:
        """Replace the content of a queued message."""
        return self._connection.request(api_requests.edit_queued(chat_id, queued_id, content))

    def delete_queued(self, chat_id: str, queued_id: int) -> shapes.Seq:
        """Delete a queued message. A second call does nothing."""
        return self._connection.request(api_requests.delete_queued(chat_id, queued_id))

    def move_queued(self, chat_id: str, queued_id: int, *, before: int | None = None) -> shapes.Seq:
        """Move a queued message before another one of the same part of the queue (None: to the end of the part). The
        parts are steering, promoted and other messages. Raises `Invalid` if `before` is not in the same part."""
        return self._connection.request(api_requests.move_queued(chat_id, queued_id, before))

    def promote_queued(self, chat_id: str, queued_id: int) -> shapes.Seq:
        """Interrupt the turn and deliver a queued message next, after those that were promoted before."""
        return self._connection.request(api_requests.promote_queued(chat_id, queued_id))
