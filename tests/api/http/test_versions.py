"""Versions: what edits and retries have replaced, and forks that begin there."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon import Turn
from antiphon.errors import NotFound

from .api_client import ApiClient, open_api

pytestmark = pytest.mark.anyio

CALL = '/call pay {"amount": 2}\n/say paid'


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return ["".join(part.get("text", "") for part in m["content"]) for m in messages if m["role"] != "tool"]


async def settle(api: ApiClient, chat_id: str) -> None:
    async for _ in api.instance.chats_of(api.owner_id).watch(chat_id, until_idle=True):
        pass


async def history(api: ApiClient, chat_id: str, query: str = "") -> list[dict[str, Any]]:
    return (await api.ask("GET", f"/chats/{chat_id}/messages{query}")).json["messages"]


async def edited_chat(api: ApiClient) -> tuple[str, int]:
    """A chat whose question was edited and whose answer was retried. Returns it with the id of the first question."""
    chat_id = await api.make_chat("/say first")
    await settle(api, chat_id)
    (question, _) = await history(api, chat_id)
    await api.ask("PATCH", f"/chats/{chat_id}/messages/{question['id']}", {"content": "/say second"})
    await settle(api, chat_id)
    await api.ask("POST", f"/chats/{chat_id}/retry", {})
    await settle(api, chat_id)
    return chat_id, question["id"]


async def chat_with_a_call(api: ApiClient) -> str:
    """A chat whose agent has run a tool that a person has allowed."""
    chat_id = await api.make_chat(CALL)
    await settle(api, chat_id)
    (call,) = (await api.chat(chat_id))["open_calls"]
    answer = {"tool_call_id": call["tool_call_id"], "approved": True}
    await api.ask("POST", f"/chats/{chat_id}/approvals", answer)
    await settle(api, chat_id)
    return chat_id


async def test_replaced_versions_are_listed_and_read(shared_api: ApiClient) -> None:
    chat_id, first_id = await edited_chat(shared_api)
    versions = (await shared_api.ask("GET", f"/chats/{chat_id}/versions")).json["versions"]
    now = await history(shared_api, chat_id)
    assert [v["after_message_id"] for v in versions] == [0, now[0]["id"]]
    assert versions[0]["from_message_id"] == first_id
    before_edit, before_retry = [await history(shared_api, chat_id, f"?as_of={v['seq'] - 1}") for v in versions]
    assert texts(before_edit) == ["/say first", "first"]
    assert texts(before_retry) == texts(now) == ["/say second", "second"]
    assert before_retry[1]["id"] < now[1]["id"]
    assert now[1]["model"] == "rehearsal"
    page = (await shared_api.ask("GET", f"/chats/{chat_id}/messages?as_of={versions[0]['seq'] - 1}&limit=1")).json
    assert (texts(page["messages"]), page["has_more"]) == (["first"], True)


async def test_a_stream_still_hides_what_was_replaced(shared_api: ApiClient) -> None:
    chat_id, first_id = await edited_chat(shared_api)
    entries = await shared_api.instance.store.read_entries(chat_id, 0, limit=99, bytes_max=10**6)
    hidden = [entry for entry in entries if entry.hidden_by]
    assert hidden[0].seq == first_id
    assert all(entry.content is None for entry in hidden)


async def test_a_fork_takes_over_the_history_and_goes_on_by_itself(shared_api: ApiClient) -> None:
    chat_id = await chat_with_a_call(shared_api)
    await shared_api.ask("PATCH", f"/chats/{chat_id}", {"title": "Sums", "system": "Be short."})
    asked, calling, result, answer = await history(shared_api, chat_id)
    forked = await shared_api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": answer["id"]})
    assert forked.status == 201
    fork = forked.json
    assert (fork["title"], fork["status"]) == ("Sums", "waiting")
    assert fork["forked_from"] == {"chat_id": chat_id, "message_id": answer["id"]}
    taken = await history(shared_api, fork["id"])
    assert [(m["role"], m["content"]) for m in taken] == [
        (m["role"], m["content"]) for m in (asked, calling, result, answer)
    ]
    assert taken[-1]["model"] == "rehearsal"
    assert "total_tokens" not in taken[-1].get("usage", {}), "what the source has used is not used again"
    await shared_api.ask("POST", f"/chats/{fork['id']}/messages", {"content": "/say and on"})
    await settle(shared_api, fork["id"])
    assert texts(await history(shared_api, fork["id"]))[-2:] == ["/say and on", "and on"]
    assert len(await history(shared_api, chat_id)) == 4, "the source does not change"


async def test_a_fork_at_a_call_has_its_results(shared_api: ApiClient) -> None:
    chat_id = await chat_with_a_call(shared_api)
    _, calling, *_ = await history(shared_api, chat_id)
    fork = (await shared_api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": calling["id"]})).json
    assert [m["role"] for m in await history(shared_api, fork["id"])] == ["user", "assistant", "tool"]


async def test_a_fork_at_a_question_can_be_tried_again(shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/say hello")
    await settle(shared_api, chat_id)
    question, _ = await history(shared_api, chat_id)
    fork = (await shared_api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": question["id"]})).json
    assert fork["status"] == "waiting"
    await shared_api.ask("POST", f"/chats/{fork['id']}/retry", {})
    await settle(shared_api, fork["id"])
    assert texts(await history(shared_api, fork["id"])) == ["/say hello", "hello"]


async def test_what_was_replaced_can_be_forked(shared_api: ApiClient) -> None:
    chat_id, _ = await edited_chat(shared_api)
    (edit, _) = (await shared_api.ask("GET", f"/chats/{chat_id}/versions")).json["versions"]
    _, answer = await history(shared_api, chat_id, f"?as_of={edit['seq'] - 1}")
    gone = await shared_api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": answer["id"]})
    assert gone.status == 404
    body = {"message_id": answer["id"], "as_of": edit["seq"] - 1, "title": "The first try"}
    fork = (await shared_api.ask("POST", f"/chats/{chat_id}/fork", body)).json
    assert fork["title"] == "The first try"
    assert texts(await history(shared_api, fork["id"])) == ["/say first", "first"]


async def test_a_fork_with_an_id_may_be_repeated(shared_api: ApiClient) -> None:
    chat_id, _ = await edited_chat(shared_api)
    answer = (await history(shared_api, chat_id))[-1]["id"]
    body = {"message_id": answer, "id": "0b6c9cbe-8b1f-4d8e-9d0e-6f6f3d7f4c01"}
    first, second = [await shared_api.ask("POST", f"/chats/{chat_id}/fork", body) for _ in range(2)]
    assert (first.status, first.json["id"]) == (second.status, second.json["id"]) == (201, body["id"])
    assert (await shared_api.ask("POST", f"/chats/{chat_id}/fork", body | {"title": "other"})).status == 409
    assert len(await history(shared_api, body["id"])) == 2
    await shared_api.ask("DELETE", f"/chats/{chat_id}")
    assert (await shared_api.ask("POST", f"/chats/{chat_id}/fork", body)).status == 201, "also without its source"
    gone = await shared_api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": answer})
    assert gone.status == 404


async def test_a_fork_of_a_foreign_or_missing_chat_is_not_found(shared_api: ApiClient) -> None:
    for what in ("fork", "versions"):
        method, body = ("POST", {"message_id": 2}) if what == "fork" else ("GET", None)
        answer = await shared_api.ask(method, f"/chats/00000000-0000-4000-8000-000000000000/{what}", body)
        assert answer.status == 404


async def counting(turn: Turn) -> Any:
    turn.state["count"] = turn.state.get("count", 0) + 1
    yield f"answer {turn.state['count']}"


async def test_a_fork_has_the_agents_state_of_its_last_message() -> None:
    async with open_api(agent=counting) as api:
        chat_id = await api.make_chat("one")
        await settle(api, chat_id)
        await api.ask("POST", f"/chats/{chat_id}/messages", {"content": "two"})
        await settle(api, chat_id)
        answers = [m for m in await history(api, chat_id) if m["role"] == "assistant"]
        for number, answer in enumerate(answers, start=1):
            fork = (await api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": answer["id"]})).json
            assert (await api.ask("GET", f"/chats/{fork['id']}/state")).json["state"] == {"count": number}
        await api.ask("POST", f"/chats/{fork['id']}/messages", {"content": "four"})
        await settle(api, fork["id"])
        assert texts(await history(api, fork["id"]))[-1] == "answer 3"
        with pytest.raises(NotFound):
            await api.instance.chats_of(api.owner_id).fork(chat_id, 999)


async def test_a_fork_of_a_replaced_version_has_the_agents_state_of_that_version() -> None:
    async with open_api(agent=counting) as api:
        chat_id = await api.make_chat("one")
        await settle(api, chat_id)
        await api.ask("POST", f"/chats/{chat_id}/messages", {"content": "two"})
        await settle(api, chat_id)
        replaced = await history(api, chat_id)
        await api.ask("PATCH", f"/chats/{chat_id}/messages/{replaced[0]['id']}", {"content": "one, edited"})
        await settle(api, chat_id)
        (version,) = (await api.ask("GET", f"/chats/{chat_id}/versions")).json["versions"]
        for message, count in zip(replaced[1::2], (1, 2), strict=True):
            body = {"message_id": message["id"], "as_of": version["seq"] - 1}
            fork = (await api.ask("POST", f"/chats/{chat_id}/fork", body)).json
            assert (await api.ask("GET", f"/chats/{fork['id']}/state")).json["state"] == {"count": count}
        now = await history(api, chat_id)
        fork = (await api.ask("POST", f"/chats/{chat_id}/fork", {"message_id": now[-1]["id"]})).json
        assert (await api.ask("GET", f"/chats/{fork['id']}/state")).json["state"] == {"count": 1}


async def test_a_fork_has_no_gap_if_its_source_is_edited_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api() as api:
        chats = api.instance.chats_of(api.owner_id)
        chat_id = await api.make_chat("/say one")
        await settle(api, chat_id)
        await api.send(chat_id, "/say two")
        await settle(api, chat_id)
        read, before = api.instance.store.read_messages, await history(api, chat_id)

        async def read_and_edit(*args: Any, **options: Any) -> Any:
            found = await read(*args, **options)
            monkeypatch.undo()
            await chats.edit(chat_id, before[0]["id"], "/say three")
            await settle(api, chat_id)
            return found

        monkeypatch.setattr(api.instance.store, "read_messages", read_and_edit)
        fork = await chats.fork(chat_id, before[-1]["id"])
        assert texts(await history(api, fork.chat_id)) == ["/say one", "one", "/say two", "two"]
