"""The AI SDK's own chat and transport (npm `ai`) against a real server."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import anyio
import pytest

from how_to.node import node_marks

from ..http.api_client import ApiClient
from .conftest import NodeClient, UiChat

pytestmark = [pytest.mark.anyio, *node_marks()]


async def open_chat(client: NodeClient, api: ApiClient, **options: Any) -> UiChat:
    return await client.open(f"http://127.0.0.1:{api.port}", api.token, **options)


async def test_a_message_is_answered_with_text_reasoning_and_metadata(
    node_client: NodeClient, api: ApiClient
) -> None:
    chat = await open_chat(node_client, api)
    seen = await chat.send("/think hm\n/tokens 4")
    assert (seen.failure, seen.status, seen.error) == (None, "ready", None)
    assert [part["type"] for part in seen.parts()] == ["step-start", "reasoning", "text"]
    assert all(part["state"] == "done" for part in seen.parts()[1:])
    assert (seen.text, seen.parts("reasoning")[0]["text"]) == ("w1 w2 w3 w4 ", "hm")
    metadata = seen.messages[-1]["metadata"]
    assert metadata["model"] == "rehearsal"
    assert metadata["usage"]["outputTokens"] == 4
    assert seen.finished == [{"isAbort": False, "isDisconnect": False, "isError": False, "finishReason": "stop"}]
    assert seen.requests[0]["stream"] == "v1"
    assert metadata["chatId"] == seen.requests[0]["chatId"]
    assert await api.texts(metadata["chatId"]) == ["user: /think hm\n/tokens 4", "assistant: w1 w2 w3 w4 "]
    seen = await chat.send("/say two")
    assert seen.text == "two"
    assert len(seen.messages) == 4
    assert len(await api.texts(metadata["chatId"])) == 4


# --- tools


async def test_a_tool_of_the_server_is_shown_with_its_input_and_output(
    node_client: NodeClient, api: ApiClient
) -> None:
    chat = await open_chat(node_client, api)
    seen = await chat.send("/say a\n/call clock {}\n/say b")
    assert [part["type"] for part in seen.parts()] == ["step-start", "text", "tool-clock", "step-start", "text"]
    (call,) = seen.parts("tool-clock")
    assert (call["state"], call["input"], call["output"]) == ("output-available", {}, "noon")
    assert call["providerExecuted"]
    assert seen.calls == []


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "denied"])
async def test_an_approval_is_asked_for_and_given(node_client: NodeClient, api: ApiClient, approved: bool) -> None:
    chat = await open_chat(node_client, api, sendAutomatically="approvals")
    seen = await chat.send('/call pay {"amount": 3}\n/say done')
    (call,) = seen.parts("tool-pay")
    assert (call["state"], call["input"]) == ("approval-requested", {"amount": 3})
    assert seen.finished[-1]["finishReason"] == "tool-calls"
    response = {"id": call["approval"]["id"], "approved": approved, "reason": "too much"}
    await chat.do("approve", response=response)
    seen = await chat.do("settledAfter", requests=2)
    assert len(seen.messages) == 2
    (call,) = seen.parts("tool-pay")
    assert call["state"] == ("output-available" if approved else "output-denied")
    assert call.get("output") == ("paid 3" if approved else None)
    assert (seen.text, seen.status, seen.error) == ("done", "ready", None)


PICK = {"name": "pick", "description": "Pick a file.", "parameters": {"type": "object", "properties": {}}}


async def test_a_tool_of_the_client_gets_its_output_and_a_repeat_runs_nothing(
    node_client: NodeClient, api: ApiClient
) -> None:
    chat = await open_chat(node_client, api, body={"tools": [PICK]}, sendAutomatically="tools")
    seen = await chat.send('/say a\n/call pick {"x": 1}\n/say b')
    (call,) = seen.calls
    assert (call["toolName"], call["input"]) == ("pick", {"x": 1})
    await chat.do("output", output={"tool": "pick", "toolCallId": call["toolCallId"], "output": {"file": "a.txt"}})
    seen = await chat.do("settledAfter", requests=2)
    assert seen.status == "ready", seen.error
    assert [part["type"] for part in seen.parts()] == ["step-start", "text", "tool-pick", "step-start", "text"]
    assert seen.parts("tool-pick")[0]["output"] == {"file": "a.txt"}
    assert seen.text == "ab"
    chat_id = seen.requests[0]["chatId"]
    texts = await api.texts(chat_id)
    repeated = (await chat.do("repeat", number=-1)).repeated
    assert '"type":"text-delta"' in repeated
    assert repeated.endswith("data: [DONE]\n\n")
    assert await api.texts(chat_id) == texts


async def test_an_error_of_a_client_s_tool_is_given_to_the_model(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api, body={"tools": [PICK]}, sendAutomatically="tools")
    seen = await chat.send("/call pick {}\n/say b")
    call_id = seen.calls[0]["toolCallId"]
    await chat.do(
        "output", output={"tool": "pick", "toolCallId": call_id, "state": "output-error", "errorText": "no"}
    )
    seen = await chat.do("settledAfter", requests=2)
    assert (seen.parts("tool-pick")[0]["state"], seen.text) == ("output-error", "b")


async def test_a_question_is_a_form_and_is_answered_as_a_tool(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api, sendAutomatically="tools")
    seen = await chat.send('/call ask_person {"question": "Which?"}\n/say done')
    (question,) = seen.parts("data-question")
    assert question["data"]["question"] == "Which?"
    call_id = question["data"]["toolCallId"]
    await chat.do("output", output={"tool": seen.calls[-1]["toolName"], "toolCallId": call_id, "output": "this one"})
    seen = await chat.do("settledAfter", requests=2)
    assert (seen.text, seen.status) == ("done", "ready"), seen.error


async def test_a_message_instead_of_an_approval_ends_the_turn(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.send("/call pay {}\n/say done")
    seen = await chat.send("/say never mind")
    assert (seen.text, seen.status) == ("never mind", "ready")


# --- ends


async def test_a_failed_turn_is_an_error_with_its_sentence(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    seen = await chat.send("/say a\n/fail auth")
    assert seen.status == "error"
    assert seen.error
    assert seen.messages[-1]["metadata"]["outcome"] == "failed"
    seen = await chat.do("regenerate")
    assert seen.status == "ready", seen.error  # the rehearsal fails once


async def test_a_retry_takes_back_what_was_said(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    seen = await chat.send("/say beginning\n/fail overloaded 1\n/say end")
    assert seen.status == "ready", seen.error
    assert [part["type"] for part in seen.data] == ["data-retry"]
    assert [part["type"] for part in seen.parts()] == ["step-start", "text"]
    assert seen.text == "beginningend"


async def test_refusals_are_sentences(node_client: NodeClient, api: ApiClient) -> None:
    chat = await node_client.open(f"http://127.0.0.1:{api.port}", "wrong")
    seen = await chat.send("/say a")
    assert seen.status == "error"
    assert seen.error is not None
    assert not seen.error.startswith("{")
    assert "token" in seen.error


async def test_leaving_stops_nothing_and_the_stop_route_does(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.do("sendUntil", message={"text": "/say begun\n/stall 600"}, length=5)
    seen = await chat.do("stop")
    assert seen.finished[-1]["isAbort"]
    path = f"//api/ui/chat/{chat.name.replace(' ', '%20')}"
    assert (await api.ask("POST", f"{path}/stop")).json == {"interrupted": True}
    seen = await chat.do("resume")
    chat_id = seen.requests[0]["chatId"]
    assert (await api.rested(chat_id))["status"] == "waiting"
    assert await api.texts(chat_id) == ["user: /say begun\n/stall 600", "assistant: begun"]
    assert (await api.ask("POST", f"{path}/stop")).json == {"interrupted": False}
    assert (await api.ask("GET", f"{path}/stream")).status == 204
    assert (await chat.do("resume")).requests[-1]["status"] == 204


async def test_any_text_names_a_chat(node_client: NodeClient, api: ApiClient) -> None:
    name = "a/b 100% a%41 é?#"
    chat = await open_chat(node_client, api, name=name)
    await chat.do("sendUntil", message={"text": "/say begun\n/stall 600"}, length=5)
    await chat.do("stop")
    answer = await api.ask("POST", f"//api/ui/chat/{quote(name, safe='')}/stop")
    assert answer.json == {"interrupted": True}
    assert (await chat.send("/say two")).text == "two"
    assert len((await api.ask("GET", "/chats")).json["chats"]) == 1


async def test_a_watcher_sees_the_stop_as_an_abort(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.do("sendUntil", message={"text": "/say begun\n/stall 600"}, length=5)
    await api.ask("POST", f"//api/ui/chat/{chat.name.replace(' ', '%20')}/stop", {"clearQueue": True})
    seen = await chat.do("settled")
    assert (seen.status, seen.text) == ("ready", "begun")
    assert seen.messages[-1]["metadata"]["outcome"] == "interrupted"


# --- resuming, regenerating, editing


async def test_a_client_that_left_resumes_from_the_beginning(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.do("sendUntil", message={"text": "/think hm\n/tokens 60\n/rate 200"}, length=20)
    seen = await chat.do("stop")
    assert 20 <= len(seen.text) < 200
    seen = await chat.do("resume")
    assert seen.text == "".join(f"w{n} " for n in range(1, 61))
    assert [part["type"] for part in seen.parts()] == ["step-start", "reasoning", "text"]
    assert len(seen.messages) == 2


async def test_an_open_approval_is_offered_to_a_late_client(node_client: NodeClient, api: ApiClient) -> None:
    name = "late approval"
    first = await open_chat(node_client, api, name=name)
    seen = await first.send("/say a\n/call pay {}\n/say done")
    before = seen.messages
    late = await open_chat(node_client, api, name=name, messages=before[:1], sendAutomatically="approvals")
    seen = await late.do("resume")
    assert seen.parts()[1:] == before[-1]["parts"][1:]
    await late.do("approve", response={"id": seen.parts("tool-pay")[0]["approval"]["id"], "approved": True})
    seen = await late.do("settledAfter", requests=2)
    assert seen.text == "adone"


async def test_completed_waits_do_not_end_a_resumed_stream(node_client: NodeClient, api: ApiClient) -> None:
    name = "two approvals"
    chat = await open_chat(node_client, api, name=name, sendAutomatically="approvals")
    seen = await chat.send('/call pay {}\n/say a\n/call pay {"amount": 2}\n/say b')
    await chat.do("approve", response={"id": seen.parts("tool-pay")[0]["approval"]["id"], "approved": True})
    seen = await chat.do("settledAfter", requests=2)
    assert [part["state"] for part in seen.parts("tool-pay")] == ["output-available", "approval-requested"]
    repeated = (await chat.do("repeat", number=0)).repeated
    assert "paid 1" in repeated
    assert repeated.count("tool-approval-request") == 1
    late = await open_chat(node_client, api, name=name, messages=seen.messages[:1], sendAutomatically="approvals")
    seen = await late.do("resume")
    assert [part["state"] for part in seen.parts("tool-pay")] == ["output-available", "approval-requested"]
    await late.do("approve", response={"id": seen.parts("tool-pay")[1]["approval"]["id"], "approved": True})
    seen = await late.do("settledAfter", requests=2)
    assert (seen.text, seen.error) == ("ab", None)


async def test_an_answer_is_regenerated_and_a_repeat_runs_nothing(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    seen = await chat.send("/tokens 3")
    first = seen.messages[-1]["id"]
    seen = await chat.do("regenerate", options={"messageId": first})
    assert (seen.text, len(seen.messages)) == ("w1 w2 w3 ", 2)
    assert seen.messages[-1]["id"] != first
    chat_id = seen.requests[0]["chatId"]
    seq = (await api.chat(chat_id))["seq"]
    repeated = (await chat.do("repeat", number=-1)).repeated
    assert f'"messageId":"{seen.messages[-1]["id"]}"' in repeated
    assert (await api.chat(chat_id))["seq"] == seq


async def test_an_earlier_answer_is_regenerated(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    first = (await chat.send("/say one")).messages[-1]["id"]
    await chat.send("/say two")
    seen = await chat.do("regenerate", options={"messageId": first})
    assert (seen.text, len(seen.messages)) == ("one", 2)
    assert await api.texts(seen.requests[0]["chatId"]) == ["user: /say one", "assistant: one"]


async def test_a_message_is_edited_and_a_repeat_runs_nothing(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.send("/say one")
    seen = await chat.send("/say two")
    for text in ("three", "four"):
        seen = await chat.send(f"/say {text}", messageId=seen.messages[-2]["id"])
        assert (seen.text, len(seen.messages)) == (text, 4)
    chat_id = seen.requests[0]["chatId"]
    texts = ["user: /say one", "assistant: one", "user: /say four", "assistant: four"]
    assert await api.texts(chat_id) == texts
    seq = (await api.chat(chat_id))["seq"]
    assert '"delta":"four"' in (await chat.do("repeat", number=-1)).repeated
    seen = await chat.send("/say first", messageId=seen.messages[0]["id"])
    assert await api.texts(chat_id) == ["user: /say first", "assistant: first"]
    assert (await api.chat(chat_id))["seq"] > seq


# --- sending


@pytest.mark.parametrize("number", [0, 1])
async def test_a_repeated_send_runs_nothing_twice(node_client: NodeClient, api: ApiClient, number: int) -> None:
    chat = await open_chat(node_client, api)
    await chat.send("/tokens 2")
    seen = await chat.send("/tokens 3")
    chat_id = seen.requests[0]["chatId"]
    seq = (await api.chat(chat_id))["seq"]
    repeated = (await chat.do("repeat", number=number)).repeated
    assert '"delta":"w1' in repeated
    assert repeated.endswith("data: [DONE]\n\n")
    assert (await api.chat(chat_id))["seq"] == seq


async def test_a_message_while_a_turn_runs_waits_and_is_answered(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.do("sendUntil", message={"text": "/tokens 40\n/rate 200"}, length=6)
    other = await open_chat(node_client, api, name=f"{chat.name}", messages=[])
    seen = await other.send("/say two")
    assert (seen.text, seen.data[0]["type"]) == ("two", "data-queued")
    texts = await api.texts(seen.requests[0]["chatId"])
    assert texts[1] == "assistant: " + "".join(f"w{n} " for n in range(1, 41))


def message(role: str, text: str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "role": role, "parts": [{"type": "text", "text": text}], **more}


async def test_a_history_of_the_client_is_imported(node_client: NodeClient, api: ApiClient) -> None:
    call: dict[str, Any] = {"type": "tool-clock", "toolCallId": "c1", "state": "output-available", "input": {}}
    history = [
        message("assistant", "Hello!", "greeting"),
        message("user", "first", "u1"),
        {"id": "a1", "role": "assistant", "parts": [
            {"type": "step-start"}, {"type": "reasoning", "text": "hm"}, {**call, "output": 1},
            {"type": "step-start"}, {"type": "text", "text": "one"}, {"type": "data-x", "data": [1]},
        ]},
    ]  # fmt: skip
    chat = await open_chat(node_client, api, messages=history)
    seen = await chat.send("/say two")
    assert (seen.status, seen.text) == ("ready", "two"), seen.error
    assert seen.requests[0]["ignored"] == "greeting"
    chat_id = seen.requests[0]["chatId"]
    texts = ["user: first", "assistant: ", "tool: ", "assistant: one", "user: /say two", "assistant: two"]
    assert await api.texts(chat_id) == texts
    repeated = await chat.do("repeat", number=0)
    assert '"delta":"two"' in repeated.repeated
    assert await api.texts(chat_id) == texts
    seen = await chat.send("/say 1", messageId="u1")
    assert await api.texts(chat_id) == ["user: /say 1", "assistant: 1"]


async def test_files_are_sent_and_the_chat_is_one_of_the_other_apis(node_client: NodeClient, api: ApiClient) -> None:
    chat_id = await api.make_chat("/say zero")
    await api.rested(chat_id)
    chat = await open_chat(node_client, api, name=chat_id)
    file = {"type": "file", "mediaType": "text/plain", "filename": "a.txt", "url": "data:text/plain;base64,aGk="}
    seen = await chat.do("send", message={"text": "/say seen", "files": [file]})
    assert seen.text == "seen"
    stored = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"][-2]["content"]
    assert [part["type"] for part in stored] == ["file", "text"]
    assert (stored[0]["name"], stored[0]["media_type"]) == ("a.txt", "text/plain")


# --- a page that is loaded again


def bare(messages: list[Any]) -> list[Any]:
    """The messages without what only the moment of streaming adds."""
    return [
        {"id": m["id"], "role": m["role"], "parts": [
            {k: v for k, v in part.items() if k not in ("state", "rawInput", "id") or part["type"] == "data-message"}
            for part in m["parts"]
        ]}
        for m in messages
    ]  # fmt: skip


async def test_the_stored_messages_are_those_that_were_streamed(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api, body={"tools": [PICK]}, sendAutomatically="tools")
    await chat.send("/think hm\n/say a\n/call clock {}\n/say b")
    seen = await chat.send("/call pick {}\n/say c")
    call_id = seen.calls[0]["toolCallId"]
    await chat.do("output", output={"tool": "pick", "toolCallId": call_id, "output": [1]})
    seen = await chat.do("settledAfter", requests=3)
    seen = await chat.do("regenerate")
    call_id = seen.calls[-1]["toolCallId"]
    await chat.do("output", output={"tool": "pick", "toolCallId": call_id, "output": [2]})
    seen = await chat.do("settledAfter", requests=5)
    assert seen.text == "c", seen.error
    loaded = (await api.ask("GET", f"//api/ui/chat/{quote(chat.name)}")).json
    assert (loaded["id"], loaded["hasMore"]) == (chat.name, False)
    assert bare(loaded["messages"]) == bare(seen.messages)
    page = await open_chat(node_client, api, name=chat.name, messages=loaded["messages"])
    seen = await page.send("/say again", messageId=loaded["messages"][2]["id"])
    assert (seen.text, len(seen.messages)) == ("again", 4)


async def test_a_page_that_is_loaded_while_an_answer_is_written_resumes_it(
    node_client: NodeClient, api: ApiClient
) -> None:
    chat = await open_chat(node_client, api)
    await chat.send("/say one")
    await chat.do("sendUntil", message={"text": "/tokens 60\n/rate 200"}, length=20)
    loaded = (await api.ask("GET", f"//api/ui/chat/{quote(chat.name)}")).json["messages"]
    assert [message["role"] for message in loaded] == ["user", "assistant", "user"]
    page = await open_chat(node_client, api, name=chat.name, messages=loaded)
    seen = await page.do("resume")
    assert (len(seen.messages), seen.text) == (4, "".join(f"w{n} " for n in range(1, 61)))


async def test_a_message_says_what_it_does_while_a_turn_runs(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.do("sendUntil", message={"text": "/say begun\n/stall 600"}, length=5)
    other = await open_chat(node_client, api, name=chat.name, body={"whenBusy": "reject", "system": "be loud"})
    seen = await other.send("/say no")
    assert (seen.status, seen.requests[-1]["status"]) == ("error", 409)
    other = await open_chat(node_client, api, name=chat.name, body={"whenBusy": "interrupt", "system": "be brief"})
    seen = await other.send("/say now")
    assert (seen.text, seen.error) == ("now", None)
    texts = await api.texts(seen.requests[0]["chatId"])
    assert texts == ["user: /say begun\n/stall 600", "assistant: begun", "user: /say now", "assistant: now"]
    events = await api.events(f"/chats/{seen.requests[0]['chatId']}/stream?after=0&until=idle")
    (changed,) = [event.data for event in events if event.type == "system_changed"]
    assert b"be brief" in changed


async def test_a_waiting_message_that_is_deleted_ends_its_stream(node_client: NodeClient, api: ApiClient) -> None:
    chat = await open_chat(node_client, api)
    await chat.do("sendUntil", message={"text": "/say begun\n/stall 600"}, length=5)
    (listed,) = (await api.ask("GET", "/chats")).json["chats"]
    other = await open_chat(node_client, api, name=chat.name)
    async with anyio.create_task_group() as group:
        group.start_soon(other.send, "/say never")
        page: Any = {}
        while not page.get("queued_messages"):
            page = (await api.ask("GET", f"/chats/{listed['id']}/messages")).json
        await api.ask("DELETE", f"/chats/{listed['id']}/queue/{page['queued_messages'][0]['id']}")
    seen = await other.do("settled")
    assert (seen.status, [message["role"] for message in seen.messages]) == ("ready", ["user"])
