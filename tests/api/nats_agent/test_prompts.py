"""The protocol's own client finds the agents on a real NATS server, prompts them, and answers their questions."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg
from synadia_ai.agents import Agent, Attachment, Envelope, ProtocolError, ResponseChunk, StatusChunk

from antiphon.api.nats_agent.endpoint import NatsAgents
from antiphon.api.nats_agent.limits import PROMPTS_MAX
from antiphon.api.nats_agent.prompt import NAME
from antiphon.core.model import Status
from antiphon.errors import NotFound
from antiphon.observe.metrics import METRICS
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.wire.ids import named_chat_id
from programs import needs_program
from support.nats import NatsServer
from support.waiting import DEADLINE_S, wait_until

from ..http.invalid_requests import random_value
from .conftest import SESSION, Caller, answer_of

pytestmark = [pytest.mark.anyio, needs_program("nats-server")]

STRINGS = ("", "x", "/say hi", "YQ==", "a.b", "\ud800", "\x00", "é", "s" * 300)
KEYS = ("filename", "content", "prompt", "type")
ASK = '/call ask_person {"question": "Which colour?"}\n/say chosen'


def chat_id_of(instance: EmbeddedInstance, session: str) -> str:
    return named_chat_id(instance.owner_id, NAME, f"{SESSION}/{session}" if session else SESSION)


async def roles_of(instance: EmbeddedInstance, session: str) -> list[str]:
    return [str(m.role) for m in (await instance.chats.messages(chat_id_of(instance, session))).messages]


async def raw(caller: Caller, subject: str, payload: bytes, **headers: str) -> list[Msg]:
    """What a program without the library gets for a prompt, up to the end of the stream."""
    inbox = caller.client.new_inbox()
    subscription = await caller.client.subscribe(inbox)
    await caller.client.publish(subject, payload, reply=inbox, headers=headers or None)
    found: list[Msg] = []
    while not found or found[-1].data or found[-1].headers:
        found.append(await subscription.next_msg(timeout=DEADLINE_S))
    await subscription.unsubscribe()
    return found


async def test_the_agents_are_discovered_with_what_they_accept(caller: Caller, nats_server: NatsServer) -> None:
    agent, other = await caller.find(), await caller.find("desk")
    assert (agent.agent, agent.owner, agent.protocol_version) == ("antiphon", "admin", "0.3")
    assert agent.prompt_subject == f"agents.prompt.antiphon.admin.{SESSION}"
    assert agent.prompt_endpoint.queue_group == "agents"
    assert agent.prompt_endpoint.max_payload_bytes == caller.client.max_payload
    assert agent.prompt_endpoint.attachments_ok
    assert other.owner == "alice"
    assert other.instance_id != agent.instance_id
    status = await agent.status()
    assert (status.instance_id, status.session, status.interval_s) == (agent.instance_id, SESSION, 1)
    stats = await caller.client.request(f"$SRV.STATS.agents.{agent.instance_id}", timeout=DEADLINE_S)
    assert json.loads(stats.data)["endpoints"][0]["name"] == "prompt"


async def test_a_prompt_is_streamed_after_an_ack(agent: Agent, session: str) -> None:
    seen = [item async for item in agent.prompt(Envelope(prompt="/tokens 20\n/rate 0", session=session))]  # type: ignore[call-arg]
    assert isinstance(seen[0], StatusChunk)
    assert seen[0].status == "ack"
    texts = [item.text for item in seen if isinstance(item, ResponseChunk)]
    assert "".join(texts) == "".join(f"w{n} " for n in range(1, 21))


async def test_silence_is_filled_and_heartbeats_are_sent(caller: Caller, agent: Agent, session: str) -> None:
    answered = await answer_of(agent, "/stall 0.7\n/say late", session=session)
    assert answered.text == "late"
    assert answered.acks > 1
    live = await wait_until(lambda: caller.agents.liveness(agent.instance_id), "a heartbeat is seen")
    assert live.is_online


async def test_two_prompts_of_a_session_are_one_chat(agent: Agent, instance: EmbeddedInstance, session: str) -> None:
    assert (await answer_of(agent, "/say one", session=session)).text == "one"
    assert (await answer_of(agent, "/say two", session=session)).text == "two"
    assert await roles_of(instance, session) == ["user", "assistant"] * 2
    assert (await instance.chats.get(chat_id_of(instance, session))).title == session


async def test_an_agent_uses_the_chats_of_its_owner_only(caller: Caller, instance: EmbeddedInstance) -> None:
    assert (await answer_of(await caller.find("desk"), "/say hers")).text == "hers"
    owner_id = await instance.owner_id_of("alice")
    chat_id = named_chat_id(owner_id, NAME, "desk")
    assert (await instance.chats_of(owner_id).get(chat_id)).owner_id == owner_id
    with pytest.raises(NotFound):
        await instance.chats.get(chat_id)


async def test_prompts_at_once_wait_for_each_other(agent: Agent, instance: EmbeddedInstance, session: str) -> None:
    prompts = [answer_of(agent, f"/tokens 20\n/rate 400\n/say {n}", session=session) for n in range(3)]
    for number, answered in enumerate(await asyncio.gather(*prompts)):
        assert answered.text.endswith(f"w20 {number}")
    assert await roles_of(instance, session) == ["user", "assistant"] * 3


async def test_a_repeat_with_the_same_message_id_runs_nothing_twice(
    agent: Agent, caller: Caller, instance: EmbeddedInstance, session: str
) -> None:
    for _ in range(2):
        assert (await answer_of(agent, "/say once", session=session, message_id="m1")).text == "once"
    payload = json.dumps({"prompt": "/say once", "session": session}).encode()
    found = await raw(caller, agent.prompt_subject, payload, **{"Nats-Msg-Id": "m1"})
    assert json.loads(found[1].data) == {"type": "response", "data": "once"}
    with pytest.raises(ProtocolError, match="409"):
        await answer_of(agent, "/say another", session=session, message_id="m1")
    assert await roles_of(instance, session) == ["user", "assistant"]


@pytest.mark.parametrize(("replies", "end"), [(("yes",), "paid 3"), (("No.",), ""), (("perhaps", "yes"), "paid 3")])
async def test_an_approval_is_a_question(
    agent: Agent, instance: EmbeddedInstance, session: str, replies: tuple[str, ...], end: str
) -> None:
    answered = await answer_of(agent, '/call pay {"amount": 3}', session=session, replies=replies)
    assert len(answered.queries) == len(replies)
    assert answered.queries[-1].prompt.endswith('May the tool pay run? Reply yes or no.\n{"amount":3}')
    assert len({query.id for query in answered.queries}) == 1
    messages = (await instance.chats.messages(chat_id_of(instance, session))).messages
    result: Any = messages[2].content[0]
    assert (result.result == end) if end else result.is_error


async def test_a_question_of_the_model_is_one_of_the_caller(agent: Agent, session: str) -> None:
    answered = await answer_of(agent, ASK, session=session, replies=("blue",))
    assert [query.prompt for query in answered.queries] == ["Which colour?"]
    assert "chosen" in answered.text


async def test_an_answer_over_another_api_ends_the_question(
    agent: Agent, instance: EmbeddedInstance, session: str
) -> None:
    chat_id = chat_id_of(instance, session)

    async def approve() -> None:
        await wait_until(lambda: instance.service.chat(chat_id), accept=lambda c: c and c.status == "requires_action")
        (call,) = await instance.chats.open_calls(chat_id)
        await instance.chats.approve(chat_id, call.tool_call_id)

    approving = asyncio.create_task(approve())
    answered = await answer_of(agent, "/call ship {}\n/say done", session=session)
    await approving
    assert len(answered.queries) == 1
    assert "done" in answered.text


async def test_a_question_without_a_reply_ends_the_stream_and_stays_open(
    agent: Agent, instance: EmbeddedInstance, session: str
) -> None:
    with pytest.raises(ProtocolError, match="409: The question was not answered in time"):
        await answer_of(agent, "/call pay {}", session=session, message_id="m1")
    chat_id = chat_id_of(instance, session)
    assert (await instance.chats.get(chat_id)).status is Status.REQUIRES_ACTION
    again = await answer_of(agent, "/call pay {}", session=session, message_id="m1", replies=("yes",))
    assert len(again.queries) == 1
    with pytest.raises(ProtocolError, match="409"):
        await answer_of(agent, "/call pay {}", session=session)
    assert (await answer_of(agent, "/say next", session=session)).text == "next"  # it cancels the open call


async def test_a_prompt_behind_an_unanswered_question_cancels_it(
    agent: Agent, instance: EmbeddedInstance, session: str
) -> None:
    asking = asyncio.create_task(answer_of(agent, "/stall 0.2\n/call pay {}", session=session))
    chat_id = chat_id_of(instance, session)
    await wait_until(lambda: instance.service.chat(chat_id), accept=lambda chat: chat and chat.turn_id)
    assert (await answer_of(agent, "/say after", session=session)).text == "after"
    with pytest.raises(ProtocolError, match="409"):
        await asking


async def test_a_prompt_behind_a_failed_turn_is_not_left_waiting(
    agent: Agent, instance: EmbeddedInstance, session: str
) -> None:
    failing = asyncio.create_task(answer_of(agent, "/stall 0.2\n/fail auth", session=session))
    chat_id = chat_id_of(instance, session)
    await wait_until(lambda: instance.service.chat(chat_id), accept=lambda chat: chat and chat.turn_id)
    with pytest.raises(ProtocolError, match="409: The answer before this prompt has failed"):
        await answer_of(agent, "/say second", session=session, message_id="m2")
    with pytest.raises(ProtocolError, match="500"):
        await failing
    assert (await answer_of(agent, "/say third", session=session)).text == "third"
    assert (await answer_of(agent, "/say second", session=session, message_id="m2")).text == "second"


async def test_failures_are_errors_of_the_protocol(
    agent: Agent, caller: Caller, instance: EmbeddedInstance, session: str
) -> None:
    with pytest.raises(ProtocolError, match="service error 500"):
        await answer_of(agent, "/say part\n/fail auth", session=session)
    stopping = asyncio.create_task(answer_of(agent, "/tokens 1000\n/rate 50", session=session))
    chat_id = chat_id_of(instance, session)
    await wait_until(lambda: instance.service.chat(chat_id), accept=lambda chat: chat.turn_id)
    await instance.chats.interrupt(chat_id, (await instance.chats.get(chat_id)).turn_id)
    with pytest.raises(ProtocolError, match="409: The turn was interrupted"):
        await stopping
    await instance.chats.delete(chat_id)
    with pytest.raises(ProtocolError, match="404"):
        await answer_of(agent, "/say x", session=session)


async def test_prompts_that_are_not_valid_are_refused(agent: Agent, caller: Caller) -> None:
    deep = b'{"prompt":"x","attachments":' + b"[" * 300 + b"]" * 300 + b"}"
    for payload in (
        *(b"", b"{", b"{}", b'{"prompt": 1}', b'{"prompt": ""}', b"\xff\xfe", deep),
        b'{"prompt": "x", "attachments": [{"filename": "a", "content": "@@"}]}',
        b'{"prompt": "x", "attachments": [{"filename": "a"}]}',
        b'{"prompt": "x", "attachments": [{"filename": "a", "content": "a-_="}]}',
        msgspec.json.encode({"prompt": "x", "session": "s" * 300}),
        msgspec.json.encode({"prompt": "x", "message_id": "\n"}),
    ):
        found = await raw(caller, agent.prompt_subject, payload)
        error = next(msg for msg in found if msg.headers)
        assert error.headers is not None
        assert error.headers["Nats-Service-Error-Code"] == "400", payload
        assert json.loads(error.data)["error"] == "invalid"
        assert (found[-1].data, found[-1].headers) == (b"", None)


async def test_random_prompts_end_with_an_answer_or_an_error_of_the_client(agent: Agent, caller: Caller) -> None:
    random = Random(1)
    for number in range(150):
        envelope = {
            name: random_value(random, 2, STRINGS, KEYS)
            for name in ("prompt", "attachments", "session", "message_id")
        }
        if number % 2:
            envelope["prompt"] = "/say x"
        if number % 3:
            envelope["session"] = f"fuzz {number}"
        found = await raw(caller, agent.prompt_subject, json.dumps(envelope).encode())
        codes = [msg.headers["Nats-Service-Error-Code"] for msg in found if msg.headers]
        assert codes in ([], ["400"]), envelope


async def test_a_plain_text_is_a_prompt_of_the_agents_own_session(agent: Agent, caller: Caller) -> None:
    found = await raw(caller, agent.prompt_subject, b"/say plain")
    assert [json.loads(msg.data)["data"] for msg in found[:-1]] == ["ack", "plain"]


async def test_attachments_reach_the_model_and_unknown_fields_are_ignored(
    agent: Agent, instance: EmbeddedInstance, session: str
) -> None:
    attached = [Attachment.from_bytes("note.txt", b"hello")]
    await answer_of(agent, "/say seen", session=session, attachments=attached, other={"x": 1})
    messages = (await instance.chats.messages(chat_id_of(instance, session))).messages
    file: Any = messages[0].content[1]
    assert (file.name, file.media_type, file.data) == ("note.txt", "text/plain", "aGVsbG8=")


async def test_an_unsafe_reply_subject_gets_nothing(agent: Agent, caller: Caller) -> None:
    subscription = await caller.client.subscribe("chat:config_change")
    before = METRICS.unexpected.labels("nats_prompt_without_reply")._value.get()
    await caller.client.publish(agent.prompt_subject, b"/say x", reply="chat:config_change")
    await caller.client.publish(agent.prompt_subject, b"/say x")
    counter = METRICS.unexpected.labels("nats_prompt_without_reply")
    await wait_until(lambda: counter._value.get() == before + 2, "both are counted")
    assert subscription.pending_msgs == 0
    await subscription.unsubscribe()


async def test_too_many_prompts_are_refused(
    agent: Agent, caller: Caller, agents: NatsAgents, instance: EmbeddedInstance, session: str
) -> None:
    held = [asyncio.create_task(answer_of(agent, "/stall 60", session=session)) for _ in range(PROMPTS_MAX)]
    await wait_until(lambda: agents.prompt_count == PROMPTS_MAX, "all are in progress")
    with pytest.raises(ProtocolError, match="429"):
        await answer_of(agent, "/say x", session=session)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    await instance.chats.delete(chat_id_of(instance, session))
    await wait_until(lambda: not agents.prompt_count, "the streams of a deleted chat end")


async def test_a_caller_that_leaves_stops_nothing(agent: Agent, instance: EmbeddedInstance, session: str) -> None:
    stream = agent.prompt(Envelope(prompt="/tokens 30\n/rate 300", session=session))  # type: ignore[call-arg]
    async for item in stream:
        if isinstance(item, ResponseChunk):
            break
    await stream.aclose()  # type: ignore[attr-defined]
    chat_id = chat_id_of(instance, session)
    await wait_until(lambda: instance.service.chat(chat_id), accept=lambda chat: not chat.turn_id)
    messages = (await instance.chats.messages(chat_id)).messages
    assert messages[-1].text.endswith("w30 ")
    assert not messages[-1].interrupted
