"""The rules of people's commands. Each rule adds facts to the decision, or raises a refusal."""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.decision import Decision, content_of_error
from antiphon.core.imports import end_forked_turn, end_imported_turn, import_history
from antiphon.core.model import Call, CallState, Needs, Outcome, Queued, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.errors import AlreadyDelivered, Busy, Invalid, NotAllowedNow, NotFound, TooLarge, TooMany


def create_chat(decision: Decision, command: c.CreateChat) -> None:
    decision.add(
        f.ChatCreated(
            owner_id=command.owner_id,
            title=command.title,
            is_title_made=command.is_title_made,
            model=command.model,
            system=command.system,
            labels=command.labels,
            tools=command.tools,
            mcp_server_ids=command.mcp_server_ids,
            parent=command.parent,
            forked_from=command.forked_from,
        )
    )
    if command.history:
        import_history(decision, command)
    if command.state:
        decision.add(f.StateChanged(content=command.state, content_size=len(command.state)))
    if command.forked_from is not None and decision.chat.turn_id:
        end_forked_turn(decision)
    if command.content:
        if decision.chat.turn_id:
            end_imported_turn(decision)
        decision.append_user_message(
            command.content,
            client_message_id=command.client_message_id,
            by=command.owner_id,
            trace=command.trace,
            via=command.via,
        )


# --- messages ---------------------------------------------------------------------------------------


def send_message(decision: Decision, command: c.SendMessage) -> None:
    chat = decision.chat
    if chat.is_archived:
        decision.add(f.Unarchived())
    if chat.is_idle and not chat.waits:
        decision.append_user_message(
            command.content,
            client_message_id=command.client_message_id,
            model=command.model,
            by=command.by,
            trace=command.trace,
            via=command.via,
        )
    elif chat.status is Status.ERROR:
        _queue(decision, command, WhenBusy.QUEUE)
        decision.deliver_next()
    elif command.when_busy is WhenBusy.REJECT:
        raise Busy(chat.status)
    else:
        _queue(decision, command, command.when_busy)
        if command.when_busy is WhenBusy.INTERRUPT:
            _interrupt_turn(decision, command)


def _queue(decision: Decision, command: c.SendMessage, when_busy: WhenBusy) -> None:
    chat = decision.chat
    if chat.queue_length >= command.queue_max:
        raise TooMany("queued messages", command.queue_max)
    _check_queue_bytes(decision, len(command.content), command.queue_bytes_max)
    decision.add(
        f.MessageQueued(
            content=command.content,
            content_size=len(command.content),
            when_busy=when_busy,
            client_message_id=command.client_message_id,
            model=command.model,
            created_by=command.by,
            trace=command.trace,
            via=command.via,
        )
    )


def _check_queue_bytes(decision: Decision, more: int, bytes_max: int) -> None:
    held = sum(item.content_size for item in (*decision.chat.steering, *decision.chat.queue))
    if held + more > bytes_max:
        raise TooLarge("queue (in bytes)", bytes_max)


def edit_message(decision: Decision, command: c.EditMessage) -> None:
    chat = decision.chat
    if command.target is None:
        raise NotFound("message")
    if command.target is not Role.USER:
        raise Invalid("message_id", "only a user's message can be edited")
    if command.clear_queue:
        _clear_queue(decision)
    if not chat.is_idle:
        decision.end_turn(Outcome.REPLACED)
    if chat.is_archived:
        decision.add(f.Unarchived())
    _truncate(decision, command.message_id, command.state_seq)
    decision.append_user_message(
        command.content,
        client_message_id=command.client_message_id,
        by=command.by,
        trace=command.trace,
        via=command.via,
    )


def retry(decision: Decision, command: c.Retry) -> None:
    chat = decision.chat
    if not chat.is_idle:
        raise Busy(chat.status)
    if not chat.last_turn_id:
        raise NotAllowedNow(chat.status, "there is no turn to run again")
    if command.turn_id and command.turn_id != chat.last_turn_id:
        raise Invalid("turn_id", "only the last turn can be run again; edit an earlier message instead")
    if chat.is_archived:
        decision.add(f.Unarchived())
    if chat.answer_id:
        _truncate(decision, chat.answer_id, command.state_seq)
    decision.add(f.TurnRestarted(turn_id=chat.last_turn_id))


def _truncate(decision: Decision, message_id: int, state_seq: int) -> None:
    """Hide the messages from `message_id` on. `state_seq` is the agent's state before it, which counts only if the
    current one is newer than that message."""
    newest = decision.chat.state_seq
    decision.add(
        f.HistoryTruncated(from_message_id=message_id, state_seq=state_seq if newest > message_id else newest)
    )


# --- the queue --------------------------------------------------------------------------------------


def edit_queued(decision: Decision, command: c.EditQueued) -> None:
    item = _waiting(decision, command)
    _check_queue_bytes(decision, len(command.content) - item.content_size, command.queue_bytes_max)
    decision.add(f.QueuedMessageEdited(queued_id=item.id, content=command.content, content_size=len(command.content)))


def delete_queued(decision: Decision, command: c.DeleteQueued) -> None:
    if decision.chat.queued(command.queued_id) is None and command.existed and not command.was_delivered:
        return
    decision.add(f.QueuedMessageDeleted(queued_id=_waiting(decision, command).id))


def move_queued(decision: Decision, command: c.MoveQueued) -> None:
    item = _waiting(decision, command)
    part = _part_of(decision, item)
    if command.before is None:
        if part[-1] is not item:
            decision.add(f.QueueMoved(queued_id=item.id))
        return
    if command.before == item.id:
        return
    if not any(other.id == command.before for other in part):
        raise Invalid("before", "not a message of the same part of the queue (steering, promoted or other)")
    place = part.index(item)
    if place + 1 < len(part) and part[place + 1].id == command.before:
        return
    decision.add(f.QueueMoved(queued_id=item.id, before=command.before))


def _part_of(decision: Decision, item: Queued) -> tuple[Queued, ...]:
    if item in decision.chat.steering:
        return decision.chat.steering
    return tuple(other for other in decision.chat.queue if other.is_promoted == item.is_promoted)


def promote_queued(decision: Decision, command: c.PromoteQueued) -> None:
    """Promoting a message a second time succeeds without a change: it must not interrupt the turn that the first one
    started."""
    item = _waiting(decision, command)
    was_promoted = item.is_promoted
    if decision.chat.is_archived:
        decision.add(f.Unarchived())
    if not was_promoted:
        decision.add(f.QueuedMessagePromoted(queued_id=item.id))
    if decision.chat.status is Status.ERROR:
        promoted = decision.chat.queued(item.id)
        assert promoted
        decision.deliver(promoted)
    elif not was_promoted:
        _interrupt_turn(decision, command)


def _waiting(decision: Decision, command: c.QueueCommand) -> Queued:
    item = decision.chat.queued(command.queued_id)
    if item is None:
        raise AlreadyDelivered(command.queued_id) if command.was_delivered else NotFound("queued_message")
    return item


def _clear_queue(decision: Decision) -> None:
    for item in (*decision.chat.steering, *decision.chat.queue):
        decision.add(f.QueuedMessageDeleted(queued_id=item.id))


# --- stop -------------------------------------------------------------------------------------------


def interrupt(decision: Decision, command: c.Interrupt) -> None:
    """Interrupt the named turn. For any other turn nothing happens, so a late request never stops the next turn."""
    if not command.turn_id or decision.chat.turn_id != command.turn_id:
        return
    if command.only_waiting and decision.chat.status is not Status.REQUIRES_ACTION:
        return
    if command.clear_queue:
        _clear_queue(decision)
    _interrupt_turn(decision, command)


def _interrupt_turn(decision: Decision, command: c.SendMessage | c.PromoteQueued | c.Interrupt) -> None:
    """A turn without a holder ends now. What its last holder had written is kept, as a holder would keep it."""
    chat = decision.chat
    if chat.status is Status.RUNNING and chat.attempt:
        decision.add(f.InterruptRequested(turn_id=chat.turn_id, by=command.by))
    elif chat.status in (Status.RUNNING, Status.REQUIRES_ACTION):
        if chat.beginning_seq and command.unfinished:
            decision.append_unfinished(command.unfinished)
        decision.close_calls("cancelled")
        decision.end_turn(Outcome.INTERRUPTED)


# --- client-side tools and approvals ----------------------------------------------------------------


def submit_tool_results(decision: Decision, command: c.SubmitToolResults) -> None:
    call = _awaiting(decision, command.tool_call_id, command.needs)
    decision.add(f.ActionResolved(tool_call_id=call.tool_call_id, outcome="result", by=command.by))
    decision.resolve(call, command.content)
    _steer_when_all_answered(decision)


def approve(decision: Decision, command: c.Approve) -> None:
    call = _awaiting(decision, command.tool_call_id, Needs.APPROVAL)
    decision.add(
        f.ActionResolved(
            tool_call_id=call.tool_call_id,
            outcome="approved",
            by=command.by,
            args=command.args,
            always=command.always,
        )
    )
    for other in decision.chat.calls if command.always else ():
        is_awaiting = other.needs is Needs.APPROVAL and other.state is CallState.AWAITING
        if is_awaiting and other.tool_name == call.tool_name:
            decision.add(f.ActionResolved(tool_call_id=other.tool_call_id, outcome="approved", by=command.by))


def deny(decision: Decision, command: c.Deny) -> None:
    call = _awaiting(decision, command.tool_call_id, Needs.APPROVAL)
    decision.add(f.ActionResolved(tool_call_id=call.tool_call_id, outcome="denied", by=command.by))
    decision.resolve(call, content_of_error(call, "denied", command.reason))
    _steer_when_all_answered(decision)


def _awaiting(decision: Decision, tool_call_id: str, needs: Needs) -> Call:
    chat = decision.chat
    if chat.status is not Status.REQUIRES_ACTION:
        raise NotAllowedNow(chat.status, "no tool call is waiting for an answer")
    call = chat.call(tool_call_id)
    if call is None or call.needs is not needs:
        raise NotFound("tool_call")
    if call.state is not CallState.AWAITING:
        raise NotAllowedNow(chat.status, "this call was already answered")
    return call


def _steer_when_all_answered(decision: Decision) -> None:
    if decision.chat.status is Status.RUNNING and not decision.chat.calls:
        decision.deliver_steering()


# --- about the chat ---------------------------------------------------------------------------------


def rename(decision: Decision, command: c.Rename) -> None:
    if command.title != decision.chat.title or not decision.chat.is_titled_by_person:
        decision.add(f.TitleChanged(title=command.title, by="person"))


def set_labels(decision: Decision, command: c.SetLabels) -> None:
    if command.labels != decision.chat.labels:
        decision.add(f.LabelsChanged(labels=command.labels))


def set_pin(decision: Decision, command: c.SetPin) -> None:
    if command.pin_order != decision.chat.pin_order:
        decision.add(f.PinChanged(pin_order=command.pin_order))


def set_model(decision: Decision, command: c.SetModel) -> None:
    if command.model != decision.chat.model:
        decision.add(f.ModelChanged(model=command.model))


def set_system(decision: Decision, command: c.SetSystem) -> None:
    if command.system != decision.chat.system:
        decision.add(f.SystemChanged(system=command.system))


def set_tools(decision: Decision, command: c.SetTools) -> None:
    if command.tools != decision.chat.tools:
        decision.add(f.ToolsChanged(tools=command.tools))


def set_mcp_servers(decision: Decision, command: c.SetMcpServers) -> None:
    if command.mcp_server_ids != decision.chat.mcp_server_ids:
        decision.add(f.McpServersChanged(mcp_server_ids=command.mcp_server_ids))


def set_diff_status(decision: Decision, command: c.SetDiffStatus) -> None:
    if command.diff_status != decision.chat.diff_status:
        decision.add(f.DiffStatusChanged(diff_status=command.diff_status))


def archive(decision: Decision, command: c.Archive) -> None:
    if decision.chat.is_archived:
        return
    if not decision.chat.is_idle:
        raise NotAllowedNow(decision.chat.status, "stop the turn first, then archive")
    decision.add(f.Archived())


def unarchive(decision: Decision, command: c.Unarchive) -> None:
    if decision.chat.is_archived:
        decision.add(f.Unarchived())


def delete(decision: Decision, command: c.Delete) -> None:
    if command.upto and decision.chat.seq != command.upto:
        raise NotAllowedNow(decision.chat.status, "the chat has gone on")
    decision.add(f.ChatDeleted(used=decision.chat.turn_used))
