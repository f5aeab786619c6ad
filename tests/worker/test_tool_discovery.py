"""Which tools an agent may call: its own, the instance's, and for functions those of their module."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from antiphon import Agent, ToolCall, Turn, tool
from antiphon.errors import Invalid
from antiphon.worker.loading import load_agent
from antiphon.worker.tools.found import module_tools, tools_by_name

from .running import ask, running

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def calling(turn: Turn):
    result = await turn.call(ToolCall("add", {"a": 1, "b": 2}))
    yield f"{result.result}"


def calling_in_a_thread(turn: Any):
    result = turn.call(ToolCall("add", {"a": 3, "b": 4}))
    yield f"{result.result}"


@pytest.mark.parametrize(("agent", "said"), [(calling, "3"), (calling_in_a_thread, "7")])
async def test_a_function_agent_may_call_the_tools_of_its_module(agent: Any, said: str) -> None:
    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["", said]


APP = """
from antiphon import ToolCall, Turn, tool

def plain(text: str) -> str:
    return text.upper()

@tool
def shout(text: str) -> str:
    return text + "!"

tools = [plain]

async def agent(turn: Turn):
    one, two = await turn.call(ToolCall("shout", {"text": "hey"}), ToolCall("plain", {"text": "hey"}))
    yield f"{one.result} {two.result}"
"""


async def test_a_served_function_has_the_tools_of_its_file_and_of_its_list(tmp_path: Path) -> None:
    (tmp_path / "found_app.py").write_text(APP)
    async with running(f"{tmp_path}/found_app.py:agent") as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["", "hey! HEY"]


async def test_an_imported_agent_has_the_tools_of_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "named_app.py").write_text(
        "from worker.test_tool_discovery import calling as agent\nfrom antiphon import tool\n"
        "@tool\ndef other(): return 1\n"
    )
    agent, tools = load_agent(f"{tmp_path}/named_app.py:agent")
    assert [item.name for item in tools] == ["other"]
    assert set(tools_by_name(agent, tools)) == {"add", "other"}


async def test_plain_functions_given_to_open_instance_are_tools() -> None:
    def add(a: int, b: int) -> int:
        return 10 * (a + b)

    async with running(calling, tools=[add]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["", "30"]


async def test_a_functions_own_tools_come_before_all_others() -> None:
    async def agent(turn: Turn):
        yield f"{(await turn.call(ToolCall('add', {'a': 1, 'b': 1}))).result}"

    def own(a: int, b: int) -> int:
        return 100

    agent.tools = [tool(name="add")(own)]  # type: ignore[attr-defined]
    assert tools_by_name(agent, [add])["add"].function is own


async def test_an_agent_object_offers_only_the_tools_it_lists() -> None:
    assert tools_by_name(Agent()) == {}
    assert set(tools_by_name(Agent(tools=[add]))) == {"add"}


@pytest.mark.parametrize("items", ["add", [3], [add, "x"], {"add": add}, [Agent()]])
async def test_a_non_tool_is_rejected_with_a_sentence(items: Any) -> None:
    with pytest.raises(Invalid, match="tool"):
        tools_by_name(calling, items if isinstance(items, list) else [items])


async def test_two_tools_with_the_same_name_in_a_module_are_refused() -> None:
    module = types.ModuleType("m")
    module.__dict__.update(one=tool(name="x")(lambda a: a), two=tool(name="x")(lambda b: b), again=add, alias=add)
    with pytest.raises(Invalid, match="two tools are named 'x'"):
        tools_by_name(calling, module_tools(vars(module)))


async def test_a_variable_tools_that_is_not_a_list_is_ignored() -> None:
    assert module_tools({"tools": types.ModuleType("tools"), "add": add}) == [add]
