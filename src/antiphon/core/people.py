"""The rules of people's commands (DESIGN 4, first table). Each rule adds facts to the story or refuses."""

from __future__ import annotations

from antiphon.core import commands as c
from antiphon.core import facts as f
from antiphon.core.model import Call, CallState, Needs, Outcome, Queued, Status, WhenBusy
from antiphon.core.parts import Role
from antiphon.core.story import Story, content_of_error
from antiphon.errors import AlreadyDelivered, Busy, Invalid, NotAllowedNow, NotFound, TooLarge, TooMany


def create_chat(story: Story, command: c.CreateChat) -> None:
    story.add(
        f.ChatCreated(
            owner_id=command.owner_id,
            title=command.title,
            is_title_made=command.is_title_made,
            model=command.model,
            system=command.system,
            labels=command.labels,
            tools=command.tools,
        )
    )
    if command.content:
        story.append_user_message(command.content, client_message_id=command.client_message_id, by=command.owner_id)


# --- messages ---------------------------------------------------------------------------------------


def send_message(story: Story, command: c.SendMessage) -> None:
    chat = story.chat
    if chat.is_archived:
        story.add(f.Unarchived())
    if chat.is_idle and not chat.waits:
        story.append_user_message(
            command.content,
            client_message_id=command.client_message_id,
            model=command.model,
            by=command.by,
        )
    elif chat.status is Status.ERROR:
        _queue(story, command, WhenBusy.QUEUE)
        story.deliver_next()
    elif command.when_busy is WhenBusy.REJECT:
        raise Busy(chat.status)
    else:
        _queue(story, command, command.when_busy)
        if command.when_busy is WhenBusy.INTERRUPT:
            _interrupt_turn(story, command.by)


def _queue(story: Story, command: c.SendMessage, when_busy: WhenBusy) -> None:
    chat = story.chat
    if chat.queue_length >= command.queue_max:
        raise TooMany("queued messages", command.queue_max)
    _check_queue_bytes(story, len(command.content), command.queue_bytes_max)
    story.add(
        f.MessageQueued(
            content=command.content,
            content_size=len(command.content),
            when_busy=when_busy,
            client_message_id=command.client_message_id,
            model=command.model,
            created_by=command.by,
        )
    )


def _check_queue_bytes(story: Story, more: int, bytes_max: int) -> None:
    held = sum(item.content_size for item in (*story.chat.steering, *story.chat.queue))
    if held + more > bytes_max:
        raise TooLarge("queue (in bytes)", bytes_max)


def edit_message(story: Story, command: c.EditMessage) -> None:
    chat = story.chat
    if command.target is None:
        raise NotFound("message")
    if command.target is not Role.USER:
        raise Invalid("message_id", "only a user's message can be edited")
    if command.clear_queue:
        _clear_queue(story)
    if not chat.is_idle:
        story.end_turn(Outcome.REPLACED)
    if chat.is_archived:
        story.add(f.Unarchived())
    story.add(f.HistoryTruncated(from_message_id=command.message_id))
    story.append_user_message(command.content, by=command.by)


def retry(story: Story, command: c.Retry) -> None:
    chat = story.chat
    if not chat.is_idle:
        raise Busy(chat.status)
    if not chat.last_turn_id:
        raise NotAllowedNow(chat.status, "there is no turn to run again")
    if command.turn_id and command.turn_id != chat.last_turn_id:
        raise Invalid("turn_id", "only the last turn can be run again; edit an earlier message instead")
    if chat.is_archived:
        story.add(f.Unarchived())
    if chat.answer_id:
        story.add(f.HistoryTruncated(from_message_id=chat.answer_id))
    story.add(f.TurnRestarted(turn_id=chat.last_turn_id))


# --- the queue --------------------------------------------------------------------------------------


def edit_queued(story: Story, command: c.EditQueued) -> None:
    item = _waiting(story, command)
    _check_queue_bytes(story, len(command.content) - item.content_size, command.queue_bytes_max)
    story.add(f.QueuedMessageEdited(queued_id=item.id, content=command.content, content_size=len(command.content)))


def delete_queued(story: Story, command: c.DeleteQueued) -> None:
    if story.chat.queued(command.queued_id) is None and command.existed and not command.was_delivered:
        return
    story.add(f.QueuedMessageDeleted(queued_id=_waiting(story, command).id))


def move_queued(story: Story, command: c.MoveQueued) -> None:
    item = _waiting(story, command)
    part = _part_of(story, item)
    if command.before is None:
        if part[-1] is not item:
            story.add(f.QueueMoved(queued_id=item.id))
        return
    if command.before == item.id:
        return
    if not any(other.id == command.before for other in part):
        raise Invalid("before", "not a message of the same part of the queue (steering, promoted or other)")
    place = part.index(item)
    if place + 1 < len(part) and part[place + 1].id == command.before:
        return
    story.add(f.QueueMoved(queued_id=item.id, before=command.before))


def _part_of(story: Story, item: Queued) -> tuple[Queued, ...]:
    if item in story.chat.steering:
        return story.chat.steering
    return tuple(other for other in story.chat.queue if other.is_promoted == item.is_promoted)


def promote_queued(story: Story, command: c.PromoteQueued) -> None:
    """A second promote is answered, not punished: it must not stop the turn of the message before."""
    item = _waiting(story, command)
    was_promoted = item.is_promoted
    if story.chat.is_archived:
        story.add(f.Unarchived())
    if not was_promoted:
        story.add(f.QueuedMessagePromoted(queued_id=item.id))
    if story.chat.status is Status.ERROR:
        promoted = story.chat.queued(item.id)
        assert promoted
        story.deliver(promoted)
    elif not was_promoted:
        _interrupt_turn(story, command.by)


def _waiting(story: Story, command: c.QueueCommand) -> Queued:
    item = story.chat.queued(command.queued_id)
    if item is None:
        raise AlreadyDelivered(command.queued_id) if command.was_delivered else NotFound("queued_message")
    return item


def _clear_queue(story: Story) -> None:
    for item in (*story.chat.steering, *story.chat.queue):
        story.add(f.QueuedMessageDeleted(queued_id=item.id))


# --- stop -------------------------------------------------------------------------------------------


def interrupt(story: Story, command: c.Interrupt) -> None:
    """Stops the turn it names; for any other turn nothing happens, so a late click never hits the next one."""
    if not command.turn_id or story.chat.turn_id != command.turn_id:
        return
    if command.clear_queue:
        _clear_queue(story)
    _interrupt_turn(story, command.by)


def _interrupt_turn(story: Story, by: str) -> None:
    chat = story.chat
    if chat.status is Status.RUNNING and chat.attempt:
        story.add(f.InterruptRequested(turn_id=chat.turn_id, by=by))
    elif chat.status in (Status.RUNNING, Status.REQUIRES_ACTION):
        story.close_calls("cancelled")
        story.end_turn(Outcome.INTERRUPTED)


# --- client-side tools and approvals ----------------------------------------------------------------


def submit_tool_results(story: Story, command: c.SubmitToolResults) -> None:
    call = _awaiting(story, command.tool_call_id, Needs.RESULT)
    story.add(f.ActionResolved(tool_call_id=call.tool_call_id, outcome="result", by=command.by))
    story.resolve(call, command.content)
    _steer_when_all_answered(story)


def approve(story: Story, command: c.Approve) -> None:
    call = _awaiting(story, command.tool_call_id, Needs.APPROVAL)
    story.add(f.ActionResolved(tool_call_id=call.tool_call_id, outcome="approved", by=command.by))


def deny(story: Story, command: c.Deny) -> None:
    call = _awaiting(story, command.tool_call_id, Needs.APPROVAL)
    story.add(f.ActionResolved(tool_call_id=call.tool_call_id, outcome="denied", by=command.by))
    story.resolve(call, content_of_error(call, "denied", command.reason))
    _steer_when_all_answered(story)


def _awaiting(story: Story, tool_call_id: str, needs: Needs) -> Call:
    chat = story.chat
    if chat.status is not Status.REQUIRES_ACTION:
        raise NotAllowedNow(chat.status, "no tool call waits for an answer")
    call = chat.call(tool_call_id)
    if call is None or call.needs is not needs:
        raise NotFound("tool_call")
    if call.state is not CallState.AWAITING:
        raise NotAllowedNow(chat.status, "this call was already answered")
    return call


def _steer_when_all_answered(story: Story) -> None:
    if story.chat.status is Status.RUNNING and not story.chat.calls:
        story.deliver_steering()


# --- about the chat ---------------------------------------------------------------------------------


def rename(story: Story, command: c.Rename) -> None:
    if command.title != story.chat.title or not story.chat.is_titled_by_person:
        story.add(f.TitleChanged(title=command.title, by="person"))


def set_labels(story: Story, command: c.SetLabels) -> None:
    if command.labels != story.chat.labels:
        story.add(f.LabelsChanged(labels=command.labels))


def set_pin(story: Story, command: c.SetPin) -> None:
    if command.pin_order != story.chat.pin_order:
        story.add(f.PinChanged(pin_order=command.pin_order))


def set_model(story: Story, command: c.SetModel) -> None:
    if command.model != story.chat.model:
        story.add(f.ModelChanged(model=command.model))


def set_system(story: Story, command: c.SetSystem) -> None:
    if command.system != story.chat.system:
        story.add(f.SystemChanged(system=command.system))


def set_diff_status(story: Story, command: c.SetDiffStatus) -> None:
    if command.diff_status != story.chat.diff_status:
        story.add(f.DiffStatusChanged(diff_status=command.diff_status))


def archive(story: Story, command: c.Archive) -> None:
    if story.chat.is_archived:
        return
    if not story.chat.is_idle:
        raise NotAllowedNow(story.chat.status, "stop the turn first, then archive")
    story.add(f.Archived())


def unarchive(story: Story, command: c.Unarchive) -> None:
    if story.chat.is_archived:
        story.add(f.Unarchived())


def delete(story: Story, command: c.Delete) -> None:
    story.add(f.ChatDeleted())
