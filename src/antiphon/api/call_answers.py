"""Answers of another protocol's client to open tool calls, as commands of one append."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from antiphon.api.embedded import EmbeddedChats
from antiphon.chats.open_calls import ARGS_BYTES_MAX, check_value
from antiphon.core import commands as c
from antiphon.core.model import Needs
from antiphon.errors import Invalid
from antiphon.wire.stream import OpenCall
from antiphon.wire.tool_answers import ToolAnswer

REASON_MAX = 256
"""Maximum length of the reason of a denial, in characters; what is longer is cut."""


async def answer_commands(
    chats: EmbeddedChats,
    chat_id: str,
    open_calls: Sequence[OpenCall],
    answers: Mapping[str, ToolAnswer],
    field: str,
) -> list[c.Command]:
    """One command for each open call. Raises `Invalid` for `field` unless all have an answer of their kind."""
    missing = [call.tool_call_id for call in open_calls if call.tool_call_id not in answers]
    if missing:
        raise Invalid(field, f"the tool call {missing[0]!r} waits for an answer, too")
    return [await _command(chats, chat_id, call, answers[call.tool_call_id], field) for call in open_calls]


async def _command(
    chats: EmbeddedChats, chat_id: str, open_call: OpenCall, answer: ToolAnswer, field: str
) -> c.Command:
    call_id, by = open_call.tool_call_id, chats.owner_id
    if open_call.needs is Needs.APPROVAL:
        if answer.is_approved is None:
            raise Invalid(field, f"the tool call {call_id!r} waits for an approval")
        if answer.is_approved:
            check_value(field, answer.args, ARGS_BYTES_MAX)
            return c.Approve(tool_call_id=call_id, by=by, args=answer.args)
        return c.Deny(tool_call_id=call_id, reason=answer.reason[:REASON_MAX], by=by)
    if answer.is_approved is not None:
        raise Invalid(field, f"the tool call {call_id!r} waits for a result")
    return await chats.result_command(chat_id, call_id, answer.value, is_error=answer.is_error, needs=open_call.needs)
