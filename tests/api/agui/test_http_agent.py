"""AG-UI's own client (npm `@ag-ui/client`) with its verifier against a real server."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from how_to.node import node_marks

from ..http.api_client import ApiClient
from .conftest import Client, NodeClient

pytestmark = [pytest.mark.anyio, *node_marks()]

PICK = {"name": "pick", "description": "Pick a file.", "parameters": {"type": "object", "properties": {}}}


async def open_agent(client: NodeClient, api: ApiClient, thread: str = "", **options: Any) -> Client:
    return await client.open(f"http://127.0.0.1:{api.port}", api.token, thread, **options)


async def test_a_message_is_answered_with_reasoning_text_and_usage(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say("/think hm\n/tokens 4")
    assert seen.types == [
        *("RUN_STARTED", "STEP_STARTED", "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_END"),
        *("REASONING_END", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_FINISHED"),
    ]
    assert seen.events[0]["protocolVersion"] == "1.0"
    assert [message["role"] for message in seen.messages] == ["user", "reasoning", "assistant"]
    assert (seen.text, seen.of("reasoning")[0]["content"]) == ("w1 w2 w3 w4 ", "hm")
    assert seen.outcome == {"type": "success"}
    (usage,) = seen.events[-1]["usage"]
    assert (usage["outputTokens"], usage["model"]) == (4, "rehearsal")
    chat_id = seen.requests[0]["chatId"]
    assert seen.events[0]["metadata"]["antiphon"]["chatId"] == chat_id
    seen = await agent.say("/say two")
    assert (seen.text, len(seen.messages)) == ("two", 5)
    assert "MESSAGES_SNAPSHOT" not in seen.types
    assert seen.requests[1]["ignored"] is None
    assert len(await api.texts(chat_id)) == 4


async def test_a_request_that_is_repeated_runs_nothing_and_gives_the_same_stream(
    node_client: NodeClient, api: ApiClient
) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say("/say a\n/call clock {}\n/say b")
    texts = await api.texts(seen.requests[0]["chatId"])
    repeated = (await agent.do("repeat", number=0)).repeated
    events = [json.loads(line[6:]) for line in repeated.split("\n\n") if line]
    shown = [event for event in events if not event["type"].endswith(("_CONTENT", "_ARGS"))]
    assert sorted(json.dumps(e, sort_keys=True) for e in shown) == sorted(
        json.dumps(e, sort_keys=True) for e in seen.events
    )
    assert await api.texts(seen.requests[0]["chatId"]) == texts


# --- tools, interrupts


async def test_a_tool_of_the_server_is_called_and_answered(node_client: NodeClient, api: ApiClient) -> None:
    seen = await (await open_agent(node_client, api)).say("/say a\n/call clock {}\n/say b")
    assert [message["role"] for message in seen.messages] == ["user", "assistant", "tool", "assistant"]
    (call,) = seen.of("assistant")[0]["toolCalls"]
    assert (call["function"], seen.of("assistant")[0]["content"]) == ({"name": "clock", "arguments": "{}"}, "a")
    assert json.loads(seen.of("tool")[0]["content"]) == {"time": "noon"}
    assert seen.of("tool")[0]["toolCallId"] == call["id"]


async def test_a_tool_of_the_client_gets_its_result_in_the_next_run(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say('/say a\n/call pick {"x": 1}\n/say b', tools=[PICK])
    (call,) = seen.of("assistant")[0]["toolCalls"]
    assert seen.outcome == {"type": "success", "pendingToolCallIds": [call["id"]]}
    assert json.loads(call["function"]["arguments"]) == {"x": 1}
    result = {"id": "mine", "role": "tool", "toolCallId": call["id"], "content": "a.txt"}
    await agent.do("add", message=result)
    seen = await agent.run(tools=[PICK])
    assert (seen.text, seen.outcome) == ("b", {"type": "success"})
    assert seen.of("tool") == [result]
    texts = await api.texts(seen.requests[0]["chatId"])
    assert '"delta":"b"' in (await agent.do("repeat", number=-1)).repeated
    assert await api.texts(seen.requests[0]["chatId"]) == texts
    seen = await agent.say("/say c", tools=[PICK])
    assert (seen.text, "MESSAGES_SNAPSHOT" in seen.types) == ("c", False)


async def test_a_message_instead_of_a_result_ends_the_turn(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    await agent.say("/call pick {}\n/say b", tools=[PICK])
    assert (await agent.say("/say never mind", tools=[PICK])).text == "never mind"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"status": "resolved", "payload": {"approved": True}}, "paid 3"),
        ({"status": "resolved", "payload": {"approved": True, "editedArgs": {"amount": 2}}}, "paid 2"),
        ({"status": "resolved", "payload": {"approved": False, "reason": "too much"}}, "too much"),
        ({"status": "cancelled"}, "cancelled"),
    ],
    ids=["approved", "edited", "denied", "cancelled"],
)
async def test_an_approval_is_an_interrupt_that_the_next_run_resumes(
    node_client: NodeClient, api: ApiClient, answer: Any, result: str
) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say('/call pay {"amount": 3}\n/say done')
    (interrupt,) = seen.interrupts
    assert seen.outcome == {"type": "interrupt", "interrupts": [interrupt]}
    assert (interrupt["reason"], interrupt["toolCallId"]) == (
        "tool_call",
        seen.of("assistant")[0]["toolCalls"][0]["id"],
    )
    assert interrupt["responseSchema"]["required"] == ["approved"]
    seen = await agent.run(resume=[{"interruptId": interrupt["id"], **answer}])
    assert (seen.text, seen.outcome, seen.interrupts) == ("done", {"type": "success"}, [])
    assert result in seen.of("tool")[0]["content"]
    assert "TOOL_CALL_START" not in seen.types
    texts = await api.texts(seen.requests[0]["chatId"])
    assert "RUN_FINISHED" in (await agent.do("repeat", number=-1)).repeated
    assert await api.texts(seen.requests[0]["chatId"]) == texts


async def test_an_agent_s_question_is_an_interrupt_with_its_schema(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say('/call ask_person {"question": "Which?", "schema": {"enum": ["a", "b"]}}\n/say done')
    (interrupt,) = seen.interrupts
    assert (interrupt["reason"], interrupt["message"]) == ("input_required", "Which?")
    assert interrupt["responseSchema"] == {"enum": ["a", "b"]}
    seen = await agent.run(resume=[{"interruptId": interrupt["id"], "status": "resolved", "payload": "a"}])
    assert (seen.text, seen.of("tool")[0]["content"]) == ("done", "a")


async def test_an_answer_may_come_with_a_message_that_joins_the_turn(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    (interrupt,) = (await agent.say("/call pay {}\n/say done")).interrupts
    answer = {"interruptId": interrupt["id"], "status": "resolved", "payload": True}
    seen = await agent.say("/say and more", resume=[answer])
    assert len(seen.of("user")) == 2
    texts = await api.texts(seen.requests[0]["chatId"])
    assert texts[2:4] == ["tool: ", "user: /say and more"]
    assert '"RUN_FINISHED"' in (await agent.do("repeat", number=-1)).repeated
    assert await api.texts(seen.requests[0]["chatId"]) == texts


async def test_an_interrupt_blocks_messages_until_it_is_answered(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api, "blocked")
    (interrupt,) = (await agent.say("/call pay {}\n/say done")).interrupts
    other = await open_agent(node_client, api, "blocked")
    seen = await other.do("run", message={"content": "/say x"})
    assert "RUN_ERROR" in str(seen.failure)
    assert interrupt["id"] in str(seen.failure)


async def test_the_first_answer_counts_and_a_late_one_is_reported(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api, "late")
    (interrupt,) = (await agent.say("/call pay {}\n/say done")).interrupts
    other = await open_agent(node_client, api, "late")
    assert (await other.connect()).interrupts == [interrupt]
    no = {"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": False}}
    await other.run(resume=[no])
    seen = await agent.run(resume=[no | {"payload": {"approved": True}}])
    assert (seen.text, seen.interrupts, seen.requests[-1]["ignored"]) == ("done", [], interrupt["id"])
    assert seen.custom("ignored") == [[interrupt["id"]]]
    assert "denied" in seen.of("tool")[0]["content"]


# --- the state


async def test_the_agent_s_state_is_patched_and_what_a_client_writes_is_reported(
    node_client: NodeClient, api: ApiClient
) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say("/plan")
    assert seen.state == {"steps": ["read", "write"], "done": True}
    first, second = (event["delta"] for event in seen.events if event["type"] == "STATE_DELTA")
    assert [operation["op"] for operation in first] == ["add", "add"]
    assert {operation["path"] for operation in second} == {"/steps/-", "/done"}
    assert (await agent.do("repeat", number=0)).repeated.count("STATE_DELTA") == 2
    (activity,) = seen.of("activity")
    assert activity["activityType"] == "antiphon.source"
    assert activity["content"]["url"] == "https://example.org"
    other = await open_agent(node_client, api, state={"mine": 1})
    seen = await other.say("/plan", context=[{"description": "a", "value": "b"}], forwardedProps={"x": 1})
    assert seen.custom("ignored") == [["context", "forwardedProps", "state"]]
    assert seen.requests[0]["ignored"] == "context, forwardedProps, state"
    assert seen.state == {"steps": ["read", "write"], "done": True}
    assert seen.types[:3] == ["RUN_STARTED", "CUSTOM", "STATE_SNAPSHOT"]


# --- joining, stopping


async def test_a_page_that_is_loaded_has_the_messages_and_the_state(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api, "a/b 100% é?#")
    await agent.say("/plan")
    await agent.say("/think hm\n/say a\n/call clock {}\n/say b")
    seen = await agent.do("settled")
    page = await open_agent(node_client, api, "a/b 100% é?#")
    loaded = await page.connect()
    assert loaded.types == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert (loaded.state, loaded.outcome) == (seen.state, {"type": "success"})
    assert sorted(m["id"] for m in loaded.messages) == sorted(m["id"] for m in seen.messages)
    assert {m["id"]: m for m in loaded.messages} == {m["id"]: m for m in seen.messages}
    seen = await page.say("/say c")
    assert (seen.text, "MESSAGES_SNAPSHOT" in seen.types) == ("c", False)
    assert (await (await open_agent(node_client, api, "empty")).connect()).messages == []


async def test_a_client_joins_in_the_middle_leaves_and_comes_back(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api, "middle")
    await agent.do("runUntil", message={"content": "/say a\n/call clock {}\n/tokens 60\n/rate 200"}, length=20)
    await agent.do("abort")
    whole = "".join(f"w{n} " for n in range(1, 61))
    other = await open_agent(node_client, api, "middle")
    for joined in (await other.connect(), await agent.connect()):
        assert [m["role"] for m in joined.messages] == ["user", "assistant", "tool", "assistant"]
        assert (joined.text, joined.outcome) == (whole, {"type": "success"})


async def test_a_run_that_is_sent_again_after_it_broke_is_whole(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    await agent.do("runUntil", message={"content": "/tokens 60\n/rate 200"}, length=20)
    await agent.do("abort")
    seen = await agent.run()
    assert (seen.text, len(seen.messages)) == ("".join(f"w{n} " for n in range(1, 61)), 2)
    assert len(await api.texts(seen.requests[0]["chatId"])) == 2


async def test_a_client_that_joins_a_chat_of_another_api_sends_nothing_again(
    node_client: NodeClient, api: ApiClient
) -> None:
    chat_id = await api.make_chat("/say a")
    await api.rested(chat_id)
    await api.send(chat_id, "/fail auth", client_message_id="theirs")
    await api.rested(chat_id)
    agent = await open_agent(node_client, api, chat_id)
    seen = await agent.connect()
    assert [m["id"] for m in seen.of("user")][1:] == ["theirs"]
    assert [error["kind"] for error in seen.custom("last_error")] == ["auth"]
    assert (await agent.run()).types[-1] == "RUN_ERROR"  # the failed turn, once more
    texts = await api.texts(chat_id)
    answer = await api.ask("POST", "//agui", {"threadId": chat_id, "runId": "r", "messages": seen.messages[:1]})
    assert b'"delta":"a"' in answer.body
    unknown = seen.messages[0] | {"id": f"{seen.messages[0]['id']}9"}
    answer = await api.ask("POST", "//agui", {"threadId": chat_id, "runId": "r", "messages": [unknown]})
    assert answer.status == 404
    assert await api.texts(chat_id) == texts


async def test_the_last_message_is_answered_again_if_the_run_says_so(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    await agent.say("/say a")
    await agent.say("/call clock {}\n/say b")
    seen = await agent.run(forwardedProps={"antiphon": {"regenerate": True}})
    assert "STEP_STARTED" not in seen.types  # the last message is an answer: nothing to do
    await agent.do("drop", role="user")
    seen = await agent.run(forwardedProps={"antiphon": {"regenerate": True}})
    assert [m["role"] for m in seen.messages] == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    events = await api.events(f"/chats/{seen.requests[0]['chatId']}/stream?after=0&until=idle")
    assert [event.type for event in events].count("turn_restarted") == 1
    assert '"delta":"b"' in (await agent.do("repeat", number=-1)).repeated
    events = await api.events(f"/chats/{seen.requests[0]['chatId']}/stream?after=0&until=idle")
    assert [event.type for event in events].count("turn_restarted") == 1


async def test_leaving_stops_nothing_and_the_stop_route_does(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api, "stop it")
    await agent.do("runUntil", message={"content": "/say begun\n/stall 600"}, length=5)
    watching = await open_agent(node_client, api, "stop it")
    await agent.do("abort")
    path = f"//agui/{quote('stop it')}"
    joined = watching.connect()
    assert (await api.ask("POST", f"{path}/stop")).json == {"interrupted": True}
    seen = await joined
    assert seen.outcome["type"] in ("cancelled", "success")
    chat_id = seen.requests[0]["chatId"]
    await api.rested(chat_id)
    assert await api.texts(chat_id) == ["user: /say begun\n/stall 600", "assistant: begun"]
    assert (await api.ask("POST", f"{path}/stop", {"clearQueue": True})).json == {"interrupted": False}
    assert (await agent.say("/say two")).text == "two"


async def test_a_watcher_sees_the_stop_as_a_cancelled_run(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.do("runUntil", message={"content": "/say begun\n/stall 600"}, length=5)
    await api.ask("POST", f"/chats/{seen.requests[0]['chatId']}/interrupt", {"turn_id": 2})
    seen = await agent.do("settled")
    assert seen.errors == []
    joined = await agent.connect()
    assert (joined.text, joined.outcome) == ("begun", {"type": "success"})


# --- other ends


async def test_a_failed_turn_is_a_run_error(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    seen = await agent.say("/say a\n/fail auth")
    assert (seen.types[-1], seen.events[-1]["code"], seen.text) == ("RUN_ERROR", "auth", "a")


async def test_an_answer_that_is_begun_again_leaves_no_part_of_the_first(
    node_client: NodeClient, api: ApiClient
) -> None:
    seen = await (await open_agent(node_client, api)).say("/say beginning\n/fail overloaded 1\n/say end")
    assert len(seen.custom("retry")) == 1
    assert [len(names["messageIds"]) for names in seen.custom("abandoned")] == [1]
    assert [(m["role"], m.get("content")) for m in seen.of("assistant")] == [("assistant", "beginningend")]


async def test_refusals_are_run_errors(node_client: NodeClient, api: ApiClient) -> None:
    agent = await node_client.open(f"http://127.0.0.1:{api.port}", "wrong")
    seen = await agent.do("run", message={"content": "/say a"})
    assert "HTTP 401" in str(seen.failure)
    assert "unauthenticated" in str(seen.failure)


async def test_a_message_waits_while_another_turn_runs(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api, "busy")
    await agent.do("runUntil", message={"content": "/say begun\n/stall 600"}, length=5)
    other = await open_agent(node_client, api, "busy")
    seen = await other.do(
        "run", message={"content": "/say no"}, options={"forwardedProps": {"antiphon": {"whenBusy": "reject"}}}
    )
    assert "busy" in str(seen.failure)
    third = await open_agent(node_client, api, "busy")
    seen = await third.say("/say now", forwardedProps={"antiphon": {"whenBusy": "interrupt", "labels": {"a": "b"}}})
    assert (seen.text, len(seen.custom("queued"))) == ("now", 1)
    assert (await api.chat(seen.requests[0]["chatId"]))["labels"] == {"a": "b"}
    seen = await agent.do("settled")
    assert seen.errors == []
    seen = await agent.say("/say last")  # it gets what another client has said meanwhile
    assert [m["content"] for m in seen.messages] == [
        *("/say begun\n/stall 600", "begun", "/say now", "now", "/say last", "last")
    ]


# --- histories


async def test_a_thread_of_another_server_is_imported_with_its_tools(node_client: NodeClient, api: ApiClient) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
    messages = [
        {"id": "s", "role": "system", "content": "Be brief."},
        {"id": "g", "role": "assistant", "content": "Hello!"},
        {"id": "u1", "role": "user", "content": "find it"},
        {"id": "r1", "role": "reasoning", "content": "hm"},
        {"id": "a1", "role": "assistant", "content": "wait", "toolCalls": [call]},
        {"id": "t1", "role": "tool", "toolCallId": "c1", "content": "found"},
        {"id": "a2", "role": "assistant", "content": "there"},
    ]
    agent = await open_agent(node_client, api, messages=messages)
    image = {"type": "image", "source": {"type": "data", "value": "aGk=", "mimeType": "image/png"}}
    seen = await agent.say([{"type": "text", "text": "/say ok"}, image])
    assert (seen.text, seen.custom("ignored")) == ("ok", [["g"]])
    chat_id = seen.requests[0]["chatId"]
    stored = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
    assert [m["role"] for m in stored] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert [part["type"] for part in stored[1]["content"]] == ["reasoning", "text", "tool-call"]
    chat = await api.instance.service.chat(chat_id)
    assert chat is not None
    assert chat.system == "Be brief."
    assert "MESSAGES_SNAPSHOT" in seen.types  # the greeting is no part of the chat
    seen = await agent.say("/say more")
    assert [m["role"] for m in seen.messages if m["role"] != "reasoning"] == [
        *("system", "user", "assistant", "tool", "assistant", "user", "assistant", "user", "assistant")
    ]
    assert seen.of("user")[1]["content"][1]["source"] == image["source"]
    assert (seen.text, "MESSAGES_SNAPSHOT" in seen.types) == ("more", False)


async def test_an_imported_thread_keeps_its_messages(node_client: NodeClient, api: ApiClient) -> None:
    messages = [{"id": "u1", "role": "user", "content": "hi"}, {"id": "a1", "role": "assistant", "content": "ho"}]
    agent = await open_agent(node_client, api, messages=messages)
    await agent.say("/say a")
    seen = await agent.say("/say beginning\n/fail overloaded 1\n/say end")
    assert [m["id"] for m in seen.messages][:2] == ["u1", "a1"]
    assert [m["content"] for m in seen.messages][3:] == ["a", seen.of("user")[-1]["content"], "beginningend"]


async def test_messages_that_were_written_offline_are_sent_as_one(node_client: NodeClient, api: ApiClient) -> None:
    agent = await open_agent(node_client, api)
    await agent.say("/say a")
    await agent.do("add", message={"id": "x1", "role": "user", "content": "/say b"})
    seen = await agent.say("/say c")
    assert [part["text"] for part in seen.of("user")[-1]["content"]] == ["/say b", "/say c"]
    assert len(seen.of("user")) == 2
    assert '"RUN_FINISHED"' in (await agent.do("repeat", number=-1)).repeated
    assert len(await api.texts(seen.requests[0]["chatId"])) == 4
