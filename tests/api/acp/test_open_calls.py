"""Approvals and questions as requests to the person at the editor: the first answer of any client counts."""

from __future__ import annotations

import asyncio

import pytest
from acp.schema import AcceptElicitationResponse, DeniedOutcome, RequestPermissionResponse

from support.waiting import wait_until

from ..http.api_client import ApiClient
from .editor import Editor
from .test_editors import chosen

CANCEL = "$/cancel_request"

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("option", ["allow", "always", "reject"])
async def test_an_approval_is_a_permission_request(editor: Editor, option: str) -> None:
    chat_id = await editor.new()
    content = '/call pay {"amount": 3}\n/say done'
    prompt = asyncio.create_task(editor.prompt(chat_id, content))
    asked, answer = await editor.wait_asked(chat_id)
    assert (asked["toolCall"]["rawInput"], asked["toolCall"]["status"]) == ({"amount": 3}, "pending")
    assert [one["kind"] for one in asked["options"]] == ["allow_once", "allow_always", "reject_once"]
    answer.set_result(chosen(option))
    assert await prompt == "end_turn"
    (call,) = editor.calls(chat_id).values()
    assert call["status"] == ("failed" if option == "reject" else "completed")
    if option == "always":
        assert await editor.prompt(chat_id, content) == "end_turn"
        assert len([one for one in editor.asked if one[0] == chat_id]) == 1


async def test_an_approval_of_another_client_withdraws_the_request(
    editor: Editor, other: Editor, shared_api: ApiClient
) -> None:
    chat_id = await editor.new()
    prompt = asyncio.create_task(editor.prompt(chat_id, "/call pay {}\n/say done"))
    asked, answer = await editor.wait_asked(chat_id)
    await other.load(chat_id)
    _, late = await other.wait_asked(chat_id)  # who comes later is asked, too
    body = {"tool_call_id": asked["toolCall"]["toolCallId"], "approved": True}
    assert (await shared_api.ask("POST", f"/chats/{chat_id}/approvals", body)).status == 200
    assert await prompt == "end_turn"
    for one in (editor, other):
        await wait_until(lambda one=one: [m for m in one.messages if m.get("method") == CANCEL], "a withdrawal")
    answer.set_result(chosen("reject"))
    late.set_result(chosen("reject"))
    assert await editor.prompt(chat_id, "/say two") == "end_turn"
    assert "paid 1" in str(await shared_api.ask("GET", f"/chats/{chat_id}/messages"))


async def test_a_cancel_while_a_permission_is_asked_for_ends_the_turn(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    prompt = asyncio.create_task(editor.prompt(chat_id, "/call pay {}\n/say done"))
    _, answer = await editor.wait_asked(chat_id)
    await editor.agent.cancel(session_id=chat_id)
    answer.set_result(RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled")))
    assert await prompt == "cancelled"
    (call,) = editor.calls(chat_id).values()
    assert call["status"] == "failed"
    assert (await shared_api.chat(chat_id))["status"] == "waiting"


async def test_a_late_editor_answers_what_is_open(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/call pay {}\n/say done")
    await shared_api.rested(chat_id)
    await editor.load(chat_id)
    _, answer = await editor.wait_asked(chat_id)
    answer.set_result(chosen("allow"))
    await editor.wait_text(chat_id, "done")


async def test_a_question_is_a_form(other: Editor, shared_api: ApiClient) -> None:
    chat_id = await other.new()
    prompt = asyncio.create_task(other.prompt(chat_id, '/call ask_person {"question": "Which?"}\n/say done'))
    asked, answer = await other.wait_asked(chat_id)
    assert asked["message"] == "Which?"
    assert asked["requestedSchema"]["properties"] == {"answer": {"type": "string"}}
    answer.set_result(AcceptElicitationResponse(action="accept", content={"answer": "this"}))
    assert await prompt == "end_turn"
    (call,) = other.calls(chat_id).values()
    assert (call["status"], call["rawOutput"]) == ("completed", "this")


async def test_a_question_in_an_editor_without_forms_is_answered_by_the_next_prompt(editor: Editor) -> None:
    chat_id = await editor.new()
    assert await editor.prompt(chat_id, '/call ask_person {"question": "Which?"}\n/say done') == "end_turn"
    assert editor.text(chat_id).strip() == "Which?"
    assert await editor.prompt(chat_id, "this") == "end_turn"
    (call,) = editor.calls(chat_id).values()
    assert (call["status"], call["rawOutput"]) == ("completed", "this")
    assert editor.text(chat_id).endswith("done")


async def test_a_question_with_few_answers_is_offered_as_options(editor: Editor) -> None:
    chat_id = await editor.new()
    schema = '{"type": "boolean"}'
    content = f'/call ask_person {{"question": "Sure?", "schema": {schema}}}\n/say done'
    prompt = asyncio.create_task(editor.prompt(chat_id, content))
    asked, answer = await editor.wait_asked(chat_id)
    assert (asked["toolCall"]["title"], [one["name"] for one in asked["options"]]) == ("Sure?", ["Yes", "No"])
    answer.set_result(chosen(asked["options"][1]["optionId"]))
    assert await prompt == "end_turn"
    (call,) = editor.calls(chat_id).values()
    assert call["rawOutput"] is False


async def test_a_tool_of_another_client_is_announced_and_its_result_ends_the_wait(
    other: Editor, shared_api: ApiClient
) -> None:
    tools = [{"name": "pick", "description": "Pick.", "parameters": {"type": "object", "properties": {}}}]
    chat_id = await shared_api.make_chat(tools=tools)
    await other.load(chat_id)
    prompt = asyncio.create_task(other.prompt(chat_id, "/call pick {}\n/say done"))

    await other.wait_text(chat_id, "The tool pick is run by another client")
    (call,) = (await shared_api.chat(chat_id))["open_calls"]
    body = {"tool_call_id": call["tool_call_id"], "result": "a.txt"}
    await shared_api.ask("POST", f"/chats/{chat_id}/tool-results", body)
    assert await prompt == "end_turn"
