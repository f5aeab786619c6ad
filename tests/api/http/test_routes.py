"""Every route: shapes, statuses, repeats, and what each does to the chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import Agent, Turn, tool
from antiphon.api.http.operations import OPERATIONS
from antiphon.core.parts import Text
from antiphon.errors import Invalid
from antiphon.options import Options
from support.waiting import wait_until

from .api_client import ApiClient, open_api, random_chat_id
from .schema import DOCUMENT

pytestmark = pytest.mark.anyio

BUSY = "/stall 60"


# --- creating ---------------------------------------------------------------------------------------


async def test_a_created_chat_is_answered_whole(api: ApiClient) -> None:
    body = {"title": "Notes", "model": "rehearsal", "labels": {"kind": "work"}, "system": "Be short."}
    answer = await api.ask("POST", "/chats", body)
    assert answer.status == 201
    chat = answer.json
    assert (chat["title"], chat["model"], chat["labels"]) == ("Notes", "rehearsal", {"kind": "work"})
    assert (chat["status"], chat["seq"], chat["draft"], chat["turn_id"]) == ("waiting", 1, 1, None)
    assert (chat["queue_length"], chat["archived"], chat["last_error"]) == (0, False, None)
    assert chat["owner_id"] == api.owner_id
    assert (await api.ask("GET", f"/chats/{chat['id']}")).json == chat


async def test_a_chat_created_with_content_starts_its_first_turn_and_has_a_made_title(api: ApiClient) -> None:
    chat = (await api.ask("POST", "/chats", {"content": f"Hello there\n{BUSY}"})).json
    assert (chat["status"], chat["turn_id"], chat["title"]) == ("running", 2, "Hello there")


async def test_creating_again_by_the_same_id_creates_nothing(api: ApiClient) -> None:
    chat_id = random_chat_id()
    body = {"id": chat_id, "title": "Once"}
    first, again = await api.ask("POST", "/chats", body), await api.ask("POST", "/chats", body)
    lower = await api.ask("POST", "/chats", body | {"id": chat_id.upper()})
    assert first.status == again.status == lower.status == 201
    assert first.json["id"] == chat_id
    assert first.json == again.json == lower.json
    assert len((await api.ask("GET", "/chats")).json["chats"]) == 1


async def test_many_creations_by_one_id_at_once_make_one_chat(api: ApiClient) -> None:
    body = {"id": random_chat_id(), "content": "/tokens 3\n/rate 0"}
    answers = await asyncio.gather(*(api.ask("POST", "/chats", body) for _ in range(10)))
    assert {answer.status for answer in answers} == {201}
    await api.rested(body["id"])
    assert len(await api.texts(body["id"])) == 2


async def test_another_body_by_the_same_id_is_a_conflict(api: ApiClient) -> None:
    chat_id = random_chat_id()
    await api.ask("POST", "/chats", {"id": chat_id, "title": "Once"})
    for other in ({"title": "Twice"}, {"title": "Once", "content": "x"}, {"title": "Once", "labels": {"a": "b"}}):
        answer = await api.ask("POST", "/chats", {"id": chat_id} | other)
        assert (answer.status, answer.code) == (409, "conflict")


async def test_the_repeat_of_a_creation_is_answered_even_after_the_chat_was_deleted(api: ApiClient) -> None:
    body = {"id": random_chat_id(), "title": "Once"}
    await api.ask("POST", "/chats", body)
    await api.ask("DELETE", f"/chats/{body['id']}")
    again = await api.ask("POST", "/chats", body)
    assert (again.status, again.json["id"]) == (201, body["id"])
    assert (await api.ask("GET", f"/chats/{body['id']}")).status == 404


# --- listing ----------------------------------------------------------------------------------------


async def _titles(api: ApiClient, query: str = "") -> list[str]:
    return [chat["title"] for chat in (await api.ask("GET", f"/chats?{query}")).json["chats"]]


async def test_the_list_has_the_latest_change_first(api: ApiClient) -> None:
    first = await api.make_chat(title="first")
    await api.make_chat(title="second")
    assert await _titles(api) == ["second", "first"]
    await api.ask("PATCH", f"/chats/{first}", {"title": "first again"})
    assert await _titles(api) == ["first again", "second"]


async def test_the_list_is_filtered_by_archived_label_and_title(api: ApiClient) -> None:
    old = await api.make_chat(title="Old plan")
    await api.make_chat(title="New plan", labels={"kind": "work", "a:b": "c"})
    await api.make_chat(title="100% other_", labels={"kind": "home"})
    await api.ask("PATCH", f"/chats/{old}", {"archived": True})
    assert await _titles(api) == ["100% other_", "New plan"]
    assert await _titles(api, "archived=true") == ["Old plan"]
    assert await _titles(api, "label=kind:work") == ["New plan"]
    assert await _titles(api, "label=kind:none") == []
    assert await _titles(api, "q=PLAN") == ["New plan"]
    assert await _titles(api, "q=0%25") == ["100% other_"]
    assert await _titles(api, "q=%25") == ["100% other_"], "a title's % is no wildcard"
    assert await _titles(api, "q=_") == ["100% other_"], "a title's _ is no wildcard"
    assert await _titles(api, "q=plan&label=kind:home") == []


async def test_the_list_is_paged_without_hole_or_repeat(api: ApiClient) -> None:
    made = [await api.make_chat(title=f"chat {n}") for n in range(7)]
    found: list[str] = []
    after = ""
    while True:
        page = (await api.ask("GET", f"/chats?limit=3&after={after}")).json
        found += [chat["id"] for chat in page["chats"]]
        after = page["next"]
        if after is None:
            break
        assert len(page["chats"]) == 3
    assert found == made[::-1]


async def test_a_list_never_gives_more_than_its_limit_allows(api: ApiClient) -> None:
    for n in range(3):
        await api.make_chat(title=str(n))
    assert (await api.ask("GET", "/chats?limit=999999999")).json["next"] is None
    for bad in ("limit=0", "limit=-1", "limit=x", "after=!", "after=bm8", "archived=perhaps"):
        answer = await api.ask("GET", f"/chats?{bad}")
        assert (answer.status, answer.code) == (422, "invalid"), bad
        assert answer.json["error"]["field"] == bad.partition("=")[0]


async def test_a_list_of_large_chats_is_cut_to_an_answers_size_and_goes_on_there(api: ApiClient) -> None:
    labels = {f"{n:03}" + "\U0001f600" * 200: "\U0001f600" * 256 for n in range(64)}
    for n in range(150):
        await api.make_chat(title=str(n), labels=labels)
    found: list[str] = []
    after = ""
    while after is not None:
        answer = await api.ask("GET", f"/chats?limit=500&after={after}")
        assert len(answer.body) < 16 * 1024 * 1024 + 1024
        found += [chat["title"] for chat in answer.json["chats"]]
        after = answer.json["next"]
    assert found == [str(n) for n in reversed(range(150))]


# --- one chat ---------------------------------------------------------------------------------------


async def test_a_patch_changes_everything_in_one_append(api: ApiClient) -> None:
    chat_id = await api.make_chat(title="before")
    body = {
        "title": "after",
        "labels": {"a": "b"},
        "pin_order": -3,
        "model": "rehearsal",
        "system": "Hm.",
        "mcp_server_ids": [],
        "archived": True,
    }
    chat = (await api.ask("PATCH", f"/chats/{chat_id}", body)).json
    assert {name: chat[name] for name in body if name != "system"} == {
        name: value for name, value in body.items() if name != "system"
    }
    assert chat["seq"] == 8
    facts = [event.json for event in await api.events(f"/chats/{chat_id}/stream?after=1&until=idle") if event.id]
    assert [fact["type"] for fact in facts[:-1]] == [
        "title_changed",
        "labels_changed",
        "pin_changed",
        "model_changed",
        "system_changed",
        "mcp_servers_changed",
        "archived",
    ]
    assert [fact.get("more", False) for fact in facts[:-1]] == [True] * 6 + [False]


async def test_a_patch_that_is_refused_in_part_changes_nothing(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY, title="before")
    answer = await api.ask("PATCH", f"/chats/{chat_id}", {"title": "after", "archived": True})
    assert (answer.status, answer.code) == (409, "not_allowed_now")
    assert answer.json["error"]["status"] == "running"
    assert (await api.chat(chat_id))["title"] == "before"


async def test_a_patch_that_says_nothing_new_appends_nothing(api: ApiClient) -> None:
    chat_id = await api.make_chat(title="same", labels={"a": "b"})
    await api.ask("PATCH", f"/chats/{chat_id}", {"title": "same", "labels": {"a": "b"}})
    seq = (await api.chat(chat_id))["seq"]
    for body in ({}, {"title": "same"}, {"labels": {"a": "b"}, "archived": False}):
        assert (await api.ask("PATCH", f"/chats/{chat_id}", body)).json["seq"] == seq


@pytest.mark.parametrize(
    "body",
    [
        {"title": "x" * 257},
        {"labels": {str(n): "" for n in range(65)}},
        {"labels": {"a": "x" * 257}},
        {"labels": {"x" * 257: "a"}},
        {"system": "x" * (256 * 1024 + 1)},
        {"model": "x" * 257},
    ],
    ids=["title", "labels", "label's value", "label's name", "system", "model"],
)
async def test_what_is_said_about_a_chat_has_limits(api: ApiClient, body: dict[str, Any]) -> None:
    chat_id = await api.make_chat()
    for answer in (await api.ask("PATCH", f"/chats/{chat_id}", body), await api.ask("POST", "/chats", body)):
        assert (answer.status, answer.code) == (413, "too_large")
        assert answer.json["error"]["limit"] > 0


async def test_a_deleted_chat_is_not_found_by_any_route(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY)
    queued = (await api.send(chat_id, "waits")).json["queued_message"]["id"]
    assert (await api.ask("DELETE", f"/chats/{chat_id}")).status == 204
    bodies = {
        "change_chat": {"title": "x"},
        "send_message": {"content": "x"},
        "edit_message": {"content": "x"},
        "edit_queued": {"content": "x"},
        "move_queued": {"before": None},
        "interrupt": {"turn_id": 2},
        "decide_call": {"tool_call_id": "x", "approved": True},
        "submit_result": {"tool_call_id": "x", "result": 1},
        "answer_question": {"tool_call_id": "x", "answer": 1},
        "set_diff_status": {},
        "fork_chat": {"message_id": 2},
    }
    count = 0
    for operation in OPERATIONS:
        if "{chat_id}" not in operation.path:
            continue
        path = operation.path.replace("{chat_id}", chat_id).replace("{queued_id}", str(queued))
        path = path.replace("{message_id}", "2")
        answer = await api.ask(operation.method, path, bodies.get(operation.name))
        if operation.name == "delete_chat":
            assert answer.status == 204, "asking twice is answered, not punished"
            continue
        assert (answer.status, answer.code) == (404, "not_found"), operation.name
        count += 1
    assert count >= 12
    assert await _titles(api) == []


async def test_a_foreign_or_missing_chat_is_not_deleted(api: ApiClient) -> None:
    assert (await api.ask("DELETE", f"/chats/{random_chat_id()}")).status == 404


async def test_the_history_is_paged_upwards_from_its_beginning(api: ApiClient) -> None:
    chat_id = await api.make_chat("one")
    for text in ("two", "three"):
        await api.rested(chat_id)
        await api.send(chat_id, text)
    await api.rested(chat_id)
    whole = [m["id"] for m in (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]]
    seen: list[int] = []
    while True:
        after = seen[-1] if seen else 0
        page = (await api.ask("GET", f"/chats/{chat_id}/messages?after_id={after}&limit=2")).json
        seen += [message["id"] for message in page["messages"]]
        if not page["has_more"]:
            break
    assert seen == whole


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_that_needs_approval_waits_for_it(approved: bool) -> None:
    @tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    async with open_api(agent=Agent(tools=[pay])) as api:
        chat_id = await api.make_chat('/call pay {"amount": 5}')
        await wait_until(lambda: _is(api, chat_id, "requires_action"))
        call_id = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"][-1]["content"][0][
            "tool_call_id"
        ]
        body = {"tool_call_id": call_id, "approved": approved, "reason": "too much"}
        assert (await api.ask("POST", f"/chats/{chat_id}/approvals", body)).status == 200
        again = await api.ask("POST", f"/chats/{chat_id}/approvals", body)
        assert (again.status, again.code) == (409, "not_allowed_now")
        await api.rested(chat_id)
        messages = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
        (result,) = [part for m in messages for part in m["content"] if part["type"] == "tool-result"]
        assert (result["result"] == "paid 5") is approved
        assert approved or "too much" in result["result"]["message"]


async def _is(api: ApiClient, chat_id: str, status: str) -> bool:
    return bool((await api.chat(chat_id))["status"] == status)


# --- messages ---------------------------------------------------------------------------------------


async def test_a_message_to_an_idle_chat_is_answered_whole(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    answer = await api.send(chat_id, f"Hello\n{BUSY}", client_message_id="c-1")
    assert answer.status == 201
    message = answer.json["message"]
    assert (message["id"], message["turn_id"], answer.json["seq"]) == (2, 2, 2)
    assert (message["role"], message["client_message_id"]) == ("user", "c-1")
    assert message["content"] == [{"type": "text", "text": f"Hello\n{BUSY}"}]
    assert (message["created_by"], message["via"]) == (api.owner_id, "http")
    page = (await api.ask("GET", f"/chats/{chat_id}/messages")).json
    assert page == {"messages": [message], "queued_messages": [], "has_more": False, "open_calls": []}


async def test_a_message_that_has_to_wait_is_answered_whole(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY)
    answer = await api.send(chat_id, "later", client_message_id="c-2", model="rehearsal")
    assert answer.status == 202
    queued = answer.json["queued_message"]
    assert queued["id"] == answer.json["seq"]
    assert (queued["when_busy"], queued["promoted"], queued["model"]) == ("queue", False, "rehearsal")
    assert queued["content"] == [{"type": "text", "text": "later"}]
    page = (await api.ask("GET", f"/chats/{chat_id}/messages")).json
    assert page["queued_messages"] == [queued]
    assert (await api.chat(chat_id))["queue_length"] == 1


async def test_history_is_paged_both_ways(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    for n in range(6):
        await api.send(chat_id, f"/say {n}")
        await api.rested(chat_id)
    path = f"/chats/{chat_id}/messages"
    every = (await api.ask("GET", path)).json["messages"]
    assert len(every) == 12
    newest = (await api.ask("GET", f"{path}?limit=5")).json
    assert (newest["messages"], newest["has_more"]) == (every[-5:], True)
    before = (await api.ask("GET", f"{path}?limit=5&before_id={every[7]['id']}")).json
    assert (before["messages"], before["has_more"]) == (every[2:7], True)
    first = (await api.ask("GET", f"{path}?limit=5&before_id={every[2]['id']}")).json
    assert (first["messages"], first["has_more"]) == (every[:2], False)
    after = (await api.ask("GET", f"{path}?limit=5&after_id={every[2]['id']}")).json
    assert (after["messages"], after["has_more"]) == (every[3:8], True)
    last = (await api.ask("GET", f"{path}?limit=999999&after_id={every[6]['id']}")).json
    assert (last["messages"], last["has_more"]) == (every[7:], False)
    answer = await api.ask("GET", f"{path}?after_id=2&before_id=9")
    assert (answer.status, answer.json["error"]["field"]) == (422, "before_id")


async def test_a_page_of_large_messages_is_cut_to_an_answers_size_and_goes_on_there(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    for n in range(6):
        await api.send(chat_id, f"{n}\n/say {n}\n" + "x" * 3_900_000)
        await api.rested(chat_id)
    path = f"/chats/{chat_id}/messages?limit=1000"
    newest = await api.ask("GET", path)
    assert len(newest.body) < 16 * 1024 * 1024 + 1024
    assert newest.json["has_more"]
    oldest = (await api.ask("GET", f"{path}&after_id=1")).json
    assert oldest["has_more"]
    earlier = (await api.ask("GET", f"{path}&before_id={newest.json['messages'][0]['id']}")).json
    later = (await api.ask("GET", f"{path}&after_id={oldest['messages'][-1]['id']}")).json
    backward = [m["id"] for m in earlier["messages"] + newest.json["messages"]]
    forward = [m["id"] for m in oldest["messages"] + later["messages"]]
    assert backward == forward
    assert len(forward) == 12


async def test_content_is_a_string_or_parts(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    parts = [
        {"type": "text", "text": "see /say ok"},
        {"type": "file", "media_type": "image/png", "data": "AAEC"},
        {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2, "content": "x"},
    ]
    answer = await api.send(chat_id, parts)
    assert answer.status == 201
    assert answer.json["message"]["content"] == parts
    await api.rested(chat_id)
    for empty in ("", [], [{"type": "text", "text": ""}]):
        refused = await api.send(chat_id, empty)
        assert (refused.status, refused.json["error"]["field"]) == (422, "content"), empty
    for part in ({"type": "source", "url": "https://example.org"}, {"type": "from-the-future", "a": [1]}):
        refused = await api.send(chat_id, [*parts, part])
        assert (refused.status, refused.json["error"]["field"]) == (422, "content[3]"), part


# --- repeats ----------------------------------------------------------------------------------------


async def test_a_repeated_send_gets_the_first_answer_to_the_byte(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    first = await api.send(chat_id, "/say hi", client_message_id="same")
    again = await api.send(chat_id, "/say hi", client_message_id="same")
    await api.rested(chat_id)
    later = await api.send(chat_id, "/say hi", client_message_id="same")
    assert first[0] == again[0] == later[0] == 201
    assert first.body == again.body == later.body
    assert await api.texts(chat_id) == ["user: /say hi", "assistant: hi"]


@pytest.mark.parametrize("fate", ["delivered", "edited", "deleted", "moved", "promoted", "hidden", "chat deleted"])
async def test_a_repeat_gets_the_first_answer_whatever_became_of_the_message(api: ApiClient, fate: str) -> None:
    chat_id = await api.make_chat(BUSY)
    sent = {"content": "/say hi", "client_message_id": "same"}
    first = await api.ask("POST", f"/chats/{chat_id}/messages", sent)
    assert first.status == 202
    await api.send(chat_id, "another")
    path = f"/chats/{chat_id}/queue/{first.json['seq']}"
    if fate == "delivered":
        await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": 2})
        await api.rested(chat_id)
        assert "assistant: hi" in await api.texts(chat_id)
    elif fate == "edited":
        await api.ask("PATCH", path, {"content": "something else"})
    elif fate == "deleted":
        await api.ask("DELETE", path)
    elif fate == "moved":
        await api.ask("POST", f"{path}/move", {"before": None})
    elif fate == "promoted":
        await api.ask("POST", f"{path}/promote")
    elif fate == "hidden":
        await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": 2})
        await api.rested(chat_id)
        answer = await api.ask("PATCH", f"/chats/{chat_id}/messages/2", {"content": "/say new"})
        assert answer.status == 201, answer.body
    else:
        await api.ask("DELETE", f"/chats/{chat_id}")
    again = await api.ask("POST", f"/chats/{chat_id}/messages", sent)
    assert (again.status, again.body) == (first.status, first.body)


async def test_the_same_body_is_the_same_canonical_content(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY)
    first = await api.send(chat_id, "hi", client_message_id="a")
    as_parts = await api.send(chat_id, [{"type": "text", "text": "hi"}], client_message_id="a")
    assert as_parts.body == first.body
    part = b'{"type":"file","media_type":"text/plain","data":"QQ=="}'
    turned = b'{"data":"QQ==","media_type":"text/plain","type":"file"}'
    one, two = [
        await api.ask(
            "POST", f"/chats/{chat_id}/messages", data=b'{"content":[%b],"client_message_id":"b"}' % content
        )
        for content in (part, turned)
    ]
    assert one.status == 202
    assert two.body == one.body


@pytest.mark.parametrize(
    "other",
    [{"content": "ho"}, {"when_busy": "steer"}, {"model": "rehearsal"}],
    ids=["content", "when_busy", "model"],
)
async def test_another_body_by_the_same_client_id_is_a_conflict(api: ApiClient, other: dict[str, str]) -> None:
    chat_id = await api.make_chat(BUSY)
    body = {"content": "hi", "client_message_id": "a"}
    await api.ask("POST", f"/chats/{chat_id}/messages", body)
    answer = await api.ask("POST", f"/chats/{chat_id}/messages", body | other)
    assert (answer.status, answer.code) == (409, "conflict")


async def test_a_client_id_belongs_to_its_chat(api: ApiClient) -> None:
    one, two = await api.make_chat(), await api.make_chat()
    for chat_id in (one, two):
        assert (await api.send(chat_id, "/say hi", client_message_id="a")).status == 201
        await api.rested(chat_id)
        assert len(await api.texts(chat_id)) == 2


@pytest.mark.parametrize("bad", ["", "x" * 129, "tab\t", "é", "nul\x00", "\ud800"])
async def test_a_client_id_is_printable_ascii(api: ApiClient, bad: str) -> None:
    answer = await api.send(await api.make_chat(), "hi", client_message_id=bad)
    assert (answer.status, answer.json["error"]["field"]) == (422, "client_message_id")


async def test_many_sends_by_one_client_id_at_once_are_one_message(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    answers = await asyncio.gather(*(api.send(chat_id, "/say hi", client_message_id="same") for _ in range(20)))
    assert len({answer.body for answer in answers}) == 1
    assert (await api.rested(chat_id))["status"] == "waiting"
    assert await api.texts(chat_id) == ["user: /say hi", "assistant: hi"]


# --- when busy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("when_busy", ["queue", "steer", "interrupt", "reject"])
async def test_at_an_idle_chat_every_message_starts_a_turn(api: ApiClient, when_busy: str) -> None:
    chat_id = await api.make_chat()
    assert (await api.send(chat_id, "/say hi", when_busy=when_busy)).status == 201
    await api.rested(chat_id)
    assert await api.texts(chat_id) == ["user: /say hi", "assistant: hi"]


async def test_a_queued_message_is_the_next_turn(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say one")
    answers = [await api.send(chat_id, f"/say {n}", when_busy="queue") for n in ("two", "three")]
    assert {answer.status for answer in answers} <= {201, 202}
    await wait_until(lambda: _is_answered(api, chat_id, 3))
    assert [text for text in await api.texts(chat_id) if text.startswith("a")] == [
        "assistant: one",
        "assistant: two",
        "assistant: three",
    ]


async def _is_answered(api: ApiClient, chat_id: str, count: int) -> bool:
    texts = await api.texts(chat_id)
    return sum(text.startswith("assistant") for text in texts) == count


async def test_a_steering_message_joins_the_running_turn(tmp_path: Any) -> None:
    joined = asyncio.Event()

    async def agent(turn: Any) -> Any:
        yield "thinking"
        while not (steering := await turn.take_steering()):
            joined.set()
            await asyncio.sleep(0.005)
        yield "heard " + "".join(part.text for part in steering[0].content if isinstance(part, Text))

    async with open_api(agent=agent, data=tmp_path / "data") as api:
        chat_id = await api.make_chat("go")
        await joined.wait()
        answer = await api.send(chat_id, "left", when_busy="steer")
        assert answer.status == 202
        assert answer.json["queued_message"]["when_busy"] == "steer"
        await api.rested(chat_id)
        messages = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
        assert {message["turn_id"] for message in messages} == {2}
        assert (await api.texts(chat_id))[-2:] == ["user: left", "assistant: heard left"]


async def test_an_interrupting_message_stops_the_turn_and_is_next(api: ApiClient) -> None:
    chat_id = await api.make_chat(f"/say begun\n{BUSY}")
    stream = await api.stream(f"/chats/{chat_id}/stream?after=0")
    await stream.until("delta", where=lambda event: event.json["part"]["type"] == "text")
    await stream.close()
    await api.send(chat_id, "/say queued")
    answer = await api.send(chat_id, "/say now", when_busy="interrupt")
    assert answer.status == 202
    assert answer.json["queued_message"]["promoted"] is True
    await wait_until(lambda: _is_answered(api, chat_id, 3))
    assert [text for text in await api.texts(chat_id) if text.startswith("a")] == [
        "assistant: begun",
        "assistant: now",
        "assistant: queued",
    ]


async def test_a_message_may_ask_to_be_refused_by_a_busy_chat(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY)
    answer = await api.send(chat_id, "hi", when_busy="reject", client_message_id="a")
    assert (answer.status, answer.code, answer.json["error"]["status"]) == (409, "busy", "running")
    assert await api.queued(chat_id) == []
    assert (await api.send(chat_id, "hi", client_message_id="a")).status == 202, "a refusal leaves no receipt"


async def test_there_is_no_other_way_to_be_busy(api: ApiClient) -> None:
    answer = await api.send(await api.make_chat(), "hi", when_busy="shout")
    assert (answer.status, answer.json["error"]["field"]) == (422, "when_busy")


async def test_the_queue_has_a_length_and_a_size(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY)
    for n in range(100):
        assert (await api.send(chat_id, str(n))).status == 202
    answer = await api.send(chat_id, "one more")
    assert (answer.status, answer.code, answer.json["error"]["limit"]) == (429, "too_many", 100)
    large = await api.make_chat(BUSY)
    for _ in range(2):
        assert (await api.send(large, "x" * 4_000_000)).status == 202
    answer = await api.send(large, "x" * 4_000_000)
    assert (answer.status, answer.code, answer.json["error"]["limit"]) == (413, "too_large", 8 * 1024 * 1024)


async def test_from_error_a_message_goes_behind_what_waits(api: ApiClient) -> None:
    chat_id = await api.make_chat("/stall 0.3\n/fail auth")
    await api.send(chat_id, "/say first")
    chat = await api.rested(chat_id)
    assert (chat["status"], chat["queue_length"]) == ("error", 1)
    assert chat["last_error"]
    answer = await api.send(chat_id, "/say second")
    assert answer.status == 202
    await wait_until(lambda: _is_answered(api, chat_id, 2))
    assert (await api.texts(chat_id))[1:] == [
        "user: /say first",
        "assistant: first",
        "user: /say second",
        "assistant: second",
    ]


async def test_a_message_to_an_archived_chat_takes_it_out_of_the_archive(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    await api.ask("PATCH", f"/chats/{chat_id}", {"archived": True})
    assert (await api.send(chat_id, "/say hi")).status == 201
    assert (await api.rested(chat_id))["archived"] is False


# --- edit and retry ---------------------------------------------------------------------------------


async def test_an_edit_cuts_the_history_and_starts_a_turn(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say one")
    await api.rested(chat_id)
    second = (await api.send(chat_id, "/say two")).json["message"]["id"]
    await api.rested(chat_id)
    answer = await api.ask("PATCH", f"/chats/{chat_id}/messages/{second}", {"content": "/say better"})
    assert answer.status == 201
    message = answer.json["message"]
    assert message["id"] == message["turn_id"] == answer.json["seq"] > second
    await api.rested(chat_id)
    assert await api.texts(chat_id) == [
        "user: /say one",
        "assistant: one",
        "user: /say better",
        "assistant: better",
    ]


async def test_an_edit_of_a_running_turn_replaces_it_and_may_clear_the_queue(api: ApiClient) -> None:
    chat_id = await api.make_chat(BUSY)
    await api.send(chat_id, "waits")
    kept = await api.ask("PATCH", f"/chats/{chat_id}/messages/2", {"content": BUSY})
    assert kept.status == 201
    assert await api.queued(chat_id) == ["waits"]
    body = {"content": "/say fresh", "clear_queue": True}
    assert (await api.ask("PATCH", f"/chats/{chat_id}/messages/{kept.json['seq']}", body)).status == 201
    assert (await api.rested(chat_id))["queue_length"] == 0
    assert await api.texts(chat_id) == ["user: /say fresh", "assistant: fresh"]


async def test_only_a_users_message_that_is_there_can_be_edited(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say one")
    await api.rested(chat_id)
    messages = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
    path = f"/chats/{chat_id}/messages"
    answer = await api.ask("PATCH", f"{path}/{messages[1]['id']}", {"content": "x"})
    assert (answer.status, answer.json["error"]["field"]) == (422, "message_id")
    answer = await api.ask("PATCH", f"{path}/999", {"content": "x"})
    assert (answer.status, answer.code) == (404, "not_found")
    await api.ask("PATCH", f"{path}/{messages[0]['id']}", {"content": "/say two"})
    answer = await api.ask("PATCH", f"{path}/{messages[0]['id']}", {"content": "/say three"})
    assert (answer.status, answer.code) == (404, "not_found"), "what was cut cannot be edited"


async def test_a_retry_runs_the_last_turn_again_under_its_id(api: ApiClient) -> None:
    chat_id = await api.make_chat("/fail auth\n/say done")
    chat = await api.rested(chat_id)
    assert chat["status"] == "error"
    answer = await api.ask("POST", f"/chats/{chat_id}/retry")
    assert (answer.status, answer.json) == (200, {"turn_id": 2, "seq": chat["seq"] + 1})
    assert (await api.rested(chat_id))["last_error"] is None
    again = await api.ask("POST", f"/chats/{chat_id}/retry", {"turn_id": 2})
    assert again.json["turn_id"] == 2
    await api.rested(chat_id)
    assert await api.texts(chat_id) == ["user: /fail auth\n/say done", "assistant: done"]


async def test_a_retry_is_refused_where_there_is_nothing_to_run_again(api: ApiClient) -> None:
    empty, busy = await api.make_chat(), await api.make_chat(BUSY)
    answer = await api.ask("POST", f"/chats/{empty}/retry")
    assert (answer.status, answer.code, answer.json["error"]["status"]) == (409, "not_allowed_now", "waiting")
    answer = await api.ask("POST", f"/chats/{busy}/retry")
    assert (answer.status, answer.code) == (409, "busy")
    done = await api.make_chat("/say hi")
    await api.rested(done)
    answer = await api.ask("POST", f"/chats/{done}/retry", {"turn_id": 77})
    assert (answer.status, answer.json["error"]["field"]) == (422, "turn_id")


# --- the queue --------------------------------------------------------------------------------------


async def _busy_chat(api: ApiClient, *contents: str) -> tuple[str, list[int]]:
    chat_id = await api.make_chat(BUSY)
    return chat_id, [(await api.send(chat_id, content)).json["seq"] for content in contents]


async def test_a_queued_message_can_be_edited(api: ApiClient) -> None:
    chat_id, [one] = await _busy_chat(api, "one")
    answer = await api.ask("PATCH", f"/chats/{chat_id}/queue/{one}", {"content": "uno"})
    assert (answer.status, answer.json) == (200, {"seq": one + 1})
    assert await api.queued(chat_id) == ["uno"]
    assert (await api.ask("PATCH", f"/chats/{chat_id}/queue/{one}", {"content": ""})).status == 422


async def test_deleting_a_queued_message_twice_is_answered_twice(api: ApiClient) -> None:
    chat_id, [one, _] = await _busy_chat(api, "one", "two")
    first = await api.ask("DELETE", f"/chats/{chat_id}/queue/{one}")
    again = await api.ask("DELETE", f"/chats/{chat_id}/queue/{one}")
    assert (first.status, again.status) == (200, 200)
    assert first.json == again.json
    assert await api.queued(chat_id) == ["two"]


async def test_queued_messages_are_moved_within_their_part(api: ApiClient) -> None:
    chat_id, [one, two, three] = await _busy_chat(api, "one", "two", "three")
    steering = (await api.send(chat_id, "steer", when_busy="steer")).json["seq"]
    moved = await api.ask("POST", f"/chats/{chat_id}/queue/{three}/move", {"before": one})
    assert moved.status == 200
    assert await api.queued(chat_id) == ["steer", "three", "one", "two"]
    same = await api.ask("POST", f"/chats/{chat_id}/queue/{three}/move", {"before": one})
    assert same.json == moved.json, "it stands there already"
    await api.ask("POST", f"/chats/{chat_id}/queue/{three}/move", {"before": None})
    assert await api.queued(chat_id) == ["steer", "one", "two", "three"]
    assert (await api.ask("POST", f"/chats/{chat_id}/queue/{two}/move", {"before": two})).status == 200
    for other in (steering, 9999):
        answer = await api.ask("POST", f"/chats/{chat_id}/queue/{one}/move", {"before": other})
        assert (answer.status, answer.json["error"]["field"]) == (422, "before")


async def test_a_promoted_message_stops_the_turn_and_is_next(api: ApiClient) -> None:
    chat_id, [_, two] = await _busy_chat(api, "/say one", "/say two")
    assert (await api.ask("POST", f"/chats/{chat_id}/queue/{two}/promote")).status == 200
    await wait_until(lambda: _is_answered(api, chat_id, 2))
    answers = [text for text in await api.texts(chat_id) if text.startswith("a")]
    assert answers == ["assistant: two", "assistant: one"]


async def test_a_second_promote_is_answered_and_stops_nothing(tmp_path: Any) -> None:
    release = asyncio.Event()

    async def agent(turn: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            await release.wait()
        yield "never"

    async with open_api(agent=agent) as api:
        chat_id, [one] = await _busy_chat(api, "one")
        first = await api.ask("POST", f"/chats/{chat_id}/queue/{one}/promote")
        again = await api.ask("POST", f"/chats/{chat_id}/queue/{one}/promote")
        assert (first.status, again.status) == (200, 200)
        assert first.json == again.json
        release.set()


async def test_what_has_left_the_queue_is_already_delivered(api: ApiClient) -> None:
    chat_id, [one] = await _busy_chat(api, f"/say one\n{BUSY}")
    await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": 2})
    await wait_until(lambda: _turn_is_not(api, chat_id, 2))
    path = f"/chats/{chat_id}/queue/{one}"
    for answer in (
        await api.ask("PATCH", path, {"content": "x"}),
        await api.ask("DELETE", path),
        await api.ask("POST", f"{path}/promote"),
        await api.ask("POST", f"{path}/move", {"before": None}),
    ):
        assert (answer.status, answer.code) == (409, "already_delivered")
        assert answer.json["error"]["queued_id"] == one


async def _turn_is_not(api: ApiClient, chat_id: str, turn_id: int) -> bool:
    chat = await api.chat(chat_id)
    return chat["turn_id"] not in (turn_id, None)


async def test_what_was_never_queued_is_not_found_in_the_queue(api: ApiClient) -> None:
    chat_id, _ = await _busy_chat(api, "one")
    for unknown in (2, 999, 10**15 - 1):
        path = f"/chats/{chat_id}/queue/{unknown}"
        for answer in (
            await api.ask("PATCH", path, {"content": "x"}),
            await api.ask("DELETE", path),
            await api.ask("POST", f"{path}/promote"),
            await api.ask("POST", f"{path}/move", {"before": None}),
        ):
            assert (answer.status, answer.code) == (404, "not_found")


# --- interrupt --------------------------------------------------------------------------------------


async def _interrupt(api: ApiClient, chat_id: str, turn_id: int, **more: Any) -> tuple[bool, int]:
    answer = await api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id, **more})
    assert answer.status == 200, answer.body
    return answer.json["interrupted"], answer.json["seq"]


async def test_an_interrupt_says_whether_the_turn_it_names_is_stopped() -> None:
    release = asyncio.Event()

    async def agent(turn: Any) -> Any:
        yield "begun"
        if turn.turn_id == 2:
            try:
                await asyncio.sleep(60)
            finally:
                await release.wait()
        else:
            await asyncio.sleep(60)

    async with open_api(agent=agent) as api:
        chat_id = await api.make_chat("go")
        stream = await api.stream(f"/chats/{chat_id}/stream?after=0")
        await stream.until("delta", where=lambda event: event.json["part"]["type"] == "text")
        seq = (await api.chat(chat_id))["seq"]
        assert await _interrupt(api, chat_id, 1) == (False, seq), "no such turn"
        assert await _interrupt(api, chat_id, 0) == (False, seq)
        current = await _interrupt(api, chat_id, 2)
        requested = await stream.until("interrupt_requested")
        assert current == (True, requested.json["seq"])
        assert await _interrupt(api, chat_id, 2) == current, "it is already stopping"
        release.set()
        ended = await stream.until("turn_ended")
        assert ended.json["outcome"] == "interrupted"
        just_stopped = await _interrupt(api, chat_id, 2)
        assert just_stopped[0] is True
        seq = (await api.chat(chat_id))["seq"]
        assert just_stopped[1] in (requested.json["seq"], ended.json["seq"]), "a fact that says so"
        second = (await api.send(chat_id, "again")).json["seq"]
        late = await _interrupt(api, chat_id, 2)
        assert (await api.chat(chat_id))["status"] == "running", "a late click does not stop the next turn"
        assert late[0] is False or late == just_stopped
        assert (await _interrupt(api, chat_id, second))[0] is True
        await stream.until("turn_ended")
        await stream.close()


async def test_an_interrupt_keeps_the_partial_answer_and_by_default_the_queue(api: ApiClient) -> None:
    chat_id = await api.make_chat(f"/say kept\n{BUSY}")
    stream = await api.stream(f"/chats/{chat_id}/stream?after=0")
    await stream.until("delta", where=lambda event: event.json["part"]["type"] == "text")
    await api.send(chat_id, "waits")
    assert (await _interrupt(api, chat_id, 2, clear_queue=True))[0]
    await stream.until("turn_ended")
    await stream.close()
    messages = (await api.ask("GET", f"/chats/{chat_id}/messages")).json
    assert messages["queued_messages"] == []
    assert messages["messages"][1]["interrupted"] is True
    assert (await api.texts(chat_id))[1] == "assistant: kept"
    assert (await api.chat(chat_id))["status"] == "waiting"


async def test_an_answered_turn_was_not_interrupted(api: ApiClient) -> None:
    chat_id = await api.make_chat("/say done")
    chat = await api.rested(chat_id)
    assert await _interrupt(api, chat_id, 2) == (False, chat["seq"])


# --- around the chats -------------------------------------------------------------------------------


async def test_a_token_is_shown_once_and_listed_without_its_secret(api: ApiClient) -> None:
    made = await api.ask("POST", "/tokens", {"owner": "beth"}, token=api.admin_token)
    assert made.status == 201
    shown = made.json
    assert (shown["owner"], shown["admin"], shown["revoked_at"]) == ("beth", False, None)
    listed = await api.ask("GET", "/tokens", token=api.admin_token)
    assert shown["token"].encode() not in listed.body
    assert {key: value for key, value in shown.items() if key != "token"} in listed.json["tokens"]
    assert (await api.ask("GET", "/session", token=shown["token"])).json == {
        "owner_id": shown["owner_id"],
        "owner": "beth",
        "admin": False,
    }


async def test_a_revoked_token_is_refused_at_once_and_revoking_twice_is_answered(api: ApiClient) -> None:
    shown = (await api.ask("POST", "/tokens", {"owner": "beth"}, token=api.admin_token)).json
    assert (await api.ask("GET", "/chats", token=shown["token"])).status == 200
    for _ in range(2):
        assert (await api.ask("DELETE", f"/tokens/{shown['id']}", token=api.admin_token)).status == 204
    assert (await api.ask("GET", "/chats", token=shown["token"])).status == 401
    listed = (await api.ask("GET", "/tokens", token=api.admin_token)).json["tokens"]
    assert next(token for token in listed if token["id"] == shown["id"])["revoked_at"]
    assert (await api.ask("DELETE", f"/tokens/{random_chat_id()}", token=api.admin_token)).status == 404


@pytest.mark.parametrize("owner", ["", "x" * 129, "a\nb", "a\x00b"])
async def test_an_owners_name_is_printable(api: ApiClient, owner: str) -> None:
    assert (await api.ask("POST", "/tokens", {"owner": owner}, token=api.admin_token)).status == 422


async def test_health_readiness_metrics_and_the_document_are_outside_the_prefix(api: ApiClient) -> None:
    health = await api.ask("GET", "//healthz", token=None)
    assert health.json == {"status": "ok", "instance_id": api.instance.instance_id, "role": "primary"}
    assert (await api.ask("GET", "//readyz", token=None)).json == {"status": "ready"}
    metrics = await api.ask("GET", "//metrics", token=api.admin_token)
    assert b"antiphon_http_seconds_count" in metrics.body
    assert (await api.ask("GET", "//openapi.json", token=None)).json == DOCUMENT


async def test_a_stopping_server_says_so(api: ApiClient) -> None:
    chat_id = await api.make_chat(title="x")
    api.instance.is_draining = True
    assert (await api.ask("GET", "//readyz", token=None)).status == 503
    assert (await api.ask("GET", f"/chats/{chat_id}")).status == 200
    api.instance.is_stopping = True
    answer = await api.ask("GET", f"/chats/{chat_id}")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "unavailable", "1")
    assert (await api.ask("GET", "//healthz", token=None)).status == 200
    api.instance.is_draining = api.instance.is_stopping = False


async def test_an_unsupported_method_is_answered_with_the_supported_ones(api: ApiClient) -> None:
    answer = await api.ask("PUT", "/chats")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert (await api.ask("DELETE", "//")).headers["allow"] == "GET, HEAD"


async def test_limits_can_be_changed() -> None:
    limits = {"message_bytes": "1000", "queue_messages": 1, "body_bytes": 3000, "queue_bytes": 600}
    async with open_api(limits=limits) as api:
        chat_id = await api.make_chat("/stall 60")
        for size, limit in ((1500, 1000), (4000, 3000)):
            answer = await api.send(chat_id, "x" * size)
            assert (answer.code, answer.json["error"]["limit"]) == ("too_large", limit)
        queued = (await api.send(chat_id, "waits")).json["seq"]
        answer = await api.send(chat_id, "too many")
        assert (answer.code, answer.json["error"]["limit"]) == ("too_many", 1)
        answer = await api.ask("PATCH", f"/chats/{chat_id}/queue/{queued}", {"content": "x" * 700})
        assert (answer.code, answer.json["error"]["limit"]) == ("too_large", 600)


@pytest.mark.parametrize("limits", [{"nothing": 1}, {"tool_s": "soon"}, {"tool_s": 0}, {"action_s": "inf"}], ids=str)
def test_an_invalid_limit_is_reported(limits: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="limit"):
        Options.make({"limits": limits})


# --- the agent's state ------------------------------------------------------------------------------


async def test_the_state_of_an_agent_can_be_read_by_the_owner_of_the_chat() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.state = {"cart": [turn.text, "é \u2028"]}
        yield "done"

    async with open_api(agent=agent) as api:
        chat_id = await api.make_chat()
        assert (await api.ask("GET", f"/chats/{chat_id}/state")).json == {"state": {}, "seq": 0}
        await api.send(chat_id, "tea")
        chat = await api.rested(chat_id)
        answer = (await api.ask("GET", f"/chats/{chat_id}/state")).json
        assert answer["state"] == {"cart": ["tea", "é \u2028"]}
        assert 1 < answer["seq"] < chat["seq"]
        other = await api.as_owner("another owner")
        assert (await other.ask("GET", f"/chats/{chat_id}/state")).status == 404
