"""Links by which anyone reads a chat, and exports of a chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon.errors import NotFound

from .api_client import ApiClient

pytestmark = pytest.mark.anyio


async def settle(api: ApiClient, chat_id: str) -> None:
    async for _ in api.instance.chats_of(api.owner_id).watch(chat_id, until_idle=True):
        pass


async def shared(api: ApiClient, chat_id: str) -> dict[str, Any]:
    return (await api.ask("POST", f"/chats/{chat_id}/shares")).json


async def test_a_link_reads_its_chat_and_nothing_else(shared_api: ApiClient) -> None:
    api = shared_api
    chat_id = await api.make_chat("/say hello", title="Plans", system="A secret prompt", labels={"team": "secret"})
    await settle(api, chat_id)
    await api.send(chat_id, "/stall 600")
    await api.send(chat_id, "it waits")
    share = await shared(api, chat_id)
    answer = await api.ask("GET", "/shared", token=share["secret"])
    assert (answer.status, answer.json["title"]) == (200, "Plans")
    texts = ["".join(part["text"] for part in m["content"]) for m in answer.json["messages"]]
    assert texts == ["/say hello", "hello", "/stall 600"]
    for hidden in ("secret", "it waits", api.owner_id, "usage"):
        assert hidden not in answer.body.decode()
    for method, path in (
        ("GET", f"/chats/{chat_id}"),
        ("GET", "/chats"),
        ("GET", f"/chats/{chat_id}/stream"),
        ("POST", f"/chats/{chat_id}/messages"),
        ("GET", "/session"),
        ("GET", "/feed"),
    ):
        body = {"content": "x"} if method == "POST" else None
        assert (await api.ask(method, path, body, token=share["secret"])).code == "unauthenticated", path
    assert (await api.ask("POST", "/session", {"token": share["secret"]})).code == "unauthenticated"


async def test_a_token_or_a_session_is_no_link(shared_api: ApiClient) -> None:
    assert (await shared_api.ask("GET", "/shared")).code == "unauthenticated"
    assert (await shared_api.ask("GET", "/shared", token=shared_api.admin_token)).code == "unauthenticated"


async def test_a_link_is_read_page_by_page(shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/say hello")
    await settle(shared_api, chat_id)
    secret = (await shared(shared_api, chat_id))["secret"]
    newest = (await shared_api.ask("GET", "/shared?limit=1", token=secret)).json
    assert newest["has_more"]
    (answer,) = newest["messages"]
    before = (await shared_api.ask("GET", f"/shared?limit=9&before_id={answer['id']}", token=secret)).json
    assert ([m["role"] for m in before["messages"]], before["has_more"]) == (["user"], False)


async def test_a_revoked_link_and_one_of_a_deleted_chat_read_nothing(shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/say hello")
    first, second = await shared(shared_api, chat_id), await shared(shared_api, chat_id)
    listed = (await shared_api.ask("GET", f"/chats/{chat_id}/shares")).json["shares"]
    assert [share["id"] for share in listed] == [first["id"], second["id"]]
    assert "secret" not in listed[0]
    assert (await shared_api.ask("DELETE", f"/chats/{chat_id}/shares/{first['id']}")).status == 204
    assert (await shared_api.ask("DELETE", f"/chats/{chat_id}/shares/{first['id']}")).code == "not_found"
    assert (await shared_api.ask("GET", "/shared", token=first["secret"])).code == "unauthenticated"
    assert (await shared_api.ask("GET", "/shared", token=second["secret"])).status == 200
    await shared_api.ask("DELETE", f"/chats/{chat_id}")
    assert (await shared_api.ask("GET", "/shared", token=second["secret"])).code == "unauthenticated"


async def test_a_chat_has_a_limited_number_of_links(shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat()
    answers = [await shared_api.ask("POST", f"/chats/{chat_id}/shares") for _ in range(21)]
    assert [answer.status for answer in answers] == [201] * 20 + [429]


async def test_a_link_reads_the_files_of_its_chat_only(shared_api: ApiClient) -> None:
    files = [
        (await shared_api.ask("POST", "/files", data=text, headers={"content-type": "text/plain"})).json
        for text in (b"shown", b"other")
    ]
    chat_id = await shared_api.make_chat([{"type": "file-reference", "file_id": files[0]["file_id"]}])
    secret = (await shared(shared_api, chat_id))["secret"]
    assert (await shared_api.ask("GET", f"/shared/files/{files[0]['file_id']}", token=secret)).body == b"shown"
    assert (await shared_api.ask("GET", f"/shared/files/{files[1]['file_id']}", token=secret)).code == "not_found"


async def test_a_link_does_not_read_the_files_of_queued_and_hidden_messages(shared_api: ApiClient) -> None:
    api = shared_api
    hidden, queued = [
        (await api.ask("POST", "/files", data=text, headers={"content-type": "text/plain"})).json["file_id"]
        for text in (b"hidden", b"queued")
    ]
    chat_id = await api.make_chat([{"type": "file-reference", "file_id": hidden}])
    secret = (await shared(api, chat_id))["secret"]
    await settle(api, chat_id)
    assert (await api.ask("GET", f"/shared/files/{hidden}", token=secret)).body == b"hidden"
    (message, _) = (await api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
    await api.ask("PATCH", f"/chats/{chat_id}/messages/{message['id']}", {"content": "/stall 600"})
    await api.send(chat_id, [{"type": "file-reference", "file_id": queued}])
    for file_id in (hidden, queued):
        assert (await api.ask("GET", f"/shared/files/{file_id}", token=secret)).code == "not_found"
        assert (await api.ask("GET", f"/files/{file_id}")).status == 200, "its owner reads it"


# --- exports


async def test_a_chat_is_exported_as_json_with_all_of_its_messages(shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat("/say hello", title="Plans / 2027 …")
    await settle(shared_api, chat_id)
    answer = await shared_api.ask("GET", f"/chats/{chat_id}/export")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith('attachment; filename="Plans  2027 _.json";')
    exported = json.loads(answer.body)
    assert exported["chat"]["id"] == chat_id
    messages = (await shared_api.ask("GET", f"/chats/{chat_id}/messages")).json["messages"]
    assert exported["messages"] == messages
    empty = await shared_api.make_chat()
    assert json.loads((await shared_api.ask("GET", f"/chats/{empty}/export")).body)["messages"] == []


async def test_a_chat_is_exported_as_markdown(shared_api: ApiClient) -> None:
    chat_id = await shared_api.make_chat('/think hm\n/call nothing {"a": "```"}\n/say **done**', title="Plans")
    await settle(shared_api, chat_id)
    answer = await shared_api.ask("GET", f"/chats/{chat_id}/export?format=markdown")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    text = answer.body.decode()
    assert text.startswith("# Plans\n\nCreated 20")
    call = '**Tool call:** `nothing`\n\n````json\n{\n  "a": "```"\n}\n````'
    thoughts = "<summary>Thoughts</summary>\n\nhm\n"
    for expected in ("\n## You · 20", "\n## Assistant (rehearsal) · ", thoughts, "**done**", call):
        assert expected in text, text
    assert (await shared_api.ask("GET", f"/chats/{chat_id}/export?format=pdf")).json["error"]["field"] == "format"


async def test_an_export_shows_one_moment_or_ends_with_an_error(shared_api: ApiClient) -> None:
    chats = shared_api.instance.chats_of(shared_api.owner_id)
    chat_id = await shared_api.make_chat("/say one")
    await settle(shared_api, chat_id)
    iterated = chats.iter_messages(chat_id, page=1)
    shown = [await anext(iterated)]
    await chats.edit(chat_id, shown[0].seq, "/say two")
    await settle(shared_api, chat_id)
    shown += [entry async for entry in iterated]
    assert [entry.seq < 6 for entry in shown] == [True, True], "an edit meanwhile adds and hides nothing"
    iterated = chats.iter_messages(chat_id, page=1)
    await anext(iterated)
    await shared_api.ask("DELETE", f"/chats/{chat_id}")
    with pytest.raises(NotFound):
        [entry async for entry in iterated]


async def test_an_export_is_read_in_pages(shared_api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.api.http.exports.PAGE", 1)
    chat_id = await shared_api.make_chat("/say one")
    await settle(shared_api, chat_id)
    exported = json.loads((await shared_api.ask("GET", f"/chats/{chat_id}/export")).body)
    assert [m["role"] for m in exported["messages"]] == ["user", "assistant"]
    head = await shared_api.ask("HEAD", f"/chats/{chat_id}/export")
    assert (head.status, head.body) == (200, b"")
