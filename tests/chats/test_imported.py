"""Chats that are created with a history, on a real store: repeats, counts and notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from antiphon import open_instance
from antiphon.budgets import Budgets
from antiphon.core.parts import FileReference, Role, Text, ToolCall, ToolResult
from antiphon.errors import Conflict, Invalid, NotFound, RateLimited, TooLarge
from antiphon.wire.past_messages import PastMessage

pytestmark = pytest.mark.anyio

CHAT = "0badc0de-0000-4000-8000-000000000001"
OTHER = "0badc0de-0000-4000-8000-000000000002"


def user(text: str) -> PastMessage:
    return PastMessage(role=Role.USER, content=(Text(text),))


def answer(*parts: object) -> PastMessage:
    return PastMessage(role=Role.ASSISTANT, content=parts)  # type: ignore[arg-type]


PAST = (user("one"), answer(Text("first")), user("/say second"))


async def test_a_repeat_gets_the_same_turn_and_other_messages_conflict() -> None:
    async with open_instance(drain_s=0) as antiphon:
        made = await antiphon.chats.create_with_history(CHAT, PAST)
        async for _ in antiphon.chats.watch(CHAT, until_idle=True):
            pass
        again = await antiphon.chats.create_with_history(CHAT, PAST)
        assert (again.turn_id, again.last_id, again.done.is_repeat) == (made.turn_id, made.last_id, True)
        with pytest.raises(Conflict):
            await antiphon.chats.create_with_history(CHAT, PAST[:1])
        texts = [message.text for message in (await antiphon.chats.messages(CHAT)).messages]
        assert texts == ["one", "first", "/say second", "second"]
        inbox = await antiphon.inbox.list(antiphon.owner_id)
        assert len(inbox) <= 1, "only the turn that ran may have a notification"


async def test_the_history_counts_as_one_message() -> None:
    async with open_instance(drain_s=0, budgets=Budgets(messages_per_minute=1, turns_per_minute=1)) as antiphon:
        await antiphon.chats.create_with_history(CHAT, PAST)
        with pytest.raises(RateLimited):
            await antiphon.chats.create_with_history(OTHER, PAST)


async def test_the_chat_uses_the_files_of_every_role() -> None:
    async with open_instance(drain_s=0) as antiphon:

        async def upload(name: str) -> FileReference:
            async def pieces() -> AsyncIterator[bytes]:
                yield name.encode()

            stored = await antiphon.files.upload(antiphon.owner_id, pieces(), name=name)
            return FileReference(file_id=stored.file_id, file_name=name)

        files = [await upload(name) for name in ("asked", "answered", "picked", "picked too")]
        asked, answered, *picked = files
        result = PastMessage(role=Role.TOOL, content=(ToolResult("c", "f", 1), *picked))
        past = (
            PastMessage(role=Role.USER, content=(Text("x"), asked)),
            answer(answered, ToolCall("c", "f", {})),
            result,
        )
        await antiphon.chats.create_with_history(CHAT, past)
        assert await antiphon.store.files_of_chat(CHAT) == {file.file_id for file in files}
        missing = FileReference(file_id="0badc0de-0000-4000-8000-0000000000ff", file_name="missing")
        with pytest.raises(NotFound):
            await antiphon.chats.create_with_history(OTHER, (user("x"), answer(missing)))


async def test_what_is_no_history_is_refused() -> None:
    call = ToolCall("c", "f", {})
    async with open_instance(drain_s=0) as antiphon:
        for past in (
            (),
            (PastMessage(role=Role.SYSTEM, content=(Text("x"),)),),
            (user("x"), answer(call, call)),
            (user("x"), answer(call), PastMessage(role=Role.TOOL, content=(Text("x"),))),
            (user("x"), answer(call), PastMessage(role=Role.TOOL, content=(ToolResult("c", "f", 1), Text("x")))),
            (user("x"), answer(call), PastMessage(role=Role.TOOL, content=(ToolResult("d", "f", 1),))),
        ):
            with pytest.raises(Invalid):
                await antiphon.chats.create_with_history(CHAT, past)
        with pytest.raises(TooLarge):
            await antiphon.chats.create_with_history(CHAT, [user("x")] * 1_001)
        with pytest.raises(TooLarge):
            await antiphon.chats.create_with_history(CHAT, [user("x"), answer(Text("y" * 5_000_000))])
