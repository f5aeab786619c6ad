"""With `on_worker_lost="continue"` a model goes on from the text that an earlier attempt had written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon import Agent, Turn
from antiphon.chats.doctor import examine
from antiphon.core.facts import AttemptLost, AttemptReleased
from antiphon.core.model import Outcome, WhenBusy
from antiphon.core.parts import Role, Text, Usage
from antiphon.errors import AttemptFailed
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.connecting import Connector, Origin, Proxy
from antiphon.models.http_model import HttpModel
from antiphon.models.openai import OpenAIModel
from antiphon.models.rehearsal import RehearsalModel
from antiphon.models.responses import ResponsesModel
from antiphon.models.transport import Transport
from antiphon.ports import AnswerEnded, Message, ModelEvent, ModelRequest
from antiphon.server.open_instance import EmbeddedInstance
from antiphon.testing.model_server import FOREVER, Answer, FakeCall, FakeModelServer, Fault, Reply
from antiphon.worker.stop import Stop
from support.waiting import wait_until

from .running import Talk, answers_of, ask, running

pytestmark = pytest.mark.anyio

BEGUN = "The first half of it, and "
REST = "the second half."
ASKED = ModelRequest(
    chat_id="c",
    turn_id=2,
    model="any",
    system="",
    messages=(Message(id=2, role=Role.USER, content=(Text("Describe it."),)),),
    beginning=BEGUN,
)


async def streamed(model: HttpModel, request: ModelRequest = ASKED) -> list[ModelEvent]:
    try:
        return [event async for event in model.stream(request)]
    finally:
        await model.aclose()


async def _no_sleep(seconds: float) -> None:
    pass


def text_in(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def behind_proxy(server: FakeModelServer, url: str, name: str = "any") -> OpenAIModel:
    """A model at a provider's own address, which the server plays as a proxy."""
    port = Origin.parse(server.base_url).port
    transport = Transport(Connector(Origin.parse(url), proxy=Proxy(host="127.0.0.1", port=port)))
    return OpenAIModel(name, api_key="k", transport=transport, is_own_transport=True)


# --- the forms of providers


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llamacpp"])
async def test_a_server_of_its_own_kind_goes_on_from_the_final_message(owner: str) -> None:
    async with FakeModelServer(owned_by=owner) as server:
        server.plan(Answer(text=BEGUN + REST))
        events = await streamed(OpenAIModel("any", api_key="k", base_url=server.base_url))
    (request,) = server.requests
    assert request.body["messages"][-1] == {"role": "assistant", "content": BEGUN.rstrip()}
    assert (request.body["continue_final_message"], request.body["add_generation_prompt"]) == (True, False)
    assert events[0] == Text(BEGUN)
    assert text_in(events) == BEGUN + REST
    usage = next(event for event in events if isinstance(event, Usage))
    assert usage.output_tokens == 3  # only the rest is paid for


async def test_an_unknown_server_answers_from_the_start_and_is_asked_once_for_its_kind() -> None:
    async with FakeModelServer() as server:
        model = OpenAIModel("any", api_key="k", base_url=server.base_url)
        for _ in range(2):
            server.plan(Answer(text=BEGUN + REST))
            assert text_in([event async for event in model.stream(ASKED)]) == BEGUN + REST
        await model.aclose()
    assert [request.body["messages"][-1]["role"] for request in server.requests] == ["user", "user"]
    assert "continue_final_message" not in server.requests[0].body


@pytest.mark.parametrize(
    ("url", "name", "mark"),
    [
        ("http://api.mistral.ai/v1", "mistral-large-latest", {"prefix": True}),
        ("http://api.deepseek.com/beta", "deepseek-chat", {"prefix": True}),
        ("http://openrouter.ai/api/v1", "mistralai/mistral-large", {}),
    ],
)
async def test_a_provider_with_a_form_of_its_own_gets_the_beginning_in_that_form(
    url: str, name: str, mark: dict[str, bool]
) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text=REST))
        assert text_in(await streamed(behind_proxy(server, url, name))) == BEGUN + REST
    (request,) = server.requests
    assert request.body["messages"][-1] == {"role": "assistant", "content": BEGUN.rstrip()} | mark
    assert "continue_final_message" not in request.body


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://api.openai.com/v1", "gpt-5"),
        ("http://api.deepseek.com/v1", "deepseek-chat"),
        ("http://openrouter.ai/api/v1", "openai/gpt-5"),
    ],
)
async def test_a_provider_without_a_form_answers_from_the_start(url: str, name: str) -> None:
    async with FakeModelServer(owned_by="vllm") as server:  # it is not asked: its address says what it is
        server.plan(Answer(text="From the start."))
        assert text_in(await streamed(behind_proxy(server, url, name))) == "From the start."
    assert [message["role"] for message in server.requests[0].body["messages"]] == ["user"]


async def test_a_beginning_that_mistral_repeats_is_sent_once() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text=REST, repeats_beginning=True))
        events = await streamed(behind_proxy(server, "http://api.mistral.ai/v1"))
    assert text_in(events) == BEGUN + REST


PREFILLED = ["claude-3-haiku-20240307", "claude-3-7-sonnet-latest", "claude-sonnet-4-5", "claude-haiku-4-5-20251001"]


@pytest.mark.parametrize("name", PREFILLED)
async def test_anthropic_goes_on_from_the_last_message_without_its_last_space(name: str) -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text=" " + REST))
        events = await streamed(AnthropicModel(name, api_key="k", base_url=server.base_url))
    last = server.requests[0].body["messages"][-1]
    assert last == {"role": "assistant", "content": [{"type": "text", "text": BEGUN.rstrip()}]}
    assert text_in(events) == BEGUN + REST


@pytest.mark.parametrize("name", ["claude-opus-4-6", "claude-sonnet-5", "another"])
async def test_a_model_of_anthropic_without_prefill_answers_from_the_start(name: str) -> None:
    async with FakeModelServer() as server:
        events = await streamed(AnthropicModel(name, api_key="k", base_url=server.base_url))
    assert server.requests[0].body["messages"][-1]["role"] == "user"
    assert text_in(events).startswith("c1t1 ")


async def test_a_model_of_anthropic_that_thinks_answers_from_the_start() -> None:
    request = replace(ASKED, parameters={"thinking": {"type": "enabled", "budget_tokens": 1024}})
    async with FakeModelServer() as server:
        await streamed(AnthropicModel(PREFILLED[0], api_key="k", base_url=server.base_url), request)
    assert server.requests[0].body["messages"][-1]["role"] == "user"


async def test_a_paused_answer_keeps_its_beginning() -> None:
    async with FakeModelServer() as server:
        server.plan(Answer(text="one ", finish_reason="pause_turn"), Answer(text="two"))
        events = await streamed(AnthropicModel(PREFILLED[0], api_key="k", base_url=server.base_url))
    assert text_in(events) == BEGUN + "one two"
    texts = [block["text"] for block in server.requests[1].body["messages"][-1]["content"]]
    assert texts == [BEGUN.rstrip(), "one "]


async def test_openai_responses_answers_from_the_start() -> None:
    async with FakeModelServer() as server:
        events = await streamed(ResponsesModel("any", api_key="k", base_url=server.base_url))
    assert text_in(events).startswith("c1t1 ")


# --- the answer that follows


async def vllm(*replies: Reply, request: ModelRequest = ASKED) -> list[ModelEvent]:
    """The events of a model at a server that goes on."""
    async with FakeModelServer(owned_by="vllm") as server:
        server.plan(*replies)
        return await streamed(OpenAIModel("any", api_key="k", base_url=server.base_url), request)


async def test_a_server_that_refuses_the_beginning_answers_from_the_start_and_is_not_asked_again() -> None:
    async with FakeModelServer(owned_by="vllm") as server:
        server.plan(Fault(status=400, message="no template"), Answer(text="From the start."), Answer(text="Again."))
        model = OpenAIModel("any", api_key="k", base_url=server.base_url)
        assert text_in([event async for event in model.stream(ASKED)]) == "From the start."
        assert text_in([event async for event in model.stream(ASKED)]) == "Again."
        await model.aclose()
    assert [len(request.body["messages"]) for request in server.requests] == [2, 1, 1]


async def test_a_request_that_is_refused_either_way_fails() -> None:
    with pytest.raises(AttemptFailed) as failure:
        await vllm(Fault(status=400, message="bad"), Fault(status=400, message="bad"))
    assert failure.value.kind == "invalid_request"


async def test_an_answer_to_which_the_model_adds_nothing_is_complete() -> None:
    events = await vllm(Answer(text=""))
    assert text_in(events) == BEGUN
    assert not any(isinstance(event, AnswerEnded) for event in events)


@pytest.mark.parametrize("write_bytes", [0, 1])
async def test_white_space_at_the_seam_is_sent_once(write_bytes: int) -> None:
    request = replace(ASKED, beginning="One.\n\n")
    assert text_in(await vllm(Answer(text="\n\nTwo.", write_bytes=write_bytes), request=request)) == "One.\n\nTwo."
    assert text_in(await vllm(Answer(text="\nTwo.", write_bytes=write_bytes), request=request)) == "One.\n\nTwo."
    assert text_in(await vllm(Answer(text="Two.", write_bytes=write_bytes), request=request)) == "One.\n\nTwo."


async def test_a_short_beginning_that_the_model_says_again_stays() -> None:
    assert text_in(await vllm(Answer(text=" ha ha"), request=replace(ASKED, beginning="ha "))) == "ha ha ha"


async def test_the_rehearsal_model_goes_on_within_its_script() -> None:
    script = "/tokens 5\n/stall 9\n/say end"
    asked = replace(ASKED, messages=(Message(id=2, role=Role.USER, content=(Text(script),)),))
    model = RehearsalModel(sleep=_no_sleep)
    whole = text_in([event async for event in model.stream(replace(asked, beginning=""))])
    for length in range(1, len(whole) + 1):
        events = [event async for event in model.stream(replace(asked, beginning=whole[:length]))]
        assert (events[0], text_in(events)) == (Text(whole[:length]), whole)
    events = [event async for event in model.stream(replace(asked, beginning="something else"))]
    assert text_in(events) == whole


# --- turns


async def lose(talk: Talk, text: str) -> None:
    """Record the attempt as lost once `text` is flushed."""
    await talk.wait_preview(text)
    await talk.instance.worker.flush()
    chat = await talk.chat()
    await talk.instance.recovery.expire(talk.chat_id, chat.attempt, "dead")


@asynccontextmanager
async def serving(*replies: Reply, **options: Any) -> AsyncIterator[tuple[EmbeddedInstance, FakeModelServer]]:
    """An instance whose model goes on, and that model's server."""
    async with FakeModelServer(owned_by="vllm") as server:
        server.plan(*replies)
        model = OpenAIModel("any", api_key="k", base_url=server.base_url)
        agent = Agent(model=model, **options)
        async with running(agent, on_worker_lost="continue") as instance:
            yield instance, server
        await model.aclose()


async def test_a_turn_goes_on_after_each_of_several_losses_and_pays_for_the_rest_only() -> None:
    stalled = [Answer(token_count=9, stall_after=number) for number in (3, 1)]
    async with serving(*stalled, Answer(token_count=9)) as (instance, server):
        talk = await ask(instance)
        await lose(talk, "c1t1 c1t2 c1t3 ")
        await lose(talk, "c1t1 c1t2 c1t3 c2t4 ")
        await talk.wait_ended()
        whole = "c1t1 c1t2 c1t3 c2t4 c3t5 c3t6 c3t7 c3t8 c3t9 "
        assert await talk.said() == [whole]
        (answer,) = answers_of(await talk.entries())
        assert (answer.usage.output_tokens, answer.interrupted) == (5, False)
        assert answer.closes is not None
        assert answer.closes.upto == len(whole) + 1  # the call's start counts one
        assert [request.body["messages"][-1]["content"] for request in server.requests[1:]] == [
            "c1t1 c1t2 c1t3",
            "c1t1 c1t2 c1t3 c2t4",
        ]
        assert [bool(fact.content_size) for fact in await talk.facts(AttemptLost)] == [True, True]
        assert (await talk.chat()).beginning_seq == 0
        assert (await examine(instance.store)).findings == ()


async def test_a_loss_before_the_first_flush_keeps_the_earlier_beginning() -> None:
    replies = [Answer(token_count=4, stall_after=1), Answer(stall_headers_s=FOREVER), Answer(token_count=4)]
    async with serving(*replies) as (instance, server):
        talk = await ask(instance)
        await lose(talk, "c1t1 ")
        await server.wait_until(lambda: len(server.requests) == 2)
        await lose(talk, "")
        await talk.wait_ended()
        assert await talk.said() == ["c1t1 c3t2 c3t3 c3t4 "]


async def test_a_release_in_mid_answer_gives_the_next_attempt_its_beginning() -> None:
    async with serving(Answer(token_count=4, stall_after=1), Answer(token_count=4)) as (instance, _):
        talk = await ask(instance)
        await talk.wait_preview("c1t1 ")
        next(iter(instance.worker._attempts.values())).stop(Stop.RELEASE)
        await talk.wait_ended()
        assert await talk.said() == ["c1t1 c2t2 c2t3 c2t4 "]
        (released,) = await talk.facts(AttemptReleased)
        assert released.content_size


CALL = FakeCall("add", {"a": 1})
UNFINISHED = {
    "an unfinished call": (Answer(text="Let me see. ", calls=(CALL,), stall_after=5), "Let me see. "),
    "reasoning": (Answer(text="So it is. ", reasoning="hm", stall_after=3), "So it"),
}


@pytest.mark.parametrize("name", UNFINISHED)
async def test_an_answer_with_more_than_text_is_written_again(name: str) -> None:
    answer, text = UNFINISHED[name]
    async with serving(answer, Answer(text="Again.")) as (instance, server):
        talk = await ask(instance)
        await talk.wait_preview(text)
        await wait_until(lambda: (draft := instance.drafts.get(talk.chat_id)) and draft.part_count == 2)
        await lose(talk, text)
        await talk.wait_ended()
        assert await talk.said() == ["Again."]
        assert server.requests[1].body["messages"][-1]["role"] == "user"


async def test_steering_that_arrives_while_no_worker_holds_the_turn_starts_a_new_answer() -> None:
    async with serving(Answer(token_count=4, stall_after=2), Answer(text="Other.")) as (instance, server):
        talk = await ask(instance)
        await talk.wait_preview("c1t1 ")
        await instance.chats.send(talk.chat_id, "Say it differently.", when_busy=WhenBusy.STEER)
        await lose(talk, "c1t1 ")
        await talk.wait_ended()
        assert await talk.said() == ["Other."]
        assert server.requests[1].body["messages"][-1]["content"] == "Say it differently."


@pytest.mark.parametrize(("status", "role"), [(429, "assistant"), (500, "user")])
async def test_a_failure_that_the_beginning_may_have_caused_is_retried_without_it(status: int, role: str) -> None:
    refused = Fault(status=status, headers={"Retry-After": "0"})
    async with serving(Answer(token_count=3, stall_after=2), refused, Answer(token_count=3)) as (instance, server):
        talk = await ask(instance)
        await lose(talk, "c1t1 ")
        await talk.wait_ended()
        assert server.requests[2].body["messages"][-1]["role"] == role
        assert await talk.endings() == [Outcome.ANSWERED]


@pytest.mark.parametrize("is_held", [False, True])
async def test_an_interrupt_before_the_model_goes_on_keeps_what_was_written(is_held: bool) -> None:
    replies = [Answer(token_count=4, stall_after=2), Answer(stall_headers_s=FOREVER), Answer(text="Next.")]
    async with serving(*replies) as (instance, server):
        talk = await ask(instance)
        await talk.wait_preview("c1t1 c1t2 ")
        if not is_held:
            instance.worker.pause()
        await lose(talk, "c1t1 c1t2 ")
        if is_held:
            await server.wait_until(lambda: len(server.requests) == 2)
        await instance.chats.interrupt(talk.chat_id, (await talk.chat()).turn_id)
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.INTERRUPTED]
        assert await talk.said() == ["c1t1 c1t2 "]
        (partial,) = answers_of(await talk.entries())
        assert (partial.interrupted, partial.closes) == (True, None)
        assert (await examine(instance.store)).findings == ()


async def test_an_agent_of_its_own_starts_again() -> None:
    may_end = asyncio.Event()

    async def agent(turn: Turn) -> Any:
        await turn.start_call(model="its own")
        yield "words"
        await may_end.wait()

    async with running(agent, on_worker_lost="continue") as instance:
        talk = await ask(instance)
        await lose(talk, "words")
        may_end.set()
        await talk.wait_ended()
        assert [fact.content_size for fact in await talk.facts(AttemptLost)] == [0]
