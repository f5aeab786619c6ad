"""The use of a file is recorded for the chat that names it, and for no other one."""

from __future__ import annotations

import pytest

from antiphon.errors import Invalid

from .api_client import ApiClient
from .test_files import PNG, get, reference, upload

pytestmark = pytest.mark.anyio


async def test_a_chat_whose_id_is_taken_is_refused_and_uses_no_file(api: ApiClient) -> None:
    other = await api.as_owner("another owner of chats")
    made = await upload(other, PNG + b"of the other")
    for taken in (await api.make_chat("hello"), await other.make_chat("hello")):
        answer = await other.ask("POST", "/chats", {"id": taken, "content": [reference(made)]})
        assert (answer.status, answer.code) == (409, "conflict")
        assert await api.instance.store.files_of_chat(taken) == frozenset()


async def test_a_repeated_creation_is_answered_after_its_file_was_removed_with_its_chat(api: ApiClient) -> None:
    made = await upload(api, PNG + b"of a deleted chat")
    body = {"id": "0badcafe-0000-4000-9000-00000000beef", "content": [reference(made)]}
    assert (await api.ask("POST", "/chats", body)).status == 201
    assert await api.instance.store.files_of_chat(body["id"]) == {made["file_id"]}  # type: ignore[arg-type]
    assert (await get(api, made["file_id"])).status == 200
    assert (await api.ask("POST", "/chats", body)).status == 201


@pytest.mark.parametrize("chat_id", ["c", "0BADCAFE-0000-4000-9000-00000000BEEF", "0badcafe00004000900000000000beef"])
async def test_an_id_that_is_no_uuid_is_refused(api: ApiClient, chat_id: str) -> None:
    with pytest.raises(Invalid, match="a UUID in lower case"):
        await api.instance.chats.create(chat_id=chat_id)
