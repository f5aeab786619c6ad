"""The official Python SDK against `antiphon acp` and a real server."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from acp.schema import (
    AllowedOutcome,
    AudioContentBlock,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    McpServerStdio,
    RequestPermissionResponse,
    ResourceContentBlock,
)

from support.waiting import wait_until

from ..http.api_client import ApiClient
from .editor import Editor, calls_of, of_kind, text_of

pytestmark = pytest.mark.anyio

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000IHDR").decode()


def chosen(option_id: str) -> RequestPermissionResponse:
    return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=option_id))


async def test_a_prompt_is_answered_with_thoughts_text_and_a_tool_with_progress(
    editor: Editor, shared_api: ApiClient
) -> None:
    chat_id = await editor.new()
    content = '/think hm\n/say a\n/call search_files {"word": "x"}\n/tokens 3'
    assert await editor.prompt(chat_id, content) == "end_turn"
    assert (editor.text(chat_id, "agent_thought_chunk"), editor.text(chat_id)) == ("hm", "aw1 w2 w3 ")
    (call,) = editor.calls(chat_id).values()
    assert (call["kind"], call["status"], call["title"]) == ("search", "completed", 'search_files(word="x")')
    assert (call["rawInput"], call["rawOutput"]) == ({"word": "x"}, "found x")
    running = [one for one in editor.updates[chat_id] if one.get("status") == "in_progress"]
    progress = [one["content"][0]["content"]["text"] for one in running if "content" in one]
    assert progress == ["a.txt\n", "a.txt\nb.txt\n"]
    titles = [one["title"] for one in of_kind(editor.updates[chat_id], "session_info_update")]
    assert titles == [(await shared_api.chat(chat_id))["title"]]
    assert await editor.prompt(chat_id, "/say two") == "end_turn"
    assert (await shared_api.texts(chat_id))[-1] == "assistant: two"
    assert editor.text(chat_id, "user_message_chunk") == ""
    listed = (await editor.agent.list_sessions(cwd="/work")).sessions
    assert (listed[0].session_id, listed[0].cwd, listed[0].title) == (chat_id, "/work", titles[0])
    assert not (await editor.agent.list_sessions(cwd="/nowhere")).sessions


async def test_a_session_without_a_prompt_leaves_no_chat(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    assert (await shared_api.ask("GET", f"/chats/{chat_id}")).status == 404
    await editor.agent.close_session(session_id=chat_id)
    assert (await editor.refused(editor.prompt(chat_id, "x"))).code == -32002


async def test_a_chat_is_loaded_with_its_whole_history(editor: Editor, other: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    for number in range(14):
        await editor.prompt(chat_id, f'/say {number}\n/call search_files {{"word": "{number}"}}')
    live = editor.updates[chat_id]
    replay = await other.load(chat_id)
    assert text_of(replay) == text_of(live) == "".join(map(str, range(14)))
    assert text_of(replay, "user_message_chunk").count("/say") == 14
    assert calls_of(replay) == calls_of(live)
    ids = [[one["messageId"] for one in of_kind(updates, "agent_message_chunk")] for updates in (live, replay)]
    assert list(dict.fromkeys(ids[0])) == list(dict.fromkeys(ids[1]))


async def test_an_image_and_resources_are_stored_and_replayed(
    editor: Editor, other: Editor, shared_api: ApiClient
) -> None:
    chat_id = await editor.new()
    resource: dict[str, Any] = {"uri": "file:///a%20b.py#L3:4", "text": "x = 1\ny = 2"}
    blob: dict[str, Any] = {"uri": "file:///c.bin", "blob": PNG, "mimeType": "application/x-thing"}
    blocks = [
        "see ",
        ResourceContentBlock(type="resource_link", name="b.py", uri="file:///b.py"),
        ImageContentBlock(type="image", data=PNG, mime_type="image/png"),
        EmbeddedResourceContentBlock.model_validate({"type": "resource", "resource": resource}),
        EmbeddedResourceContentBlock.model_validate({"type": "resource", "resource": blob}),
    ]
    await editor.prompt(chat_id, *blocks)
    found = (await shared_api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"][0]["content"]
    assert [part["type"] for part in found] == ["text", "file", "file-reference", "file"]
    assert found[0]["text"] == "see [@b.py](file:///b.py)"
    assert (found[2]["file_name"], found[2]["start_line"], found[2]["end_line"]) == ("/a b.py", 3, 4)
    replay = await other.load(chat_id)
    shown = [one["content"] for one in of_kind(replay, "user_message_chunk")]
    assert [one["type"] for one in shown] == ["text", "image", "resource", "resource"]
    assert shown[1]["data"] == PNG
    assert shown[2]["resource"]["uri"] == resource["uri"]
    assert shown[3]["resource"]["blob"] == PNG


@pytest.mark.parametrize(
    "block",
    [
        ImageContentBlock(type="image", data="!", mime_type="image/png"),
        AudioContentBlock(type="audio", data="", mime_type="audio/wav"),
    ],
    ids=["image", "audio"],
)
async def test_content_that_cannot_be_stored_is_refused_and_the_session_goes_on(editor: Editor, block: Any) -> None:
    chat_id = await editor.new()
    error = await editor.refused(editor.prompt(chat_id, block))
    assert error.code == -32602, error
    assert "content[0]" in str(error)
    assert await editor.prompt(chat_id, "/say yes") == "end_turn"


# --- stops and failures


async def test_a_cancel_interrupts_the_turn_and_keeps_what_was_written(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    prompt = asyncio.create_task(editor.prompt(chat_id, "/rate 50\n/tokens 4000"))
    await editor.wait_text(chat_id, "w3 ")
    await editor.agent.cancel(session_id=chat_id)
    assert await prompt == "cancelled"
    assert (await shared_api.texts(chat_id))[-1] == f"assistant: {editor.text(chat_id)}"
    assert await editor.prompt(chat_id, "/say next") == "end_turn"


async def test_a_prompt_behind_another_client_s_turn_waits_and_its_cancel_stops_only_itself(
    editor: Editor, shared_api: ApiClient
) -> None:
    chat_id = await shared_api.make_chat("/rate 100\n/tokens 4000")
    await editor.load(chat_id)
    first = asyncio.create_task(editor.prompt(chat_id, "/say first"))
    await wait_until(lambda: shared_api.queued(chat_id), "the message is queued")
    await editor.agent.cancel(session_id=chat_id)
    assert await first == "cancelled"
    assert (await shared_api.chat(chat_id))["status"] == "running"
    assert await shared_api.queued(chat_id) == []
    second = asyncio.create_task(editor.prompt(chat_id, "/say second"))
    await wait_until(lambda: shared_api.queued(chat_id), "the message is queued")
    turn_id = (await shared_api.chat(chat_id))["turn_id"]
    await shared_api.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": turn_id})
    assert await second == "end_turn"
    assert editor.text(chat_id).endswith("second")


async def test_a_cancel_without_a_prompt_interrupts_the_turn_that_runs(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/rate 100\n/tokens 4000")
    await editor.load(chat_id)
    await editor.agent.cancel(session_id=chat_id)
    assert (await shared_api.rested(chat_id))["status"] == "waiting"


async def test_a_failed_turn_is_an_error_with_its_sentence(editor: Editor) -> None:
    chat_id = await editor.new()
    error = await editor.refused(editor.prompt(chat_id, "/say a\n/fail auth"))
    assert (error.code, error.data) == (-32603, {"kind": "auth", "provider": "rehearsal"})
    assert str(error)
    assert await editor.prompt(chat_id, "/say b") == "end_turn"


# --- two clients


async def test_two_editors_and_the_api_share_one_chat(editor: Editor, other: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    await editor.prompt(chat_id, "/say one")
    await other.load(chat_id)
    await editor.prompt(chat_id, "/say two")
    await other.wait_text(chat_id, "two")
    assert other.text(chat_id, "user_message_chunk") == "/say one/say two"
    await shared_api.send(chat_id, "/say three")
    for one in (editor, other):
        await one.wait_text(chat_id, "three")
    assert editor.text(chat_id, "user_message_chunk") == "/say three"
    assert editor.text(chat_id) == other.text(chat_id) == "onetwothree"


async def test_an_edit_of_another_client_is_announced(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    await editor.prompt(chat_id, "/say one")
    await shared_api.ask("PATCH", f"/chats/{chat_id}/messages/2", {"content": "/say two"})
    await editor.wait_text(chat_id, "two")
    assert "Another client has changed the conversation" in editor.text(chat_id)


async def test_a_session_is_resumed_without_its_history(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/say one")
    await shared_api.rested(chat_id)
    await editor.agent.resume_session(cwd="/work", session_id=chat_id)
    assert await editor.prompt(chat_id, "/say two") == "end_turn"
    assert editor.text(chat_id) == "two"


async def test_a_session_is_closed_and_deleted(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    prompt = asyncio.create_task(editor.prompt(chat_id, "/rate 50\n/tokens 4000"))
    await editor.wait_text(chat_id, "w1")
    await editor.agent.close_session(session_id=chat_id)
    assert await prompt == "cancelled"
    assert (await shared_api.rested(chat_id))["status"] == "waiting"
    await editor.agent._conn.send_request("session/delete", {"sessionId": chat_id})
    assert (await shared_api.ask("GET", f"/chats/{chat_id}")).status == 404
    foreign = await shared_api.as_owner("another owner of editors")
    theirs = await foreign.make_chat("/say secret")
    error = await editor.refused(editor.load(theirs))
    assert (error.code, editor.updates.get(theirs)) == (-32002, None)


# --- settings


async def test_the_model_and_the_mode_are_options_of_the_session(editor: Editor, shared_api: ApiClient) -> None:
    chat_id = await editor.new()
    await editor.agent.set_config_option(session_id=chat_id, config_id="model", value="rehearsal")
    await editor.prompt(chat_id, "/say a")
    assert (await shared_api.chat(chat_id))["model"] == "rehearsal"
    answer = await editor.agent.set_config_option(session_id=chat_id, config_id="when_busy", value="steer")
    assert [one.current_value for one in answer.config_options] == ["rehearsal", "steer"]
    await editor.agent.set_session_mode(session_id=chat_id, mode_id="interrupt")
    await shared_api.ask("PATCH", f"/chats/{chat_id}", {"model": ""})

    def seen() -> list[Any]:
        found = of_kind(editor.updates[chat_id], "config_option_update")
        return [[option["currentValue"] for option in one["configOptions"]] for one in found]

    await wait_until(lambda: [":default", "interrupt"] in seen(), "the change of the model is announced")
    modes = [one["currentModeId"] for one in of_kind(editor.updates[chat_id], "current_mode_update")]
    assert modes == ["steer"]
    error = await editor.refused(editor.agent.set_session_mode(session_id=chat_id, mode_id="x"))
    assert error.code == -32602


async def test_mcp_servers_of_the_editor_are_reported_as_unused(editor: Editor) -> None:
    server = McpServerStdio(name="files", command="/bin/files", args=[], env=[])
    chat_id = await editor.new(mcp_servers=[server])
    await editor.wait_text(chat_id, "These MCP servers of the editor are not used: files.")
