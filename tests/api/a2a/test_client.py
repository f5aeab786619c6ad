"""A2A's own client drives the server: tasks, streams, subscriptions, cancellation, and what a task asks for."""

from __future__ import annotations

import asyncio

import pytest
from a2a.client import Client
from a2a.helpers import new_data_message, new_raw_part, new_text_message, new_url_part
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Role,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from ..http.api_client import ApiClient
from .conftest import ask, connected, follow, own, request_of, state_of, text_of, url_of

pytestmark = pytest.mark.anyio

COUNT = 60
WHOLE = "".join(f"w{n} " for n in range(1, COUNT + 1))
SLOW = f"/tokens {COUNT}\n/rate 200"
QUESTION = '/call ask_person {"question": "which one?"}\n/say thanks'


def user_message(*parts: object, **ids: str) -> Message:
    message = new_text_message("", role=Role.ROLE_USER)
    del message.parts[:]
    message.parts.extend(parts)  # type: ignore[arg-type]
    for name, value in ids.items():
        setattr(message, name, value)
    return message


# --- tasks


async def test_a_message_gets_a_task_with_the_answer_and_its_context_goes_on(
    blocking: Client, api: ApiClient
) -> None:
    task = await ask(blocking, "/say one")
    assert (state_of(task), text_of(task), len(task.history)) == ("COMPLETED", "one", 1)
    second = await ask(blocking, "/say two", context_id=task.context_id)
    assert (second.context_id, second.id != task.id, text_of(second)) == (task.context_id, True, "two")
    assert await api.texts(task.context_id) == [
        "user: /say one",
        "assistant: one",
        "user: /say two",
        "assistant: two",
    ]
    stored = await blocking.get_task(GetTaskRequest(id=task.id))
    assert stored == task
    assert own(stored)["chatId"] == task.context_id


async def test_a_context_may_have_any_name_of_the_client(blocking: Client) -> None:
    first = await ask(blocking, "/say one", context_id="a name")
    second = await ask(blocking, "/say two", context_id="a name")
    assert (first.context_id, second.context_id) == ("a name", "a name")
    listed = await blocking.list_tasks(ListTasksRequest(context_id="a name"))
    assert [task.id for task in listed.tasks] == [second.id, first.id]
    assert (await blocking.get_task(GetTaskRequest(id=first.id, history_length=0))).history == []


async def test_a_repeated_message_gets_the_same_task_and_runs_nothing_twice(blocking: Client, api: ApiClient) -> None:
    first, second = (
        new_text_message("/say one", role=Role.ROLE_USER),
        new_text_message("/say two", role=Role.ROLE_USER),
    )
    begun = await ask(blocking, message=first)
    assert (await ask(blocking, message=first)).id == begun.id
    later = await ask(blocking, message=second, context_id=begun.context_id)
    assert await ask(blocking, message=second) == later
    second.parts[0].text = "/say other"
    with pytest.raises(InvalidParamsError, match="already used"):
        await ask(blocking, message=second)
    assert len(await api.texts(begun.context_id)) == 4


async def test_a_stream_begins_with_the_task_and_has_the_text_in_pieces(client: Client) -> None:
    seen = await follow(client.send_message(request_of(SLOW)))
    assert seen.responses[0].HasField("task")
    assert (seen.states[-2:], seen.text) == (["WORKING", "COMPLETED"], WHOLE)
    assert len(seen.responses) > 5
    assert seen.responses[-2].artifact_update.last_chunk
    stored = await client.get_task(GetTaskRequest(id=seen.task.id))
    assert (text_of(stored), stored.status) == (WHOLE, seen.task.status)


async def test_a_closed_stream_stops_nothing_and_a_subscription_gives_the_rest(client: Client) -> None:
    seen = await follow(client.send_message(request_of(SLOW)), until=20)
    later = await follow(client.subscribe(SubscribeToTaskRequest(id=seen.task.id)))
    assert len(later.responses[0].task.artifacts) == 1
    assert WHOLE.startswith(seen.text)
    assert (later.text, later.states) == (WHOLE, ["WORKING", "COMPLETED"])
    with pytest.raises(UnsupportedOperationError, match="has ended"):
        await follow(client.subscribe(SubscribeToTaskRequest(id=seen.task.id)))


async def test_a_message_to_a_busy_context_is_submitted_until_its_turn_begins(
    client: Client, blocking: Client
) -> None:
    first = await ask(blocking, "/stall 60", now=True)
    second = await ask(blocking, "/say two", context_id=first.context_id, now=True)
    assert (state_of(second), second.history[0].parts[0].text) == ("SUBMITTED", "/say two")
    following = asyncio.create_task(follow(client.subscribe(SubscribeToTaskRequest(id=second.id))))
    third = await ask(blocking, "/say three", context_id=first.context_id, now=True)
    deleted = await blocking.cancel_task(CancelTaskRequest(id=third.id))
    assert state_of(deleted) == "CANCELED"
    assert state_of(await blocking.cancel_task(CancelTaskRequest(id=first.id))) == "CANCELED"
    seen = await following
    assert (seen.task.id, seen.states, seen.text) == (second.id, ["SUBMITTED", "WORKING", "COMPLETED"], "two")
    listed = await blocking.list_tasks(ListTasksRequest(context_id=first.context_id))
    assert [task.id for task in listed.tasks] == [second.id, first.id]


async def test_only_a_task_that_has_not_ended_is_canceled(client: Client, blocking: Client) -> None:
    seen = await follow(client.send_message(request_of("/say begun\n/stall 60")), until=5)
    canceled = await client.cancel_task(CancelTaskRequest(id=seen.task.id))
    assert (state_of(canceled), text_of(canceled)) == ("CANCELED", "begun")
    with pytest.raises(TaskNotCancelableError):
        await client.cancel_task(CancelTaskRequest(id=seen.task.id))
    with pytest.raises(UnsupportedOperationError, match="has ended"):
        await ask(blocking, "more", task_id=seen.task.id)


async def test_a_message_to_a_working_task_joins_it(client: Client, api: ApiClient) -> None:
    seen = await follow(client.send_message(request_of(SLOW)), until=10)
    message = new_text_message("/say joined", role=Role.ROLE_USER)
    rest = await follow(client.send_message(request_of(message=message, task_id=seen.task.id)))
    assert (rest.states, rest.text, len(rest.texts)) == (["WORKING", "COMPLETED"], WHOLE + "joined", 2)
    assert [update["message"]["messageId"] for update in rest.own if "message" in update] == [message.message_id]
    again = await follow(client.send_message(request_of(message=message, task_id=seen.task.id)))
    assert (again.text, [m.message_id for m in again.task.history][1:]) == (rest.text, [message.message_id])
    assert len(await api.texts(seen.task.context_id)) == 4


async def test_a_failed_turn_says_why(blocking: Client) -> None:
    task = await ask(blocking, "/fail auth")
    assert state_of(task) == "FAILED"
    assert task.status.message.parts[0].text
    assert own(task)["outcome"] == "failed"


async def test_reasoning_is_a_message_and_calls_are_metadata(client: Client) -> None:
    seen = await follow(client.send_message(request_of("/think deep\n/say ok")))
    stored = await client.get_task(GetTaskRequest(id=seen.task.id))
    thought = [m.parts[0].text for m in stored.history if m.role == Role.ROLE_AGENT]
    assert thought == ["deep"]
    assert text_of(stored) == "ok"


# --- what a task asks for


async def test_an_approval_is_given_as_a_text_or_as_a_value(client: Client, blocking: Client) -> None:
    asked = await ask(blocking, '/call pay {"amount": 3}\n/say done')
    assert state_of(asked) == "INPUT_REQUIRED"
    text, value = asked.status.message.parts
    assert "pay" in text.text
    (call,) = value.data.struct_value["openCalls"]
    assert (call["toolName"], call["needs"]) == ("pay", "approval")
    with pytest.raises(InvalidParamsError, match="approved: true or false"):
        await ask(blocking, "perhaps", task_id=asked.id)
    message = new_text_message("Yes!", role=Role.ROLE_USER, task_id=asked.id, context_id=asked.context_id)
    done = await ask(blocking, message=message)
    assert (done.id, state_of(done), text_of(done)) == (asked.id, "COMPLETED", "done")
    assert own(done)["toolCalls"][0]["result"] == "paid 3"
    assert await ask(blocking, message=message) == done, "a repeat"

    seen = await follow(client.send_message(request_of("/call pay {}\n/say ok")))
    assert seen.states[-1] == "INPUT_REQUIRED"
    call_id = seen.task.status.message.parts[1].data.struct_value["openCalls"][0]["toolCallId"]
    denial = new_data_message({"toolCallId": call_id, "approved": False, "reason": "too much"}, role=Role.ROLE_USER)
    rest = await follow(client.send_message(request_of(message=denial, task_id=seen.task.id)))
    assert (rest.states[-1], rest.task.id) == ("COMPLETED", seen.task.id)
    assert "too much" in str(own(await client.get_task(GetTaskRequest(id=seen.task.id)))["toolCalls"][0])


async def test_a_question_is_answered_by_the_text_of_a_message(client: Client, blocking: Client) -> None:
    asked = await ask(blocking, QUESTION)
    assert asked.status.message.parts[0].text == "which one?"
    waiting = asyncio.create_task(follow(client.subscribe(SubscribeToTaskRequest(id=asked.id))))
    done = await ask(blocking, "the red one", task_id=asked.id)
    assert (text_of(done), own(done)["toolCalls"][0]["result"]) == ("thanks", "the red one")
    seen = await waiting
    assert (seen.states, seen.text) == (["INPUT_REQUIRED", "WORKING", "COMPLETED"], "thanks")
    assert any("toolResult" in update for update in seen.own)
    assert [message.parts[0].text for message in done.history] == [QUESTION, "which one?", "the red one"]


async def test_a_tool_of_the_client_is_answered_with_its_result(blocking: Client) -> None:
    request = request_of('/call local {"a": 1}\n/say ok')
    request.metadata.update({"antiphon": {"tools": [{"name": "local"}]}})
    (response,) = [response async for response in blocking.send_message(request)]
    asked = response.task
    call_id = asked.status.message.parts[1].data.struct_value["openCalls"][0]["toolCallId"]
    with pytest.raises(InvalidParamsError, match="result: the tool's result"):
        await ask(blocking, "42", task_id=asked.id)
    wrong = new_data_message({"toolCallId": "other", "result": 1}, role=Role.ROLE_USER)
    with pytest.raises(InvalidParamsError, match="no tool call 'other'"):
        await ask(blocking, message=wrong, task_id=asked.id)
    answer = new_data_message({"tool_call_id": call_id, "result": {"b": 2}}, role=Role.ROLE_USER)
    done = await ask(blocking, message=answer, task_id=asked.id)
    assert (state_of(done), own(done)["toolCalls"][0]["result"]) == ("COMPLETED", {"b": 2})


# --- content


async def test_files_and_values_are_parts_and_what_cannot_be_stored_is_refused(
    blocking: Client, api: ApiClient
) -> None:
    message = user_message(
        *new_text_message("/say seen", role=Role.ROLE_USER).parts,
        new_raw_part(b"hi", media_type="text/plain", filename="a.txt"),
        *new_data_message({"a": [1]}, role=Role.ROLE_USER).parts,
    )
    task = await ask(blocking, message=message)
    assert [part.WhichOneof("content") for part in task.history[0].parts] == ["text", "raw", "text"]
    uploaded = await api.ask("POST", "/files", data=b"hello", headers={"content-type": "text/plain"})
    url = f"{url_of(api)}/api/v1/files/{uploaded.json['file_id']}"
    again = await ask(blocking, message=user_message(new_url_part(url, media_type="text/plain")))
    assert again.history[0].parts[0].url == url
    for part in (new_url_part("https://example.org/a.png"), new_raw_part(b"x", media_type="application/x-other")):
        with pytest.raises(ContentTypeNotSupportedError):
            await ask(blocking, message=user_message(part))


# --- errors and lists


async def test_errors_have_the_classes_of_the_client(client: Client, blocking: Client) -> None:
    absent = "task_" + "0" * 32 + "_2"
    for call in (
        client.get_task(GetTaskRequest(id=absent)),
        client.get_task(GetTaskRequest(id="x")),
        client.cancel_task(CancelTaskRequest(id=absent)),
        follow(client.subscribe(SubscribeToTaskRequest(id=absent))),
        ask(blocking, "x", task_id=absent),
    ):
        with pytest.raises(TaskNotFoundError):
            await call
    task = await ask(blocking, "/say x")
    with pytest.raises(InvalidParamsError, match="another context"):
        await ask(blocking, "x", task_id=task.id, context_id="other")
    with pytest.raises(PushNotificationNotSupportedError):
        await client.create_task_push_notification_config(
            TaskPushNotificationConfig(task_id=task.id, url="https://example.org")
        )


async def test_another_owner_has_other_tasks_and_contexts(blocking: Client, api: ApiClient) -> None:
    message = new_text_message("/say mine", role=Role.ROLE_USER, context_id="same name")
    mine = await ask(blocking, message=message)
    other = await api.as_owner("another owner of tasks")
    async with connected(url_of(api), other.token, streaming=False) as theirs:
        for call in (
            theirs.get_task(GetTaskRequest(id=mine.id)),
            theirs.cancel_task(CancelTaskRequest(id=mine.id)),
            ask(theirs, "x", task_id=mine.id),
            ask(theirs, "x", context_id=own(mine)["chatId"]),
        ):
            with pytest.raises(TaskNotFoundError):
                await call
        assert (await theirs.list_tasks(ListTasksRequest())).tasks == []
        message.parts[0].text = "/say theirs"
        task = await ask(theirs, message=message)
        assert (text_of(task), own(task)["chatId"] != own(mine)["chatId"]) == ("theirs", True)


async def test_lists_have_pages_filters_and_counts(blocking: Client) -> None:
    tasks = [await ask(blocking, f"/say {number}") for number in range(3)]
    failed = await ask(blocking, "/fail auth", context_id=tasks[0].context_id)
    listed = await blocking.list_tasks(ListTasksRequest(page_size=2, include_artifacts=True))
    assert [task.id for task in listed.tasks] == [failed.id, tasks[2].id]
    assert (listed.total_size, listed.page_size, text_of(listed.tasks[1])) == (3, 2, "2")
    rest = await blocking.list_tasks(ListTasksRequest(page_size=2, page_token=listed.next_page_token))
    assert [task.id for task in rest.tasks] == [tasks[1].id]
    assert (rest.next_page_token, rest.total_size, len(rest.tasks[0].artifacts)) == ("", 3, 0)
    completed = ListTasksRequest(status=TaskState.TASK_STATE_COMPLETED, page_size=1)
    found = await blocking.list_tasks(completed)
    assert ([task.id for task in found.tasks], found.total_size) == ([tasks[2].id], 2)
    late = await blocking.list_tasks(ListTasksRequest(status_timestamp_after=tasks[2].status.timestamp))
    assert [task.id for task in late.tasks] == [failed.id, tasks[2].id]
    one = await blocking.list_tasks(ListTasksRequest(context_id=failed.context_id, page_size=1))
    assert ([task.id for task in one.tasks], one.total_size) == ([failed.id], 2)
    two = await blocking.list_tasks(
        ListTasksRequest(context_id=failed.context_id, page_size=1, page_token=one.next_page_token)
    )
    assert ([task.id for task in two.tasks], two.next_page_token) == ([tasks[0].id], "")


async def test_tasks_of_chats_that_others_have_made_are_the_same(blocking: Client, api: ApiClient) -> None:
    chat_id = await api.make_chat("/say from http")
    await api.rested(chat_id)
    listed = await blocking.list_tasks(ListTasksRequest(context_id=chat_id, include_artifacts=True))
    assert [text_of(task) for task in listed.tasks] == ["from http"]
    await api.send(chat_id, "/fail auth")
    await api.rested(chat_id)
    (task, _) = (await blocking.list_tasks(ListTasksRequest(context_id=chat_id))).tasks
    assert state_of(task) == "FAILED"
    assert (await api.ask("POST", f"/chats/{chat_id}/retry", {})).status < 300
    await api.rested(chat_id)
    assert state_of(await blocking.get_task(GetTaskRequest(id=task.id))) == "COMPLETED", "a task that is run again"


async def test_the_http_binding_does_the_same(api: ApiClient) -> None:
    async with (
        connected(url_of(api), api.token, binding="HTTP+JSON") as client,
        connected(url_of(api), api.token, binding="HTTP+JSON", streaming=False) as blocking,
    ):
        seen = await follow(client.send_message(request_of(SLOW)), until=20)
        rest = await follow(client.subscribe(SubscribeToTaskRequest(id=seen.task.id)))
        assert (rest.text, rest.states[-1]) == (WHOLE, "COMPLETED")
        asked = await ask(blocking, QUESTION, context_id=seen.task.context_id)
        assert state_of(asked) == "INPUT_REQUIRED"
        assert text_of(await ask(blocking, "red", task_id=asked.id)) == "thanks"
        listed = await blocking.list_tasks(ListTasksRequest(context_id=asked.context_id, include_artifacts=True))
        assert [text_of(task) for task in listed.tasks] == ["thanks", WHOLE]
        stored = await blocking.get_task(GetTaskRequest(id=asked.id, history_length=1))
        assert [message.parts[0].text for message in stored.history] == ["red"]
        running = await ask(blocking, "/stall 60", now=True)
        assert state_of(await client.cancel_task(CancelTaskRequest(id=running.id))) == "CANCELED"
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=running.id))
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id="x"))
        with pytest.raises(UnsupportedOperationError):
            await follow(client.subscribe(SubscribeToTaskRequest(id=running.id)))
        with pytest.raises(InvalidParamsError):
            await ask(blocking, "x", task_id=running.id, context_id="other")
        with pytest.raises(ContentTypeNotSupportedError):
            await ask(blocking, message=user_message(new_url_part("https://example.org/a.png")))
        with pytest.raises(PushNotificationNotSupportedError):
            await client.create_task_push_notification_config(
                TaskPushNotificationConfig(task_id=running.id, url="https://example.org")
            )


async def test_messages_that_begin_a_context_at_once_are_all_in_it_and_each_once(blocking: Client) -> None:
    messages = [new_text_message(f"/say {number}", role=Role.ROLE_USER) for number in range(4)]
    sent = [ask(blocking, message=message, context_id="raced") for message in (*messages, *messages)]
    tasks = await asyncio.gather(*sent)
    assert [task.id for task in tasks[:4]] == [task.id for task in tasks[4:]]
    assert len({task.id for task in tasks}) == 4
    listed = await blocking.list_tasks(ListTasksRequest(context_id="raced", include_artifacts=True))
    assert sorted(text_of(task) for task in listed.tasks) == ["0", "1", "2", "3"]


async def test_a_task_in_the_queue_takes_no_message_and_another_edit_of_it_is_seen(
    blocking: Client, api: ApiClient
) -> None:
    first = await ask(blocking, "/stall 60", now=True)
    second = await ask(blocking, "/say two", context_id=first.context_id, now=True)
    with pytest.raises(UnsupportedOperationError, match="waits in the queue"):
        await ask(blocking, "more", task_id=second.id)
    queued_id = int(second.id.rpartition("_")[2])
    edit = await api.ask("PATCH", f"/chats/{first.context_id}/queue/{queued_id}", {"content": "/say edited"})
    assert edit.status < 300, edit.body
    edited = await blocking.get_task(GetTaskRequest(id=second.id))
    assert (edited.history[0].parts[0].text, edited.history[0].message_id) == (
        "/say edited",
        second.history[0].message_id,
    )
    await blocking.cancel_task(CancelTaskRequest(id=first.id))
    done = await ask(blocking, "/say three", context_id=first.context_id.upper())
    assert (text_of(done), done.context_id) == ("three", first.context_id)
    assert text_of(await blocking.get_task(GetTaskRequest(id=second.id))) == "edited"
