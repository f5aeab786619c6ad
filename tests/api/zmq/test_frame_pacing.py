"""Tokens that follow a frame closely wait for the next frame; facts are published at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from antiphon.core import commands as c
from antiphon.core.draft import Draft
from antiphon.core.parts import CallStarted, Text
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.wire.codec import encode_content
from support.waiting import wait_until

from .peers import Peer, open_endpoint

pytestmark = pytest.mark.anyio


async def begin(instance: Instance, chat_id: str) -> Draft:
    begun = await instance.service.execute(chat_id, c.StartAttempt(instance_id=instance.instance_id))
    return instance.drafts.open(chat_id, begun.chat.draft)


async def end(instance: Instance, chat_id: str, draft: Draft) -> None:
    chat = await instance.chats.get(chat_id)
    answer = c.CommitMessage(
        attempt=chat.attempt,
        draft=draft.name,
        content=encode_content(draft.content()),
        upto=draft.position,
        is_last=True,
    )
    await instance.service.execute(chat_id, answer)
    instance.drafts.close(chat_id, draft)


def write(instance: Instance, chat_id: str, draft: Draft, text: str) -> None:
    draft.write(Text(text))
    instance.drafts.touch(chat_id)


async def test_the_first_token_is_published_at_once_and_the_next_ones_together_in_one_frame(tmp_path: Path) -> None:
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint, "llm.token") as peer:
        await peer.wait_subscribed(endpoint)
        instance.worker.pause()
        chat_id = (await instance.chats.create(chat_id=instance.ids.uuid(), content="go")).chat_id
        draft = await begin(instance, chat_id)
        follower = await wait_until(lambda: endpoint.publisher.follower._followers.get(chat_id))
        write(instance, chat_id, draft, "0")
        published = [(await peer.next_event())["payload"]]
        await wait_until(lambda: not follower._is_paced)
        follower._is_paced = True  # the next pause, however long this process waits for a core
        for number in range(1, 10):
            write(instance, chat_id, draft, str(number))
            await asyncio.sleep(0)
        follower._end_pace()
        published.append((await peer.next_event())["payload"])
        assert [(one["token"], one["from"], one["to"]) for one in published] == [("0", 0, 1), ("123456789", 1, 10)]
        write(instance, chat_id, draft, "later")
        assert (await peer.next_event())["payload"]["token"] == "later"
        await end(instance, chat_id, draft)


async def test_a_message_is_published_after_its_whole_draft_at_any_pace(tmp_path: Path) -> None:
    topics = ("llm.token", "message.append")
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint, *topics) as peer:
        await peer.wait_subscribed(endpoint)
        instance.worker.pause()
        chat_id = (await instance.chats.create(chat_id=instance.ids.uuid(), content="go")).chat_id
        await instance.chats.send(chat_id, "go on")
        for text in ("one two", "three"):
            draft = await begin(instance, chat_id)
            (await wait_until(lambda: endpoint.publisher.follower._followers.get(chat_id)))._is_paced = True
            for word in text:
                write(instance, chat_id, draft, word)
            await end(instance, chat_id, draft)
            await peer.until("message.append", role="assistant")
            published = [event["payload"] for event in peer.seen if event["payload"].get("draft") == draft.name]
            assert [one.get("token", one.get("content")) for one in published] == [text, text]


async def test_tokens_are_published_once_though_large_queued_messages_push_facts_out_of_memory(
    tmp_path: Path,
) -> None:
    topics = ("llm.start", "llm.token")
    async with open_endpoint(tmp_path / "data") as (instance, endpoint), Peer(endpoint, *topics) as peer:
        await peer.wait_subscribed(endpoint)
        instance.worker.pause()
        chat_id = (await instance.chats.create(chat_id=instance.ids.uuid(), content="go")).chat_id
        draft = await begin(instance, chat_id)
        draft.write(CallStarted("m", "p", 1))
        write(instance, chat_id, draft, "before ")
        await peer.until("llm.token", token="before ")
        await asyncio.gather(*(instance.chats.send(chat_id, str(number) * 900_000) for number in range(4)))
        newest = (await instance.chats.get(chat_id)).seq
        follower = endpoint.publisher.follower._followers[chat_id]
        await wait_until(lambda: follower.seq >= newest and not follower._is_reading)
        write(instance, chat_id, draft, "after")
        while peer.payloads("llm.token")[-1]["to"] < draft.position:
            await peer.next_event()
        await end(instance, chat_id, draft)
        assert "".join(one["token"] for one in peer.payloads("llm.token")) == "before after"
        assert len(peer.payloads("llm.start")) == 1
