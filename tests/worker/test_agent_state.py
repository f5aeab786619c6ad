"""`turn.state`: a JSON document per chat that is stored with the messages."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from antiphon import AgentError, ToolCall, Turn, tool
from antiphon.core import commands as c
from antiphon.core.facts import HistoryTruncated, StateChanged
from antiphon.core.model import Needs, Outcome, Status
from antiphon.options import Limits
from antiphon.server.open_instance import EmbeddedInstance as Instance

from .running import Talk, answered, ask, facts_of, results_of, running

pytestmark = pytest.mark.anyio


async def remember(turn: Turn) -> AsyncIterator[str]:
    """Remembers what was said to it."""
    turn.state["said"] = [*turn.state.get("said", []), turn.text]
    yield " ".join(turn.state["said"])


async def state_of(instance: Instance, talk: Talk) -> Any:
    state, seq = await instance.chats.agent_state(talk.chat_id)
    assert seq == (await talk.chat()).state_seq
    return msgspec.json.decode(state)


async def say(talk: Talk, *texts: str) -> None:
    for text in texts:
        await talk.send(text)
        await talk.wait_ended()


async def test_a_state_is_an_empty_object_at_first_and_lasts_from_turn_to_turn() -> None:
    async with running(remember) as instance:
        talk = await ask(instance, "a")
        await talk.wait_ended()
        await say(talk, "b")
        assert await talk.said() == ["a", "a b"]
        assert await state_of(instance, talk) == {"said": ["a", "b"]}


async def test_a_state_lasts_over_a_restart(tmp_path: Any) -> None:
    async with running(remember, data=tmp_path) as instance:
        talk = await ask(instance, "a")
        await talk.wait_ended()
    async with running(remember, data=tmp_path) as instance:
        talk = Talk(instance, talk.chat_id)
        await say(talk, "b")
        assert await talk.said() == ["a", "a b"]


async def test_a_state_is_stored_with_the_message_in_one_append_and_only_if_it_changed() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        assert turn.state == {} or turn.text == "again"
        if turn.text == "first":
            turn.state["n"] = 1
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance, "first")
        await talk.wait_ended()
        await say(talk, "again")
        entries = await talk.entries()
        assert len(facts_of(entries, StateChanged)) == 1
        (at,) = [i for i, entry in enumerate(entries) if isinstance(entry.fact, StateChanged)]
        assert [entry.more for entry in entries[at - 1 : at + 2]] == [True, True, False], "message, state, end"


async def test_an_agent_may_replace_its_state_by_any_json_value() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.state = [1, {"two": None}]
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await state_of(instance, talk) == [1, {"two": None}]


async def test_a_plain_function_has_the_state_as_well() -> None:
    def agent(turn: Any) -> Iterator[str]:
        turn.state["n"] = turn.state.get("n", 0) + 1
        turn.state = turn.state | {"replaced": True}
        yield f"{turn.state['n']}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await say(talk, "again")
        assert await talk.said() == ["1", "2"]


async def test_a_retry_and_an_edit_bring_back_the_state_before_the_messages_they_remove(tmp_path: Any) -> None:
    for data in (None, tmp_path):
        async with running(remember, data=data) as instance:
            talk = await ask(instance, "a")
            await talk.wait_ended()
            await say(talk, "b", "c")
            await talk.change(c.Retry())
            await talk.wait_ended()
            assert (await talk.said())[-1] == "a b c", "c is there once"
            second = (await talk.history())[2]
            ids = [entry.seq for entry in (await instance.store.read_messages(talk.chat_id, limit=9))[0]]
            assert second[1][0].text == "b"  # type: ignore[union-attr]
            await instance.chats.edit(talk.chat_id, ids[2], "B")
            await talk.wait_ended()
            assert await talk.said() == ["a", "a B"]
            await instance.chats.edit(talk.chat_id, ids[0], "A")
            await talk.wait_ended()
            assert await talk.said() == ["A"]
            cuts = await talk.facts(HistoryTruncated)
            assert [cut.state_seq > 0 for cut in cuts] == [True, True, False]


async def test_an_edit_of_a_message_after_the_last_change_keeps_the_state() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        if turn.text == "set":
            turn.state["n"] = 1
        yield f"{turn.state}"

    async with running(agent) as instance:
        talk = await ask(instance, "set")
        await talk.wait_ended()
        edited = await talk.send("read")
        await talk.wait_ended()
        await instance.chats.edit(talk.chat_id, edited, "read again")
        await talk.wait_ended()
        assert (await talk.said())[-1] == "{'n': 1}"


async def test_what_a_failed_or_interrupted_turn_changed_last_is_dropped() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        if turn.text == "hello":
            turn.state["kept"] = True
            yield "kept"
            return
        turn.state["lost"] = True
        yield "..."
        if turn.text == "fail":
            raise AgentError("unknown", "no", retryable=False)
        await turn.wait_interrupted()

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        await say(talk, "fail")
        await talk.send("stall")
        await talk.wait_preview("...")
        await talk.interrupt()
        await talk.wait_ended()
        assert await talk.endings() == [Outcome.ANSWERED, Outcome.FAILED, Outcome.INTERRUPTED]
        assert await state_of(instance, talk) == {"kept": True}


async def test_a_retried_try_does_not_see_what_the_failed_one_changed() -> None:
    tries = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        tries.append(dict(turn.state))
        turn.state["tries"] = len(tries)
        if len(tries) == 1:
            raise AgentError("overloaded", "later", retryable=True, retry_after_s=0.2)
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert tries == [{}, {}]
        assert await state_of(instance, talk) == {"tries": 2}


async def test_a_state_is_stored_with_a_call_and_is_there_when_the_agent_starts_again() -> None:
    seen = []

    async def agent(turn: Turn) -> AsyncIterator[str]:
        seen.append(dict(turn.state))
        turn.state["plan"] = "made"
        yield f"{await turn.ask('go?')}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        assert await state_of(instance, talk) == {"plan": "made"}
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, "yes", needs=Needs.ANSWER)
        await talk.wait_ended()
        assert seen == [{}, {"plan": "made"}]
        assert len(await talk.facts(StateChanged)) == 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"x": object()}, "is not JSON"),
        ({"x": "y" * 2_000}, "at most 1,000 are allowed"),
        (msgspec.json.decode("[" * 65 + "]" * 65), "deeper than 64"),
    ],
    ids=["an object", "too large", "too deep"],
)
async def test_a_state_that_cannot_be_stored_fails_the_turn_with_the_reason(value: Any, why: str) -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        turn.state = value
        yield "never stored whole"

    async with running(agent, limits=Limits(state_bytes=1_000)) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert why in chat.last_error.message
        assert await state_of(instance, talk) == {}


async def test_watchers_learn_that_the_state_changed_but_not_what_it_is() -> None:
    async with running(remember) as instance:
        talk = await ask(instance, "secret")
        await talk.wait_ended()
        (frame,) = [frame for frame in await talk.watch() if frame.type == "state_changed"]
        assert msgspec.json.decode(frame.data)["size"] == len('{"said":["secret"]}')
        assert b"secret" not in frame.data


async def test_a_deleted_chat_has_no_state() -> None:
    async with running(remember) as instance:
        talk = await ask(instance, "secret")
        chat = await talk.wait_ended()
        await instance.chats.delete(talk.chat_id)
        assert await instance.store.read_contents(talk.chat_id, [chat.state_seq]) == {}
        assert (await talk.chat()).state_seq == 0


# --- turn.record


async def test_a_recorded_call_is_stored_with_its_result_and_runs_nothing() -> None:
    @tool
    def search(q: str) -> str:
        raise AssertionError("the framework has run it")

    async def agent(turn: Turn) -> AsyncIterator[str]:
        yield "Searching. "
        result = await turn.record(ToolCall("search", {"q": "x"}, "c1"), {"hits": 2})
        yield f"Found {result.result['hits']}."

    async with running(agent, tools=(search,)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["Searching. ", "Found 2."]
        (result,) = await talk.results()
        assert (result.tool_call_id, result.result, result.is_error) == ("c1", {"hits": 2}, False)
        entries = await talk.entries()
        (at,) = [i for i, entry in enumerate(entries) if getattr(entry.fact, "resolves", "")]
        assert [entry.more for entry in entries[at - 1 : at + 1]] == [True, False], "one append"


async def test_a_recorded_call_is_not_stored_again_when_the_agent_starts_again() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        first = await turn.record(ToolCall("clock"), "noon")
        answer = await turn.ask("go?")
        yield f"{first.result} {answer}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_status(Status.REQUIRES_ACTION)
        (call,) = await instance.chats.open_calls(talk.chat_id)
        await instance.chats.submit_result(talk.chat_id, call.tool_call_id, "yes", needs=Needs.ANSWER)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "noon yes"
        assert [result.tool_name for result in await talk.results()] == ["clock", "ask"]


async def test_a_failed_call_is_recorded_as_one_and_a_long_result_is_cut() -> None:
    async def agent(turn: Turn) -> AsyncIterator[str]:
        await turn.record(ToolCall("fetch"), "no route", is_error=True)
        await turn.record(ToolCall("read"), "x" * 100_000)
        yield "done"

    entries = await answered(agent)
    failed, long = results_of(entries)
    assert (failed.result, failed.is_error) == ("no route", True)
    assert len(long.result) < 70_000


async def test_an_agent_may_record_or_call_again_after_a_value_was_refused() -> None:
    @tool
    def search() -> str:
        return "found"

    async def agent(turn: Turn) -> AsyncIterator[str]:
        with contextlib.suppress(NotImplementedError):
            await turn.record(ToolCall("clock"), object())
        await turn.record(ToolCall("clock"), "noon")
        turn.state["large"] = "x" * 2_000
        with contextlib.suppress(AgentError):
            await turn.call(ToolCall("search"))
        turn.state["large"] = ""
        yield f"{(await turn.call(ToolCall('search'))).result}"

    async with running(agent, tools=(search,), limits=Limits(state_bytes=1_000)) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert [(result.tool_name, result.result) for result in await talk.results()] == [
            ("clock", "noon"),
            ("search", "found"),
        ]
        assert (await talk.said())[-1] == "found"
