"""Tools: what their hints say, what a call comes to, and how often it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest

from antiphon import Agent, ToolCall, ToolContext, Turn, tool
from antiphon.core.facts import MessageAppended
from antiphon.core.parts import Role, Text, ToolCallArgs, ToolCallOpened, ToolResult
from antiphon.worker.tools.tool import OUTPUT_BYTES_MAX
from support.waiting import wait_until

from .running import answered, ask, facts_of, metric, results_of, running

pytestmark = pytest.mark.anyio


class Place(msgspec.Struct):
    """Somewhere."""

    name: str
    is_last: bool = False


@dataclass
class Route:
    stops: list[Place]
    price: float = 0.0


@tool
def travel(
    to: Annotated[str, msgspec.Meta(description="The city", min_length=1)],
    by: Literal["train", "bus"] = "train",
    people: int = 1,
    via: list[str] | None = None,
    extras: dict[str, int] = {},  # noqa: B006 - copied for each call
    stops: list[str] = ["home"],  # noqa: B006
    route: Route | None = None,
) -> dict[str, Any]:
    """Book a journey.

    It is paid for later.
    """
    stops.append("there")
    extras["bags"] = 1
    return {"to": to, "by": by, "people": people, "via": via, "stops": stops, "extras": extras, "route": route}


# --- the schema


def test_a_schema_comes_from_the_hints_and_the_docstring() -> None:
    assert travel.name == "travel"
    assert travel.description == "Book a journey.\n\nIt is paid for later."
    schema = travel.parameters
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["to"], False)
    properties = schema["properties"]
    assert properties["to"] == {"type": "string", "description": "The city", "minLength": 1}
    assert properties["by"] == {"enum": ["bus", "train"], "default": "train"}
    assert properties["people"] == {"type": "integer", "default": 1}
    assert properties["via"]["anyOf"] == [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]
    assert properties["extras"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert properties["route"]["anyOf"] == [{"$ref": "#/$defs/Route"}, {"type": "null"}]
    assert schema["$defs"]["Route"]["properties"]["stops"] == {"type": "array", "items": {"$ref": "#/$defs/Place"}}
    assert schema["$defs"]["Place"]["description"] == "Somewhere."


def test_a_schema_has_no_title() -> None:
    assert "title" not in travel.parameters
    assert msgspec.json.decode(msgspec.json.encode(travel.parameters)) == travel.parameters


def test_a_tool_without_hints_and_docstring_accepts_any_value() -> None:
    @tool
    def bare(value, other=None):  # type: ignore[no-untyped-def]
        return value

    assert bare.description == ""
    assert bare.parameters["properties"] == {"value": {}, "other": {"default": None}}


def test_the_context_is_not_in_the_schema() -> None:
    @tool(name="renamed", timeout_s=3)
    async def with_context(context: ToolContext, text: str) -> None: ...

    assert list(with_context.parameters["properties"]) == ["text"]
    assert (with_context.name, with_context.timeout_s) == ("renamed", 3)


@pytest.mark.parametrize(
    "function",
    [lambda *args: None, lambda **kwargs: None, eval("lambda a, /: None")],  # noqa: S307 - a constant
    ids=["*args", "**kwargs", "positional only"],
)
def test_a_function_with_unnamed_parameters_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        tool(function)


def test_a_tool_can_still_be_called_as_a_function() -> None:
    assert travel("Rome", people=2, stops=[], extras={})["people"] == 2


# --- what a call comes to


async def call(*tools: Any, name: str = "", args: Any = None, raw: str | None = None) -> ToolResult:
    """The result of one call by an agent; `raw` are the bytes a model might send as arguments."""

    async def agent(turn: Turn) -> AsyncIterator[Any]:
        if raw is None:
            await turn.call(ToolCall(name or tools[0].name, args if args is not None else {}))
            return
        yield ToolCallOpened("id", name or tools[0].name)
        yield ToolCallArgs(raw)
        await turn.run_streamed_calls()

    (result,) = results_of(await answered(agent, tools=tuple(tools)))
    return result


async def test_arguments_are_converted_to_their_types_and_results_to_json() -> None:
    args = {"to": "Rome", "via": ["Paris"], "route": {"stops": [{"name": "Bern"}], "price": 3}}
    result = await call(travel, args=args)
    assert not result.is_error
    assert result.result == {
        "to": "Rome",
        "by": "train",
        "people": 1,
        "via": ["Paris"],
        "stops": ["home", "there"],
        "extras": {"bags": 1},
        "route": {"stops": [{"name": "Bern", "is_last": False}], "price": 3.0},
    }


async def test_a_mutable_default_is_copied_for_each_call() -> None:
    await call(travel, args={"to": "Rome"})
    assert (await call(travel, args={"to": "Rome"})).result["stops"] == ["home", "there"]


@pytest.mark.parametrize(
    ("args", "place"),
    [
        ({}, "`to`"),
        ({"to": 3}, "`$.to`"),
        ({"to": ""}, "`$.to`"),
        ({"to": "x", "by": "plane"}, "plane"),
        ({"to": "x", "more": 1}, "`more`"),
        ({"to": "x", "route": {"stops": [{}]}}, "`$.route.stops[0]`"),
        ([1, 2], "array"),
    ],
    ids=["missing", "type", "length", "literal", "unknown", "nested", "not an object"],
)
async def test_invalid_arguments_are_an_error_that_names_the_place(args: Any, place: str) -> None:
    result = await call(travel, args=args)
    assert result.is_error
    assert result.result["error"] == "invalid_args"
    assert place in result.result["message"]


@pytest.mark.parametrize("raw", ['{"to": "Ro', "no json", '{"to": "\\ud800"}', '"text"', "null"])
async def test_arguments_that_are_not_a_json_object_are_an_error_and_stored_unchanged(raw: str) -> None:
    result = await call(travel, raw=raw)
    assert result.is_error
    assert result.result["error"] == "invalid_args"


async def test_missing_arguments_are_an_empty_object() -> None:
    @tool
    def now() -> str:
        return "noon"

    assert (await call(now, raw="")).result == "noon"
    assert (await call(now, raw="  ")).result == "noon"


async def test_an_unknown_tool_is_an_error_that_names_the_existing_ones() -> None:
    result = await call(travel, name="fly")
    assert result.is_error
    assert result.result == {"error": "unknown_tool", "message": "There is no tool 'fly'. There are: travel."}


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_a_tool_beyond_its_time_limit_is_cancelled(is_async: bool) -> None:
    may_end = threading.Event()

    @tool(timeout_s=0.05)
    async def slow_async() -> None:
        await asyncio.sleep(3600)

    @tool(timeout_s=0.05)
    def slow_plain() -> None:
        may_end.wait(30)

    result = await call(slow_async if is_async else slow_plain)
    may_end.set()
    assert result.is_error
    assert result.result == {"error": "timeout", "message": "The tool took longer than 0.05 s."}


async def test_tools_that_never_end_do_not_block_others() -> None:
    may_end = threading.Event()

    @tool(timeout_s=0.05)
    def stuck() -> None:
        may_end.wait(30)

    @tool
    def fine() -> str:
        return "fine"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        for _ in range(5):
            await turn.call(*(ToolCall("stuck") for _ in range(16)))
        await turn.call(ToolCall("fine"))
        yield ""

    abandoned = metric("abandoned_tasks")
    entries = await answered(agent, tools=(stuck, fine))
    assert results_of(entries)[-1].result == "fine"
    assert metric("abandoned_tasks") == abandoned + 80
    may_end.set()
    await wait_until(lambda: not [t for t in threading.enumerate() if t.name == "antiphon-tool-stuck"])


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such row"),
        TimeoutError("the database"),
        SystemExit(2),
        StopIteration(),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_exception_of_a_tool_is_its_result(is_async: bool, error: BaseException) -> None:
    @tool
    async def breaks_async() -> None:
        raise error

    @tool
    def breaks() -> None:
        raise error

    result = await call(breaks_async if is_async else breaks)
    assert result.is_error
    assert result.result["error"] == "failed"


async def test_a_tools_error_has_its_class_and_a_truncated_text() -> None:
    @tool
    def breaks() -> None:
        raise ValueError("x" * 10_000)

    message = (await call(breaks)).result["message"]
    assert message.startswith("ValueError: xxx")
    assert len(message) == 2000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (b"bytes", "Ynl0ZXM="),
        ({1: "a"}, {"1": "a"}),
        ({"a", "b"} - {"b"}, ["a"]),
        ("a\ud800b", "a�b"),
        ({"deep": ["a\udfff"]}, {"deep": ["a�"]}),
        ("line\x00\u2028", "line\x00\u2028"),
    ],
    ids=["none", "bytes", "int keys", "set", "surrogate", "nested surrogate", "control characters"],
)
async def test_any_value_becomes_json(value: Any, shown: Any) -> None:
    @tool
    def give() -> Any:
        return value

    assert (await call(give)).result == shown


@pytest.mark.parametrize("make", [object, lambda: (loop := [], loop.append(loop))[0]], ids=["object", "circle"])
async def test_a_value_that_json_cannot_hold_is_a_failed_result(make: Callable[[], Any]) -> None:
    @tool
    def give() -> Any:
        return make()

    result = await call(give)
    assert result.is_error
    assert result.result["error"] == "failed"


@pytest.mark.parametrize(
    "value", ["x" * (OUTPUT_BYTES_MAX + 1), ["é" * 50_000], "é" * 40_000], ids=["text", "list", "two-byte text"]
)
async def test_a_result_that_is_too_long_is_truncated_and_says_so(value: Any) -> None:
    @tool
    def give() -> Any:
        return value

    result = (await call(give)).result
    assert isinstance(result, str)
    kept, _, note = result.rpartition("\n")
    assert len(kept.encode()) <= OUTPUT_BYTES_MAX
    assert "shown]" in note


async def test_a_result_of_exactly_the_limit_is_not_truncated() -> None:
    @tool
    def give() -> str:
        return "x" * OUTPUT_BYTES_MAX

    assert (await call(give)).result == "x" * OUTPUT_BYTES_MAX


# --- progress


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_progress_is_streamed_while_a_tool_runs_and_not_stored(is_async: bool) -> None:
    go_on = threading.Event()

    @tool
    async def work_async(context: ToolContext) -> str:
        context.progress("half")
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return "done"

    @tool
    def work_plain(context: ToolContext) -> str:
        context.progress("half")
        go_on.wait(30)
        return "done"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(ToolCall("work_async" if is_async else "work_plain", id="id"))
        yield "."

    async with running(agent, tools=(work_async, work_plain)) as instance:
        talk = await ask(instance)
        watching = asyncio.create_task(talk.watch())
        await wait_until(
            lambda: instance.drafts.get(talk.chat_id) and instance.drafts.get(talk.chat_id).position == 1
        )
        go_on.set()
        parts = [msgspec.json.decode(f.data)["part"] for f in await watching if f.type == "delta"]
        assert {"type": "tool-progress", "tool_call_id": "id", "text": "half"} in parts
        assert "half" not in str(await talk.history())


async def test_progress_that_is_not_a_text_is_converted_to_one() -> None:
    @tool
    async def count(context: ToolContext) -> None:
        context.progress(42)  # type: ignore[arg-type]
        await asyncio.sleep(0)

    assert not (await call(count)).is_error


async def test_progress_after_the_turn_is_ignored() -> None:
    contexts: list[ToolContext] = []

    @tool
    async def keep(context: ToolContext) -> None:
        contexts.append(context)

    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.call(ToolCall("keep"))
        yield "done"

    async with running(agent, tools=(keep,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        before = await talk.entries()
        contexts[0].progress("late")
        await asyncio.sleep(0)
        assert await talk.entries() == before
        assert instance.drafts.get(talk.chat_id) is None


# --- models


async def test_a_model_gets_the_tools_and_their_results() -> None:
    seen: list[Any] = []

    class Listening:
        provider = name = "listening"

        async def stream(self, request: Any) -> AsyncIterator[Any]:
            seen.append(request)
            if len(seen) == 1:
                yield ToolCallOpened("id", "travel")
                yield ToolCallArgs('{"to": "Rome"}')
            else:
                yield Text("done")

        async def aclose(self) -> None: ...

    entries = await answered(Agent(model=Listening(), tools=[travel], system="Be brief."))
    first, second = seen
    assert [spec.name for spec in first.tools] == ["travel"]
    assert first.system == "Be brief."
    assert [message.role for message in second.messages] == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert (first.try_, second.try_) == (1, 1)
    assert len(facts_of(entries, MessageAppended)) == 4
