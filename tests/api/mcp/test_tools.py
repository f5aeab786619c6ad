"""The tools and resources, used by the official client of MCP, which checks results against the output schemas."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from antiphon.api.mcp.resources import FILE_BYTES_MAX
from antiphon.observe.metrics import METRICS
from support.waiting import wait_until

from ..http.api_client import ApiClient
from .conftest import connected, url_of

pytestmark = pytest.mark.anyio

SLOW = "/tokens 60\n/rate 80"
WHOLE = "".join(f"w{n} " for n in range(1, 61))
FOREVER = "/say begin\n/stall 60"


@pytest.fixture
async def client(api: ApiClient, mode: str) -> AsyncIterator[Client]:
    async with connected(url_of(api), api.token, mode) as opened:
        yield opened


async def call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a tool that succeeds; its text is the same as JSON."""
    done = await client.call_tool(name, arguments)
    assert not done.is_error, done
    (block,) = done.content
    assert block.type == "text"
    assert done.structured_content is not None
    return done.structured_content


async def refused(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """The code and fields of a tool that is refused."""
    done = await client.call_tool(name, arguments)
    assert done.is_error, done
    assert done.meta is not None
    error: dict[str, Any] = done.meta["antiphon/error"]
    (block,) = done.content
    assert block.type == "text"
    assert block.text
    return error


# --- answers


async def test_a_chat_is_started_and_goes_on(client: Client) -> None:
    first = await call(client, "start_chat", text="/say hello", title="t", labels={"a": "b"})
    assert (first["status"], first["answer"]) == ("answered", "hello")
    again = await call(client, "send_message", chat_id=first["chat_id"], text="/say two")
    assert (again["answer"], again["chat_id"]) == ("two", first["chat_id"])
    assert (await call(client, "wait_for_answer", chat_id=first["chat_id"])) == again
    assert (await call(client, "wait_for_answer", chat_id=first["chat_id"], message_id=2)) == first


async def test_the_same_key_runs_nothing_twice(client: Client) -> None:
    given: dict[str, Any] = {"text": "/say hello", "idempotency_key": "k 1"}
    first = await call(client, "start_chat", **given)
    assert await call(client, "start_chat", **given) == first
    assert (await refused(client, "start_chat", text="/say other", idempotency_key="k 1"))["code"] == "conflict"
    chat = {"chat_id": first["chat_id"]}
    sent = await call(client, "send_message", **chat, text="/say x", idempotency_key="k 2")
    assert await call(client, "send_message", **chat, text="/say x", idempotency_key="k 2") == sent
    assert (await refused(client, "send_message", **chat, text="y", idempotency_key="k 2"))["code"] == "conflict"
    assert len((await call(client, "read_chat", **chat))["messages"]) == 4


async def test_a_call_that_does_not_wait_says_how_to_go_on(client: Client) -> None:
    begun = await call(client, "start_chat", text=SLOW, wait_s=0)
    assert begun["status"] == "running"
    assert "wait_for_answer" in begun["next"]
    some = await call(client, "wait_for_answer", chat_id=begun["chat_id"], wait_s=0.3)
    assert some["status"] == "running"
    assert WHOLE.startswith(some["answer"])
    done = await call(client, "wait_for_answer", chat_id=begun["chat_id"], message_id=begun["message_id"])
    assert (done["status"], done["answer"]) == ("answered", WHOLE)


async def test_a_wait_reports_its_progress(api: ApiClient) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with connected(url_of(api), api.token) as client:
        done = await client.call_tool("start_chat", {"text": "/say a\n/stall 1.2\n/say b"}, progress_callback=note)
    assert done.structured_content is not None
    assert done.structured_content["answer"] == "ab"
    assert seen
    assert [progress for progress, _, _ in seen] == sorted({progress for progress, _, _ in seen})
    assert seen[0][1:] == (45.0, "writing: 1 characters")


async def test_messages_wait_in_the_queue_and_are_answered_in_order(client: Client) -> None:
    begun = await call(client, "start_chat", text="/stall 0.3\n/say one", wait_s=0)
    chat = {"chat_id": begun["chat_id"]}
    assert (await refused(client, "send_message", **chat, text="x", when_busy="reject"))["code"] == "busy"
    queued = await call(client, "send_message", **chat, text="/say two", wait_s=0)
    assert queued["status"] == "queued"
    assert (await call(client, "read_chat", **chat))["queued_count"] == 1
    answers = await asyncio.gather(
        call(client, "wait_for_answer", **chat, message_id=queued["message_id"]),
        call(client, "wait_for_answer", **chat, message_id=begun["message_id"]),
    )
    assert [one["answer"] for one in answers] == ["two", "one"]


async def test_stop_ends_the_answer_and_keeps_what_was_written(client: Client) -> None:
    begun = await call(client, "start_chat", text=FOREVER, wait_s=0.2)
    assert begun["answer"] == "begin"
    stopped = await call(client, "stop", chat_id=begun["chat_id"])
    assert (stopped["status"], stopped["answer"]) == ("interrupted", "begin")
    assert await call(client, "stop", chat_id=begun["chat_id"]) == stopped


async def test_a_wait_that_is_cancelled_does_not_stop_the_answer(client: Client) -> None:
    begun = await call(client, "start_chat", text=FOREVER, wait_s=0)
    with anyio.move_on_after(0.3):
        await client.call_tool("wait_for_answer", {"chat_id": begun["chat_id"], "wait_s": 500})
    await wait_until(lambda: METRICS.watchers._value.get() == 0, "the wait has ended")
    assert (await call(client, "wait_for_answer", chat_id=begun["chat_id"], wait_s=0))["status"] == "running"
    await call(client, "stop", chat_id=begun["chat_id"])


async def test_an_answer_that_fails_says_why(client: Client) -> None:
    failed = await call(client, "start_chat", text="/say a\n/fail auth")
    assert (failed["status"], failed["answer"]) == ("failed", "a")
    assert failed["error"]


# --- open calls


async def test_an_approval_is_given_through_a_tool(client: Client) -> None:
    asked = await call(client, "start_chat", text='/call pay {"amount": 3}\n/say done')
    assert asked["status"] == "requires_action"
    (waiting,) = asked["open_calls"]
    assert (waiting["tool_name"], waiting["args"], waiting["needs"]) == ("pay", {"amount": 3}, "approval")
    given: dict[str, Any] = {"chat_id": asked["chat_id"], "tool_call_id": waiting["tool_call_id"]}
    assert (await refused(client, "answer_call", **given))["field"] == "approved"
    assert (await refused(client, "answer_call", **given | {"tool_call_id": "x"}))["code"] == "not_found"
    blocked = await call(client, "send_message", chat_id=asked["chat_id"], text="/say next")
    assert (blocked["status"], blocked["open_calls"]) == ("queued", asked["open_calls"])
    done = await call(client, "answer_call", **given, approved=True)
    assert (done["status"], done["answer"]) == ("answered", "done")
    assert (await call(client, "answer_call", **given, approved=True))["status"] == "answered"
    assert (await refused(client, "answer_call", **given, approved=False))["code"] == "not_found"
    shown = (await call(client, "read_chat", chat_id=asked["chat_id"]))["messages"]
    assert [one["result"] for message in shown for one in message.get("calls", []) if "result" in one] == ["paid 3"]


async def test_a_question_is_answered_and_a_call_denied(client: Client) -> None:
    asked = await call(client, "start_chat", text='/call ask_person {"question": "why?"}\n/call pay {}\n/say done')
    question, approval = asked["open_calls"]
    assert (question["needs"], question["question"]) == ("answer", "why?")
    chat = {"chat_id": asked["chat_id"]}
    error = await refused(client, "answer_call", **chat, tool_call_id=question["tool_call_id"], result=1)
    assert error["field"] == "answer"
    rest = await call(client, "answer_call", **chat, tool_call_id=question["tool_call_id"], answer="so")
    assert (rest["status"], rest["open_calls"]) == ("requires_action", [approval])
    denied: dict[str, Any] = {"approved": False, "reason": "no"}
    done = await call(client, "answer_call", **chat, tool_call_id=approval["tool_call_id"], **denied)
    assert (done["status"], done["answer"]) == ("answered", "done")


async def test_a_call_of_a_turn_that_is_retried_is_answered_again(client: Client, api: ApiClient) -> None:
    asked = await call(client, "start_chat", text="/call pay {}\n/say done")
    given = {"chat_id": asked["chat_id"], "tool_call_id": asked["open_calls"][0]["tool_call_id"], "approved": False}
    assert (await call(client, "answer_call", **given))["status"] == "answered"
    await api.ask("POST", f"/chats/{asked['chat_id']}/retry", {})
    again = await call(client, "wait_for_answer", chat_id=asked["chat_id"])
    assert [one["tool_call_id"] for one in again["open_calls"]] == [given["tool_call_id"]]
    for _ in range(2):  # and its repeat is one
        assert (await call(client, "answer_call", **given))["status"] == "answered"
    assert (await refused(client, "answer_call", **given | {"approved": True}))["code"] == "not_found"


# --- reading


async def test_chats_are_listed_read_and_are_resources(client: Client) -> None:
    ids = [(await call(client, "start_chat", text=f"/say {n}", title=f"chat {n}"))["chat_id"] for n in range(3)]
    first = await call(client, "list_chats", limit=2)
    second = await call(client, "list_chats", limit=2, cursor=first["next_cursor"])
    assert [one["chat_id"] for one in first["chats"] + second["chats"]] == ids[::-1]
    assert "next_cursor" not in second
    assert [one["title"] for one in (await call(client, "list_chats", query="t 1"))["chats"]] == ["chat 1"]
    page = await call(client, "read_chat", chat_id=ids[0], after_id=0, limit=1)
    assert ([one["text"] for one in page["messages"]], page["has_more"]) == (["/say 0"], True)
    page = await call(client, "read_chat", chat_id=ids[0], limit=1)
    assert ([one["text"] for one in page["messages"]], page["has_more"]) == (["0"], True)

    resources = (await client.list_resources()).resources
    assert [one.name for one in resources] == ["chat 2", "chat 1", "chat 0"]
    (content,) = (await client.read_resource(resources[0].uri)).contents
    assert content.mime_type == "text/markdown"
    assert "\n## Assistant" in content.text  # type: ignore[union-attr]
    templates = (await client.list_resource_templates()).resource_templates
    uri = templates[1].uri_template.replace("{chat_id}", ids[0])
    (content,) = (await client.read_resource(uri)).contents
    assert '"role":"assistant"' in content.text  # type: ignore[union-attr]


async def test_files_are_resources_of_their_owner(client: Client, api: ApiClient) -> None:
    uploaded = await api.ask("POST", "/files", data=b"\x00bytes", headers={"content-type": "application/x-any"})
    uri = f"antiphon://files/{uploaded.json['file_id']}"
    (content,) = (await client.read_resource(uri)).contents
    assert (content.mime_type, base64.b64decode(content.blob)) == ("application/x-any", b"\x00bytes")  # type: ignore[union-attr]
    large = await api.ask(
        "POST", "/files", data=bytes(FILE_BYTES_MAX + 1), headers={"content-type": "application/x-any"}
    )
    with pytest.raises(MCPError, match="4,194,305 bytes"):
        await client.read_resource(f"antiphon://files/{large.json['file_id']}")
    other = await api.as_owner("other")
    async with connected(url_of(api), other.token) as foreign:
        for address in (uri, "antiphon://files/x", "antiphon://files/"):
            with pytest.raises(MCPError, match="There is no such resource"):
                await foreign.read_resource(address)


async def test_another_owners_chats_are_not_found(client: Client, api: ApiClient) -> None:
    other = await api.as_owner("other")
    chat_id = await other.make_chat("/say secret")
    await other.rested(chat_id)
    more: dict[str, dict[str, Any]] = {"send_message": {"text": "x"}, "answer_call": {"tool_call_id": "x"}}
    for name in ("send_message", "wait_for_answer", "read_chat", "stop", "answer_call"):
        for foreign in (chat_id, "0badc0de-0000-4000-8000-00000000ffff", "x"):
            error = await refused(client, name, chat_id=foreign, **more.get(name, {}))
            assert error == {"code": "not_found", "what": "chat"}, name
    for uri in (f"antiphon://chats/{chat_id}", f"antiphon://chats/{chat_id}/messages", "antiphon://chats/x"):
        with pytest.raises(MCPError, match="There is no such resource"):
            await client.read_resource(uri)
    assert (await call(client, "list_chats"))["chats"] == []
    assert (await client.list_resources()).resources == []


async def test_a_message_that_is_none_is_not_found(client: Client) -> None:
    chat_id = (await call(client, "start_chat", text="/say a"))["chat_id"]
    for message_id in (1, 3, 4, 10**6):
        error = await refused(client, "wait_for_answer", chat_id=chat_id, message_id=message_id)
        assert error == {"code": "not_found", "what": "message"}


async def test_a_chat_that_is_deleted_ends_the_wait(client: Client, api: ApiClient) -> None:
    begun = await call(client, "start_chat", text=FOREVER, wait_s=0)
    waiting = asyncio.create_task(call(client, "wait_for_answer", chat_id=begun["chat_id"]))
    await wait_until(lambda: METRICS.watchers._value.get() == 1, "the call waits")
    await api.ask("DELETE", f"/chats/{begun['chat_id']}")
    assert (await waiting)["status"] == "deleted"


# --- subscriptions


async def test_a_subscription_notifies_of_changes_of_its_chats_only(api: ApiClient) -> None:
    async with connected(url_of(api), api.token) as client:
        ids = [(await call(client, "start_chat", text="/say a"))["chat_id"] for _ in range(2)]
        uri = f"antiphon://chats/{ids[0]}"
        wanted: dict[str, Any] = {"resource_subscriptions": [uri, "file:///x"], "resources_list_changed": True}
        async with client.listen(**wanted, tools_list_changed=True) as changes:
            assert changes.honored.resource_subscriptions == [uri]
            assert (changes.honored.resources_list_changed, changes.honored.tools_list_changed) == (True, None)
            other = await api.as_owner("other")
            await other.make_chat("/say secret")
            await call(client, "send_message", chat_id=ids[1], text="/say b")
            await call(client, "send_message", chat_id=ids[0], text="/say b")
            assert await anext(changes) == ResourceUpdated(uri=uri)
            await call(client, "start_chat", text="/say c")
            while not isinstance(await anext(changes), ResourcesListChanged):
                pass
            await api.instance.tokens.revoke(api.token_id)
            assert [change async for change in changes if not isinstance(change, ResourceUpdated)] == []


# --- chats that start chats


async def test_chats_start_chats_only_so_deep(client: Client) -> None:
    for depth in (1, 4):
        done = await client.call_tool("start_chat", {"text": "/say a"}, meta={"antiphon/depth": depth})  # type: ignore[arg-type]
        assert not done.is_error
    for depth in (5, -1, "x"):
        done = await client.call_tool("start_chat", {"text": "/say a"}, meta={"antiphon/depth": depth})  # type: ignore[arg-type]
        assert done.is_error, depth


async def test_an_unknown_tool_is_an_error_of_the_protocol(client: Client) -> None:
    with pytest.raises(MCPError, match="there is no tool"):
        await client.call_tool("nope", {})
