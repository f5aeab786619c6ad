"""The rules of a chat: `decide(chat, command) -> facts`, `evolve(chat, fact) -> chat`, and `advance` for both.

Pure: no clock, randomness, await or logging. The caller passes the time as `at`, in microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.core import commands as c
from antiphon.core import people, workers
from antiphon.core.decision import Decision
from antiphon.core.evolve import evolve, fold
from antiphon.core.facts import Entry, Recorded
from antiphon.core.model import Chat
from antiphon.errors import NotFound

__all__ = ["advance", "decide", "evolve", "fold"]


def advance(chat: Chat | None, command: c.Command, *, at: int) -> tuple[Chat, tuple[Entry, ...]]:
    """Apply `command`: the chat after it, and the new facts, each with the status and the open draft after it.

    There are no facts if the command changes nothing. Raises `errors.Refused`; then nothing has changed.
    """
    decision = Decision(chat, at)
    if isinstance(command, c.CreateChat):
        assert chat is None, "a chat is created once; the receipt answers a repeat"
    elif chat is None or chat.is_deleted:
        raise NotFound
    _RULES[type(command)](decision, command)
    return decision.chat, tuple(decision.entries)


def decide(chat: Chat | None, command: c.Command, *, at: int) -> tuple[Recorded, ...]:
    """The facts that `command` produces. Raises `errors.Refused`."""
    return tuple(entry.recorded for entry in advance(chat, command, at=at)[1])


_RULES: dict[type[c.Command], Callable[[Decision, Any], None]] = {
    c.CreateChat: people.create_chat,
    c.SendMessage: people.send_message,
    c.EditMessage: people.edit_message,
    c.Retry: people.retry,
    c.EditQueued: people.edit_queued,
    c.DeleteQueued: people.delete_queued,
    c.MoveQueued: people.move_queued,
    c.PromoteQueued: people.promote_queued,
    c.Interrupt: people.interrupt,
    c.SubmitToolResults: people.submit_tool_results,
    c.Approve: people.approve,
    c.Deny: people.deny,
    c.Rename: people.rename,
    c.SetLabels: people.set_labels,
    c.SetPin: people.set_pin,
    c.SetModel: people.set_model,
    c.SetSystem: people.set_system,
    c.SetTools: people.set_tools,
    c.SetMcpServers: people.set_mcp_servers,
    c.SetDiffStatus: people.set_diff_status,
    c.Archive: people.archive,
    c.Unarchive: people.unarchive,
    c.Delete: people.delete,
    c.StartAttempt: workers.start_attempt,
    c.CommitMessage: workers.commit_message,
    c.CommitToolResult: workers.commit_tool_result,
    c.CancelCalls: workers.cancel_calls,
    c.FailAttempt: workers.fail_attempt,
    c.RequireAction: workers.require_action,
    c.FinishInterrupt: workers.finish_interrupt,
    c.ReleaseAttempt: workers.release_attempt,
    c.ExpireAttempt: workers.expire_attempt,
    c.ExpireAction: workers.expire_action,
    c.GenerateTitle: workers.generate_title,
}
