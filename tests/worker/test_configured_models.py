"""Models of configured providers in real turns: the right place, the right key, the parameters, the prompt; and what
changes is in use from the next call on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, tool
from antiphon.core.facts import TurnEnded
from antiphon.core.model import Outcome
from antiphon.errors import Invalid
from antiphon.models.secret_box import make_key
from antiphon.options import ConfigTiming, Timing
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer, Fault
from support.waiting import wait_until

from .running import Talk, ask, running

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key to seal with, and what the operator has said of another provider."""
    monkeypatch.setenv("ANTIPHON_SECRET_KEY", make_key())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-operator")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-operator")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-of-the-operator: 1\nauthorization: Bearer other")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with FakeModelServer() as server:
        yield server


@asynccontextmanager
async def configured(server: FakeModelServer, agent: Any = None, **options: Any) -> AsyncIterator[Instance]:
    """An instance with a provider `acme`, which is the server."""
    async with running(agent, **{"allow_outbound": ("127.0.0.1",)} | options) as instance:
        await instance.configs.create_provider(name="acme", kind="openai", base_url=server.base_url, secret=KEY)
        yield instance


async def answered(instance: Instance, **fields: Any) -> Talk:
    talk = await ask(instance, **fields)
    await talk.wait_ended()
    return talk


async def failure(instance: Instance, **fields: Any) -> str:
    """Why the turn failed."""
    talk = await answered(instance, **fields)
    (ended,) = await talk.facts(TurnEnded)
    assert ended.outcome is Outcome.FAILED
    assert ended.error is not None
    assert KEY not in ended.error.message
    return ended.error.message


async def test_a_provider_is_asked_at_its_address_with_its_secret_and_nothing_of_the_operators(
    server: FakeModelServer,
) -> None:
    async with configured(server) as instance:
        talk = await answered(instance, model="acme:small")
        assert (await talk.said())[0].startswith("c1t1 ")
    (seen,) = server.requests
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert "operator" not in repr(seen.headers)
    assert seen.body["model"] == "small"
    assert {"x-stainless-lang", "openai-organization", "openai-project"}.isdisjoint(seen.headers)


async def test_a_provider_without_a_secret_is_given_none(server: FakeModelServer) -> None:
    async with configured(server) as instance:
        await instance.configs.change_provider(instance.configs.current.providers[0].provider_id, secret=None)
        await answered(instance, model="acme:small")
    assert "authorization" not in server.requests[0].headers


async def test_secrets_come_from_variables_and_files_as_they_are_at_the_call(
    server: FakeModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACME_KEY", "by-variable")
    async with configured(server, secrets_dir=str(tmp_path)) as instance:
        provider_id = instance.configs.current.providers[0].provider_id
        await instance.configs.change_provider(provider_id, secret="env:ACME_KEY")
        await answered(instance, model="acme:small")
        await instance.configs.change_provider(provider_id, secret=f"file:{tmp_path}/acme")
        assert "cannot be read here" in await failure(instance, model="acme:small")
        for text in ("by-file", "renewed"):
            (tmp_path / "acme").write_text(text)
            await answered(instance, model="acme:small")
    sent = [seen.headers["authorization"] for seen in server.requests]
    assert sent == ["Bearer by-variable", "Bearer by-file", "Bearer renewed"]


async def test_a_model_configuration_is_chosen_by_name_or_id_with_its_parameters(
    server: FakeModelServer,
) -> None:
    async with configured(server) as instance:
        made = await instance.configs.create_model_config(
            name="Careful", model="acme:large", parameters={"temperature": 0, "max_tokens": 7, "x": {"y": [1]}}
        )
        for name in ("Careful", made.config_id):
            await answered(instance, model=name)
    for seen in server.requests:
        assert seen.body["model"] == "large"
        assert (seen.body["temperature"], seen.body["max_tokens"], seen.body["x"]) == (0, 7, {"y": [1]})
        assert seen.body["stream"] is True


async def test_the_default_is_used_if_no_model_is_named(server: FakeModelServer) -> None:
    async with configured(server) as instance:
        assert "c1t1" not in (await (await answered(instance)).said())[0]
        await instance.configs.create_model_config(name="Usual", model="acme:small", is_default=True)
        assert "c1t1" in (await (await answered(instance)).said())[0]
        assert "c" not in (await (await answered(instance, model="rehearsal", text="/say 0")).said())[0]
        assert len(server.requests) == 1
    async with configured(server, model="rehearsal") as instance:
        await instance.configs.create_model_config(name="Usual", model="acme:small", is_default=True)
        await answered(instance)
        assert len(server.requests) == 1


async def test_a_configured_provider_wins_over_the_environments(
    server: FakeModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    async with configured(server) as instance:
        await instance.configs.change_provider(instance.configs.current.providers[0].provider_id, name="openai")
        await answered(instance, model="openai:small")
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_what_is_switched_off_or_unknown_says_so(server: FakeModelServer) -> None:
    async with configured(server) as instance:
        await instance.configs.create_model_config(name="Old", model="acme:old", is_enabled=False)
        assert "'Old' is switched off" in await failure(instance, model="Old")
        await instance.configs.change_provider(instance.configs.current.providers[0].provider_id, is_enabled=False)
        assert "'acme' is switched off" in await failure(instance, model="acme:small")
        with pytest.raises(Invalid, match="no model 'emca:small'"):
            await ask(instance, model="emca:small")
        await instance.configs.create_provider(name="bare", kind="openai")
        assert "'bare' has no secret" in await failure(instance, model="bare:small")
    assert server.requests == []


async def test_a_provider_of_the_rehearsal_answers_under_its_own_name() -> None:
    async with running() as instance:
        await instance.configs.create_provider(name="demo", kind="rehearsal")
        talk = await answered(instance, model="demo:any", text="/say hello")
        assert await talk.said() == ["hello"]


async def test_a_key_of_another_instance_is_a_clear_error(
    server: FakeModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with configured(server, data=tmp_path / "data"):
        pass
    monkeypatch.setenv("ANTIPHON_SECRET_KEY", make_key())
    async with running(data=tmp_path / "data", allow_outbound=("127.0.0.1",)) as instance:
        assert "which this instance was not given" in await failure(instance, model="acme:small")
    assert server.requests == []


async def test_the_default_of_an_instance_may_be_a_configured_model(server: FakeModelServer, tmp_path: Path) -> None:
    async with configured(server, data=tmp_path / "data"):
        pass
    async with running(data=tmp_path / "data", allow_outbound=("127.0.0.1",), model="acme:small") as instance:
        await answered(instance)
    assert len(server.requests) == 1
    with pytest.raises(Invalid, match="there is no model 'emca:small'"):
        async with running(data=tmp_path / "data", model="emca:small"):
            pass


# --- addresses


async def test_a_host_that_is_not_public_is_not_asked_and_not_asked_again(server: FakeModelServer) -> None:
    async with running(allow_outbound=("public.example.com",)) as instance:
        port = server.base_url.split(":")[2]
        await instance.configs.create_provider(
            name="acme", kind="openai", base_url=f"https://localhost:{port}", secret=KEY
        )
        talk = await answered(instance, model="acme:small")
        (ended,) = await talk.facts(TurnEnded)
        assert ended.error is not None
        assert "leads to no public place" in ended.error.message
        assert await talk.retries() == []
    assert server.requests == []


async def test_a_redirect_is_not_followed(server: FakeModelServer) -> None:
    async with FakeModelServer() as other:
        place = f"{other.base_url}/chat/completions"
        server.plan(*(Fault(status=status, headers={"Location": place}) for status in (302, 307)))
        async with configured(server) as instance:
            for _ in range(2):
                await failure(instance, model="acme:small")
        assert other.requests == []


# --- changes


async def test_a_running_call_ends_at_its_provider_and_the_next_uses_the_new_address(server: FakeModelServer) -> None:
    server.plan(Answer(stall_after=3))
    async with configured(server) as instance, FakeModelServer() as other:
        first = await ask(instance, model="acme:small")
        await first.wait_preview("c1t3")
        provider_id = instance.configs.current.providers[0].provider_id
        await instance.configs.change_provider(provider_id, base_url=other.base_url, secret="new")
        await answered(instance, model="acme:small")
        assert other.requests[0].headers["authorization"] == "Bearer new"
        old = next(iter(instance.models._retired))
        assert old.is_open
        server.release()
        await first.wait_ended()
        assert (await first.said())[0].endswith("c1t8 ")
        assert not old.is_open


async def test_connections_to_what_is_gone_are_closed(server: FakeModelServer) -> None:
    async with configured(server) as instance:
        await answered(instance, model="acme:small")
        (client,) = instance.models._clients.values()
        assert client.is_open
        await instance.configs.delete_provider(client.provider.provider_id)
        await wait_until(lambda: not client.is_open)
        with pytest.raises(Invalid, match="no model"):
            await ask(instance, model="acme:small")


# --- prompts


@tool
async def change_prompt() -> str:
    """Something happens between two calls."""
    instance = CURRENT[0]
    await instance.configs.set_prompt(instance.owner_id, "Be long.")
    return "changed"


CURRENT: list[Instance] = []


async def test_the_owners_prompt_goes_before_the_chats_system_and_is_asked_for_at_every_call(
    server: FakeModelServer,
) -> None:
    server.plan(Answer(text="", calls=(FakeCall("change_prompt"),)))
    agent = Agent(model="acme:small", system="Of the agent.", tools=[change_prompt])
    with pytest.raises(Invalid):  # a model that is not there yet
        async with running(agent):
            pass
    agent.model = ""
    async with configured(server, agent) as instance:
        CURRENT[:] = [instance]
        await instance.configs.set_prompt(instance.owner_id, "Be brief.")
        await answered(instance, model="acme:small", system="Of the chat.")
    prompts = [seen.body["messages"][0]["content"] for seen in server.requests]
    assert prompts == ["Of the agent.\n\nBe brief.\n\nOf the chat.", "Of the agent.\n\nBe long.\n\nOf the chat."]


async def test_an_owners_prompt_is_sent_in_their_chats_only(server: FakeModelServer) -> None:
    async with configured(server) as instance:
        other = await instance.store.create_owner("beth")
        silent = await instance.store.create_owner("carl")
        for owner_id in (instance.owner_id, other):
            await instance.configs.set_prompt(owner_id, f"canary of {owner_id}")
        for owner_id in (instance.owner_id, other, silent):
            chats = instance.chats_of(owner_id)
            done = await chats.create(chat_id=instance.ids.uuid(), content="hello", model="acme:small")
            await Talk(instance, done.chat_id).wait_ended()
    counts = [repr(seen.body).count("canary of") for seen in server.requests]
    assert counts == [1, 1, 0]
    assert f"canary of {other}" in repr(server.requests[1].body)


# --- replicas


async def test_a_change_on_one_instance_is_used_by_the_next_call_of_another_without_hints(
    server: FakeModelServer, tmp_path: Path
) -> None:
    """Two instances on one store without a common bus."""
    from antiphon.clock import SystemClock
    from antiphon.store.memory.store import MemoryStore

    timing = Timing(config=ConfigTiming(poll_s=0.05))
    store = MemoryStore(clock=SystemClock())
    async with (
        configured(server, store=store, timing=timing) as writer,
        running(store=store, allow_outbound=("127.0.0.1",), timing=timing) as reader,
    ):
        version = writer.configs.current.version
        await wait_until(lambda: reader.configs.current.version == version)
        await writer.configs.create_model_config(name="Usual", model="acme:new", is_default=True)
        await wait_until(lambda: reader.configs.current.version == version + 1)
        await asyncio.gather(*(answered(instance) for instance in (reader, writer)))
    assert [seen.body["model"] for seen in server.requests] == ["new", "new"]


# --- the secret


async def test_no_failure_contains_the_secret(server: FakeModelServer, caplog: pytest.LogCaptureFixture) -> None:
    letters = "swordfish"
    faults = [
        Fault(status=status, message=f"your key {secret} is wrong", code=secret, type=secret)
        for status in (400, 401, 404, 302)
        for secret in (KEY, letters)
    ]
    faults.append(Fault(status=400, body=f"<p>{KEY}</p>".encode()))
    in_stream = {"message": KEY, "code": letters, "type": "invalid_request_error"}
    server.plan(*faults, Answer(error_after=1, error=in_stream))
    async with configured(server) as instance:
        provider_id = instance.configs.current.providers[0].provider_id
        for secret in (KEY, letters):
            await instance.configs.change_provider(provider_id, secret=secret)
            for _ in range(5):
                message = await failure(instance, model="acme:small")
                assert secret not in message
        shown = repr((instance.configs.current, instance.options, instance.models.__dict__))
    assert KEY not in shown + caplog.text
    assert letters not in shown + caplog.text
