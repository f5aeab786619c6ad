"""A history that a chat is created with: messages of another system, as the facts of turns.

Each user message begins a turn, which the next one ends; several in a row are one turn. The last turn is in progress:
a worker goes on with it. In a fork it has ended.
"""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.decision import Decision
from antiphon.core.model import Outcome
from antiphon.core.parts import Role
from antiphon.errors import Invalid

FIELD = "history"


def import_history(decision: Decision, command: c.CreateChat) -> None:
    """Add the messages of the history. Raises `Invalid` for an order that no chat can have."""
    for number, past in enumerate(command.history):
        field = f"{FIELD}[{number}]"
        if past.role is Role.USER:
            _user_message(decision, command, past, field)
        elif not decision.chat.turn_id:
            raise Invalid(field, "a history begins with a message of a user")
        elif past.role is Role.ASSISTANT:
            _check_no_calls(decision, field)
            _add(decision, past)
        else:
            call = decision.chat.call(past.resolves)
            if call is None:
                raise Invalid(field, f"there is no open tool call {past.resolves!r} for this result")
            decision.resolve(call, past.content)
    if not command.content:
        _check_no_calls(decision, FIELD)


def end_imported_turn(decision: Decision) -> None:
    """The next message begins a turn of its own: the one before it is answered."""
    _check_no_calls(decision, FIELD)
    decision.end_turn(Outcome.ANSWERED)


def end_forked_turn(decision: Decision) -> None:
    """A fork waits for a person: its last turn is answered, or was not when it was forked."""
    _check_no_calls(decision, FIELD)
    decision.end_turn(Outcome.ANSWERED if decision.chat.answer_id else Outcome.INTERRUPTED)


def _user_message(decision: Decision, command: c.CreateChat, past: c.PastMessage, field: str) -> None:
    _check_no_calls(decision, field)
    chat = decision.chat
    if chat.turn_id and not chat.answer_id:
        _add(decision, past, by=command.owner_id, via=command.via)  # it joins the message before it
        return
    if chat.turn_id:
        end_imported_turn(decision)
    decision.append_user_message(
        past.content,
        client_message_id=past.client_message_id,
        model=past.model,
        by=command.owner_id,
        trace=command.trace,
        via=command.via,
    )


def _add(decision: Decision, past: c.PastMessage, *, by: str = "", via: str = "") -> None:
    decision.add(
        f.MessageAppended(
            role=past.role,
            turn_id=decision.chat.turn_id,
            content=past.content,
            content_size=len(past.content),
            calls=past.calls,
            client_message_id=past.client_message_id,
            created_by=by,
            model=past.model,
            interrupted=past.interrupted,
            outcome=past.outcome,
            via=via,
        )
    )


def _check_no_calls(decision: Decision, field: str) -> None:
    for call in decision.chat.calls:
        raise Invalid(field, f"the tool call {call.tool_call_id!r} has no result")
