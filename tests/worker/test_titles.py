"""Titles by a model: once for each chat, after its first answer, never over a person's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from antiphon.core import commands as c
from antiphon.core.facts import TitleChanged
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.testing.model_server import FOREVER, Answer, FakeModelServer, Fault
from support.waiting import wait_until

from .running import Talk, ask, running

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def titled(
    monkeypatch: pytest.MonkeyPatch, *replies: Answer | Fault, title_model: str = "openai:small"
) -> AsyncIterator[tuple[Instance, FakeModelServer]]:
    async with FakeModelServer() as server:
        server.plan(*replies)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        async with running(title_model=title_model) as instance:
            yield instance, server


async def titles_of(talk: Talk) -> list[tuple[str, str]]:
    return [(fact.title, fact.by) for fact in await talk.facts(TitleChanged)]


async def test_a_chat_gets_a_title_after_its_first_answer_and_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with titled(monkeypatch, Answer(text='"Tea and biscuits."\n\nAnd more words.')) as (instance, server):
        talk = await ask(instance, "/say how to make tea")
        await talk.wait(lambda chat: chat.title == "Tea and biscuits")
        await talk.send("/say again")
        await talk.wait_ended()
        assert await titles_of(talk) == [("Tea and biscuits", "model")]
        (seen,) = server.requests
        assert seen.body["model"] == "small"
        assert "how to make tea" in seen.body["messages"][-1]["content"]


async def test_a_title_of_a_person_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with titled(monkeypatch, Answer(text="Late", stall_headers_s=FOREVER)) as (instance, server):
        named = Talk(instance, (await instance.chats.create(content="/say one", title="Mine")).chat_id)
        await named.wait_ended()
        renamed = await ask(instance, "/say two")
        await renamed.wait_ended()
        await server.wait_until(lambda: len(server.requests) == 1)
        await instance.chats.change(renamed.chat_id, c.Rename(title="Also mine"))
        server.release()
        await wait_until(lambda: server.requests[0].is_answered)
        await wait_until(lambda: not len(instance._titles._background))
        assert (await named.chat()).title == "Mine"
        assert (await renamed.chat()).title == "Also mine"


@pytest.mark.parametrize("reply", [Fault(status=500), Answer(text="  \n"), Answer(cut_after=0)], ids=str)
async def test_a_title_that_fails_leaves_the_first_words(
    monkeypatch: pytest.MonkeyPatch, reply: Answer | Fault
) -> None:
    async with titled(monkeypatch, reply) as (instance, server):
        talk = await ask(instance, "/say words")
        await talk.wait_ended()
        await server.wait_until(lambda: len(server.requests) == 1)
        await wait_until(lambda: not len(instance._titles._background))
        assert (await talk.chat()).title == "/say words"
        assert len(server.requests) == 1, "nothing is tried again"


async def test_a_long_title_is_cut_and_its_model_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "word " * 1_000
    async with titled(monkeypatch, Answer(text=words, stall_after=500, stall_s=FOREVER)) as (instance, server):
        talk = await ask(instance, "/say words")
        await talk.wait(lambda chat: chat.title.endswith("…"))
        assert len((await talk.chat()).title) == 80
        await server.wait_until(lambda: server.requests[0].is_abandoned)


async def test_the_model_of_the_chat_may_write_it_and_without_an_option_none_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with titled(monkeypatch, title_model="same") as (instance, server):
        server.plan(Answer(text="An answer."), Answer(text="The title"))
        done = await instance.chats.create(content="hi", model="openai:large")
        talk = Talk(instance, done.chat_id)
        await talk.wait(lambda chat: chat.title == "The title")
        assert [seen.body["model"] for seen in server.requests] == ["large", "large"]
    async with titled(monkeypatch, title_model="") as (instance, server):
        talk = await ask(instance, "/say words")
        await talk.wait_ended()
        assert not server.requests
