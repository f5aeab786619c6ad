"""Tools of a real MCP server, made with the official SDK, over stdio and streamable HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, tool
from antiphon.core.facts import ActionRequired
from antiphon.core.model import Outcome, Status
from antiphon.models.openai import OpenAIModel
from antiphon.server.open_instance import EmbeddedInstance as Instance
from antiphon.testing.model_server import Answer, FakeCall, FakeModelServer
from support.waiting import wait_until

from ..running import ask, running
from .servers import ToolServer, call, result_of, serving, tool_server, wait_state

pytestmark = pytest.mark.anyio


PNG = bytes.fromhex("89504e470d0a1a0a")


@pytest.fixture(params=["stdio", "http"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["http", pytest.param("stdio", marks=pytest.mark.slow)])
def any_transport(request: pytest.FixtureRequest) -> str:
    """For tests of what is above the transport: each server over stdio takes more than a second to start."""
    return str(request.param)


# --- results


async def test_a_result_is_text_a_structure_an_image_or_an_error(tmp_path: Path, any_transport: str) -> None:
    async with tool_server(tmp_path, any_transport) as server, serving(server) as instance:
        added = await call(instance, "t_add", '{"a": 1, "b": 2}')
        assert (added.result, added.is_error) == ({"result": 3}, False)
        assert (await call(instance, "t_person")).result == {"name": "Ada", "age": 36}
        failed = await call(instance, "t_fail", '{"reason": "no"}')
        assert (failed.result, failed.is_error) == ("Error executing tool fail", True)
        wrong = await call(instance, "t_add", '{"a": "x"}')
        assert wrong.is_error


async def bytes_of(instance: Instance, file_id: str) -> bytes:
    file = await instance.files.get(instance.owner_id, file_id)
    return b"".join([piece async for piece in await instance.files.open(file, 0, file.size)])


async def test_images_sounds_and_resources_become_files(tmp_path: Path) -> None:
    async with tool_server(tmp_path, "stdio") as server, serving(server) as instance:
        result = (await call(instance, "t_gallery")).result
        image, sound, text, resource, other = result["content"]
        assert image == {"type": "file-reference", "file_name": "", "media_type": "image/png", "size": 300_000} | (
            {"file_id": image["file_id"]}
        )
        assert (sound["media_type"], sound["size"]) == ("audio/wav", 4)
        assert text == {"type": "resource", "uri": "note://a", "media_type": "text/plain", "text": "a note"}
        assert (resource["file_name"], resource["uri"]) == ("report.pdf", "file:///reports/report.pdf")
        assert resource["media_type"] == "application/pdf"
        assert other == {"type": "image", "media_type": "image/png", "omitted": "the server sent no valid base64"}
        assert await bytes_of(instance, image["file_id"]) == PNG + bytes(300_000 - len(PNG))
        assert (await call(instance, "t_picture", '{"size": 300000}')).result == {"content": [image]}, "stored once"
        count, _ = await instance.store.file_usage(instance.owner_id)
        assert count == 3


async def test_a_wrong_media_type_and_a_file_that_is_too_large_are_no_failures(tmp_path: Path) -> None:
    limits = {"file_bytes": 1_000}
    async with (
        tool_server(tmp_path, "stdio") as server,
        running(Agent(), mcp={"t": server.settings()}, limits=limits) as instance,
    ):
        (mislabelled,) = (await call(instance, "t_mislabelled")).result["content"]
        assert mislabelled["media_type"] == "image/png", "the server says that it is a JPEG"
        (large,) = (await call(instance, "t_picture", '{"size": 3000}')).result["content"]
        assert large["type"] == "image"
        assert "too large" in large["omitted"]


async def test_progress_reaches_the_watchers(tmp_path: Path, any_transport: str) -> None:
    async with tool_server(tmp_path, any_transport) as server, serving(server) as instance:
        done = await instance.chats.create(content='/call t_slow {"name": "n"}')
        async for event in instance.chats.watch(done.chat_id, after="0"):
            if "ToolProgress" in repr(event):
                assert "1/10 n has begun" in repr(event)
                break
        await instance.chats.interrupt(done.chat_id, (await instance.chats.get(done.chat_id)).turn_id)


async def test_the_program_gets_only_path_home_and_the_variables_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_ANOTHER", "x")
    monkeypatch.setenv("WORK_TOKEN", "y")
    async with (
        tool_server(tmp_path, "stdio") as server,
        serving(server, env=("TOKEN=WORK_TOKEN", "NOT_SET")) as instance,
    ):
        names = (await call(instance, "t_environment")).result["result"]
        assert set(names) - {"LC_CTYPE"} == {"PATH", "HOME", "TOKEN"}  # Python sets LC_CTYPE by itself


# --- which tools


async def test_tools_are_allowed_denied_prefixed_and_approved(tmp_path: Path) -> None:
    async with tool_server(tmp_path, "stdio") as server:
        more: dict[str, Any] = {"allow": ("add", "s*", "die"), "deny": ("die",), "prefix": "x-"}
        async with serving(server, tool_approval={"add": "always"}, **more) as instance:
            await wait_state(instance, "connected")
            assert instance.mcp.states()[0].tools == ("x-add", "x-slow")
            talk = await ask(instance, '/call x-add {"a": 1, "b": 2}')
            await talk.wait_status(Status.REQUIRES_ACTION)
            (required,) = await talk.facts(ActionRequired)
            assert required.calls[0].tool_name == "x-add"
            assert "add 1 2" not in server.lines()
            await instance.chats.approve(talk.chat_id, required.calls[0].tool_call_id)
            await talk.wait_ended()
            assert (await result_of(talk)).result == {"result": 3}


async def test_a_tool_runs_again_after_its_worker_was_lost_only_if_its_server_allows_it(tmp_path: Path) -> None:
    async with tool_server(tmp_path, "stdio") as server, serving(server) as instance:
        await wait_state(instance, "connected")
        tools = instance.mcp.tools_of((await instance.chats.create()).chat)
        assert {name for name, item in tools.items() if item.is_idempotent} == {
            "t_add"
        }  # read-only by its annotation


async def test_a_tool_of_the_agent_wins_over_a_tool_of_a_server_with_its_name(tmp_path: Path) -> None:
    @tool(name="t_add")
    def own(a: int, b: int) -> str:
        return "mine"

    async with tool_server(tmp_path, "stdio") as server, serving(server, Agent(tools=[own])) as instance:
        assert (await call(instance, "t_add", '{"a": 1, "b": 2}')).result == "mine"


async def test_a_chat_uses_the_servers_that_it_names(tmp_path: Path) -> None:
    async with tool_server(tmp_path, "stdio") as server, serving(server) as instance:
        (state,) = instance.mcp.states()
        none = await ask(instance, '/call t_add {"a": 1, "b": 2}', mcp_server_ids=[])
        await none.wait_ended()
        assert (await result_of(none)).result["error"] == "unknown_tool"
        await instance.chats.set_mcp_servers(none.chat_id, [state.id.upper()])
        await none.send('/call t_add {"a": 1, "b": 2}')
        await none.wait_ended()
        assert (await none.results())[-1].result == {"result": 3}
        assert (await none.chat()).mcp_server_ids == (state.id,)
        with pytest.raises(Exception, match="there is no MCP server nothing"):
            await instance.chats.set_mcp_servers(none.chat_id, ["nothing"])


async def test_the_next_model_call_offers_a_tool_that_was_added(tmp_path: Path, any_transport: str) -> None:
    async with FakeModelServer() as provider, tool_server(tmp_path, any_transport) as server:
        provider.plan(
            Answer(calls=(FakeCall("t_grow", {"name": "fresh"}),)),
            Answer(calls=(FakeCall("t_echo", {"text": "a pause", "wait_s": 0.5}),)),
            Answer(calls=(FakeCall("t_fresh"),)),
            Answer(text="done"),
        )
        model = OpenAIModel("m", api_key="k", base_url=provider.base_url)
        async with serving(server, Agent(model=model)) as instance:
            talk = await ask(instance)
            await talk.wait_ended()
            offered = [tools_of(request.body) for request in provider.requests]
            assert ["t_fresh" in names for names in (offered[0], offered[2], offered[3])] == [False, True, True]
            assert [result.result for result in await talk.results()][-1] == {"result": "I am fresh"}
        await model.aclose()


def tools_of(body: Any) -> list[str]:
    return [item["function"]["name"] for item in body["tools"]]


# --- a server that dies, and a turn that is stopped


async def test_a_call_whose_server_is_killed_has_an_unknown_outcome_and_the_next_one_works(
    tmp_path: Path, transport: str
) -> None:
    async with tool_server(tmp_path, transport) as server, serving(server) as instance:
        result = await call(instance, "t_die", '{"name": "x"}')
        assert (result.result["error"], result.is_error) == ("connection_lost", True)
        assert "unknown whether the tool has run" in result.result["message"]
        await server.start()
        await server.wait_line("start", 2)
        await wait_state(instance, "connected")
        added = await call(instance, "t_add", '{"a": 1, "b": 2}')
        assert added.result == {"result": 3}
        assert server.lines().count("die x") == 1


async def test_a_stopped_turn_cancels_its_call_at_the_server(tmp_path: Path, transport: str) -> None:
    async with tool_server(tmp_path, transport) as server, serving(server) as instance:
        talk = await ask(instance, '/call t_slow {"name": "n"}')
        await server.wait_line("begin n")
        await talk.interrupt()
        await talk.wait_ended()
        await server.wait_line("cancelled n")
        assert await talk.endings() == [Outcome.INTERRUPTED]
        assert (await call(instance, "t_add", '{"a": 1, "b": 2}')).result == {"result": 3}
        assert server.lines().count("start") == 1


async def test_a_call_that_takes_too_long_is_an_error_and_is_cancelled(tmp_path: Path, any_transport: str) -> None:
    async with tool_server(tmp_path, any_transport) as server, serving(server, call_s=1.0) as instance:
        result = await call(instance, "t_slow", '{"name": "n"}')
        assert result.result["error"] == "timeout"
        await server.wait_line("cancelled n")


async def test_a_server_that_is_down_blocks_no_turn_and_is_reported(tmp_path: Path) -> None:
    server = ToolServer(tmp_path / "calls.log", transport="http")
    async with serving(server) as instance:
        talk = await ask(instance, "hello")
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED]
        degraded = await wait_until(instance.health.degradations)
        assert list(degraded) == ["mcp"]
        assert degraded["mcp"].startswith("not connected: t (")
        assert instance.problems() == []
        assert instance.mcp.states()[0].state == "lost"
        await server.start()
        try:
            assert (await call(instance, "t_add", '{"a": 1, "b": 2}')).result in (
                {"result": 3},
                {"error": "unknown_tool", "message": "There is no tool 't_add'. There are: none."},
            )
            await wait_state(instance, "connected")
            assert (await call(instance, "t_add", '{"a": 1, "b": 2}')).result == {"result": 3}
            await wait_until(lambda: not instance.health.degradations())
        finally:
            await server.stop()


async def test_an_address_that_is_not_public_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    async with tool_server(tmp_path, "http") as server:
        async with running(mcp={"t": server.settings()}) as instance:
            await wait_state(instance, "lost")
            assert "https only" in (instance.mcp.error or "")
        assert all("add" not in line for line in server.lines())


# --- isolation


async def test_calls_of_two_owners_never_mix(tmp_path: Path, any_transport: str) -> None:
    """Forty calls at once: each chat has its own result, and only its own progress."""
    async with tool_server(tmp_path, any_transport) as server, serving(server) as instance:
        owners = [await instance.owner_id_of(name) for name in ("ann", "bob")]
        await wait_state(instance, "connected")

        async def one(number: int) -> None:
            owner = owners[number % 2]
            canary = f"{owner}-{number}"
            args = json.dumps({"text": canary, "wait_s": 0.02 * (number % 7)})
            chats = instance.chats_of(owner)
            done = await chats.create(content=f"/call t_echo {args}")
            seen = [repr(event) async for event in chats.watch(done.chat_id, after="0", until_idle=True)]
            whole = "\n".join(seen)
            assert f"1/2 {canary}" in whole
            others = [other for other in range(40) if other != number]
            assert not any(f"{owners[other % 2]}-{other}'" in whole for other in others)
            assert f"{{'result': '{canary}'}}" in whole

        await asyncio.gather(*(one(number) for number in range(40)))
