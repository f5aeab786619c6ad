"""Failures of providers inside frameworks and their SDKs are failures of their kind, and retried like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from antiphon import Turn
from antiphon.backoff import Backoff
from antiphon.core.facts import Entry, RetryScheduled, TurnEnded
from antiphon.core.model import Outcome
from antiphon.errors import AttemptFailed
from antiphon.options import Timing, WorkerTiming
from antiphon.testing.model_server import Answer, FakeModelServer, Fault, Reply
from antiphon.worker.foreign_errors import CHAIN_MAX, failure_of
from worker.running import answered, facts_of

if TYPE_CHECKING:  # imported when the first test of the file runs
    import agents
    import pydantic_ai
    from agents import OpenAIChatCompletionsModel
    from anthropic import AsyncAnthropic
    from langchain_openai import ChatOpenAI
    from langgraph.graph import END, START, MessagesState, StateGraph
    from openai import AsyncOpenAI
    from pydantic import SecretStr
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from antiphon.adapters import langchain, langgraph, openai_agents, openai_history
    from antiphon.adapters import pydantic_ai as pydantic_ai_adapter

pytestmark = pytest.mark.anyio

QUICK = Timing(worker=WorkerTiming(retry=Backoff(first_s=0.0, max_s=0.0)))


def own_loop(client: AsyncOpenAI) -> Any:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        request = await openai_history.request_of(turn)
        async with client.chat.completions.stream(model="m", **request) as stream:
            async for piece in openai_history.pieces_of(turn, stream):
                yield piece

    return agent


def own_loop_of_anthropic(client: AsyncOpenAI) -> Any:
    async def agent(turn: Turn) -> AsyncIterator[Any]:
        url = str(client.base_url).removesuffix("/v1/")
        async with AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as own_client:
            said = await own_client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": turn.text}]
            )
        yield "".join(block.text for block in said.content if block.type == "text")

    return agent


def of_pydantic_ai(client: AsyncOpenAI) -> Any:
    model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
    return pydantic_ai_adapter.serve(pydantic_ai.Agent(model))


def of_openai_agents(client: AsyncOpenAI) -> Any:
    return openai_agents.serve(agents.Agent(name="a", model=OpenAIChatCompletionsModel("m", client)))


def chat_model(client: AsyncOpenAI) -> ChatOpenAI:
    completions: dict[str, Any] = {"async_client": client.chat.completions, "root_async_client": client}
    return ChatOpenAI(model="m", api_key=SecretStr("k"), max_retries=0, **completions)


def of_langchain(client: AsyncOpenAI) -> Any:
    return langchain.serve(chat_model(client))


def of_langgraph(client: AsyncOpenAI) -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat_model(client).ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("answer", answer)
    built.add_edge(START, "answer")
    built.add_edge("answer", END)
    return langgraph.serve(built.compile())


async def facts_with(make: Callable[[AsyncOpenAI], Any], *replies: Reply) -> list[Entry]:
    """The facts of a turn of an agent whose provider replies so; without replies it cannot be reached."""
    async with FakeModelServer() as server:
        server.plan(*replies)
        url = server.base_url if replies else "http://127.0.0.1:9/v1"
        async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            return await answered(make(client), timing=QUICK)


AGENTS = {
    "openai": own_loop,
    "anthropic": own_loop_of_anthropic,
    "pydantic-ai": of_pydantic_ai,
    "openai-agents": of_openai_agents,
    "langchain": of_langchain,
    "langgraph": of_langgraph,
}


@pytest.mark.parametrize("name", AGENTS)
async def test_a_rate_limit_inside_a_framework_is_retried(name: str) -> None:
    entries = await facts_with(AGENTS[name], Fault(status=429), Answer(text="Done."))
    (retry,) = facts_of(entries, RetryScheduled)
    assert (retry.kind, retry.status_code) == ("rate_limit", 429)
    (end,) = facts_of(entries, TurnEnded)
    assert end.outcome is Outcome.ANSWERED


@pytest.mark.parametrize("name", AGENTS)
async def test_a_wrong_key_inside_a_framework_ends_the_turn_as_auth(name: str) -> None:
    entries = await facts_with(AGENTS[name], Fault(status=401, message="Incorrect API key provided: sk-12345678"))
    (end,) = facts_of(entries, TurnEnded)
    assert end.error is not None
    assert (end.error.kind, end.error.retryable, end.error.status_code) == ("auth", False, 401)
    assert "12345678" not in end.error.message
    assert facts_of(entries, RetryScheduled) == []


@pytest.mark.parametrize("name", AGENTS)
async def test_a_server_that_cannot_be_reached_is_a_failure_of_the_network(name: str) -> None:
    entries = await facts_with(AGENTS[name])
    assert {retry.kind for retry in facts_of(entries, RetryScheduled)} == {"network"}


@pytest.mark.parametrize(("status", "kind"), [(529, "overloaded"), (500, "server"), (408, "timeout")])
async def test_other_failures_of_a_provider_have_their_kind(status: int, kind: str) -> None:
    entries = await facts_with(own_loop_of_anthropic, Fault(status=status), Answer(text="Done."))
    assert [retry.kind for retry in facts_of(entries, RetryScheduled)] == [kind]


async def test_the_delay_that_a_provider_asks_for_is_kept() -> None:
    refused = Fault(status=429, headers={"Retry-After": "0.2"})
    entries = await facts_with(own_loop, refused, Answer(text="Done."))
    assert [retry.delay_ms for retry in facts_of(entries, RetryScheduled)] == [200]


# --- exceptions as values


def test_the_cause_of_an_exception_of_a_framework_is_found_also_in_a_group() -> None:
    outer = RuntimeError("the node failed")
    outer.__cause__ = _exception("openai", "RateLimitError")
    found = failure_of(ExceptionGroup("tasks", [ValueError("other"), outer]))
    assert isinstance(found, AttemptFailed)
    assert (found.kind, found.retryable, found.provider) == ("rate_limit", True, "openai")


def test_an_exception_of_the_application_is_none_of_a_provider() -> None:
    assert failure_of(ValueError("429")) is None
    assert failure_of(_exception("myapp", "RateLimitError")) is None
    suppressed = RuntimeError("mine")
    suppressed.__context__, suppressed.__suppress_context__ = _exception("openai", "RateLimitError"), True
    assert failure_of(suppressed) is None


def test_a_long_or_circular_chain_is_examined_up_to_its_limit() -> None:
    first: BaseException = RuntimeError("0")
    last = first
    for number in range(2 * CHAIN_MAX):
        last.__cause__ = following = RuntimeError(str(number))
        last = following
    last.__cause__ = _exception("openai", "RateLimitError")
    assert failure_of(first) is None
    first.__cause__ = first
    assert failure_of(first) is None


def test_a_message_that_repeats_the_chat_is_redacted() -> None:
    said = "my very secret sentence of the chat"
    found = failure_of(_exception("openai", "BadRequestError", f"cannot parse: {said}"), texts=[said])
    assert found is not None
    assert (found.kind, "secret" in str(found)) == ("invalid_request", False)


def _exception(module: str, name: str, text: str = "no") -> Exception:
    made: Exception = type(name, (Exception,), {"__module__": f"{module}._exceptions"})(text)
    return made
