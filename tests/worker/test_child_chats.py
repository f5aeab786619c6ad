"""Child chats: `turn.spawn` and `ToolContext.spawn`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon import ChildAnswer, ChildChat, ToolContext, Turn, tool
from antiphon import ToolCall as Call
from antiphon.core import commands as c
from antiphon.core.model import Needs, Outcome, Status
from antiphon.core.parts import ToolCall, ToolProgress
from antiphon.errors import AttemptFailed, Unavailable
from antiphon.mcp_settings import DEPTH_LABEL
from antiphon.ports import Append, Appended
from antiphon.store.memory.store import MemoryStore
from antiphon.testing.clock import START_US, FakeClock
from antiphon.testing.store import WrappedStore
from antiphon.worker.stop import Stop
from support.waiting import wait_until
from worker.running import Talk, ask, running

pytestmark = pytest.mark.anyio

MINUTE_US = 60_000_000


async def children_of(talk: Talk) -> list[Talk]:
    listed = await talk.instance.chats.list(parent=talk.chat_id)
    return [Talk(talk.instance, item.chat_id) for item in reversed(listed)]


def progress_of(talk: Talk) -> list[str]:
    draft = talk.instance.drafts.get(talk.chat_id)
    parts = [delta.part for delta in draft.read(0)] if draft else []
    return [part.text for part in parts if isinstance(part, ToolProgress)]


async def wait_children(talk: Talk, count: int) -> list[Talk]:
    async def found() -> list[Talk] | None:
        children = await children_of(talk)
        return children if len(children) == count else None

    children: list[Talk] = await wait_until(found)
    return children


async def echo_or_spawn(turn: Turn) -> Any:
    if turn.parent_chat_id:
        yield f"child says {turn.text}"
    else:
        answer = await turn.spawn(turn.text)
        yield f"{answer.outcome}: {answer.text}"


async def test_a_turn_waits_for_the_answer_of_a_child_chat() -> None:
    async with running(echo_or_spawn) as instance:
        talk = await ask(instance, "hi")
        await talk.wait_ended()
        assert await talk.said() == ["", "answered: child says hi"]
        (child,) = await children_of(talk)
        chat = await child.chat()
        assert chat.parent is not None
        assert (chat.parent.chat_id, chat.parent.root_chat_id, chat.parent.depth) == (talk.chat_id, talk.chat_id, 1)
        (call,) = [part for _, parts in await talk.history() for part in parts if isinstance(part, ToolCall)]
        assert (call.tool_name, call.tool_call_id) == ("spawn", chat.parent.tool_call_id)
        assert [item.chat_id for item in await instance.chats.list()] == [talk.chat_id]


async def test_a_message_says_who_sent_it_and_how() -> None:
    async def agent(turn: Turn) -> Any:
        said = f"{turn.message.via} {turn.message.created_by == turn.owner}"
        yield said if turn.parent_chat_id else f"{said}, {(await turn.spawn('child')).text}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "python True, chat True"


async def test_children_of_one_call_run_side_by_side() -> None:
    started: list[str] = []
    all_started = asyncio.Event()

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            started.append(turn.text)
            if len(started) == 3:
                all_started.set()
            await all_started.wait()
            yield turn.text + (f" {turn.labels['n']}" if turn.labels else "")
        else:
            answers = await turn.spawn("a", "a", ChildChat("b", title="B", system="Be b.", labels={"n": "1"}))
            yield ",".join(answer.text for answer in answers)

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "a,a,b 1"
        assert {(await child.chat()).title for child in await children_of(talk)} == {"a", "B"}


async def test_a_child_is_as_deep_as_the_chat_above_it_was_started_by_mcp() -> None:
    async def agent(turn: Turn) -> Any:
        labels = " ".join(f"{name}={value}" for name, value in sorted(turn.labels.items()))
        yield labels if turn.parent_chat_id else (await turn.spawn(ChildChat("b", labels={"n": "1"}))).text

    async with running(agent) as instance:
        talk = await ask(instance, labels={DEPTH_LABEL: "2", "m": "3"})
        await talk.wait_ended()
        assert (await talk.said())[-1] == f"{DEPTH_LABEL}=2 n=1"


async def test_children_of_calls_that_are_awaited_together_run_one_after_another() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield turn.text
        else:
            yield ",".join(answer.text for answer in await asyncio.gather(turn.spawn("a"), turn.spawn("b")))

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert await talk.said() == ["", "", "a,b"]


async def test_the_calls_of_a_turn_that_have_one_id_start_a_child_each() -> None:
    @tool
    async def research(context: ToolContext) -> str:
        """Ask a child."""
        return (await context.spawn("same")).chat_id

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield "child"
        else:
            results = [await turn.call(Call("research", id="one")) for _ in range(2)]
            yield " ".join(result.result for result in results)

    async with running(agent, tools=[research]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        children = await children_of(talk)
        assert sorted((await talk.said())[-1].split()) == sorted(child.chat_id for child in children)
        parents = [(await child.chat()).parent for child in children]
        assert {parent.tool_call_id for parent in parents if parent} == {"one", "one#2"}


class SlowChildren(WrappedStore):
    """Storing a child chat waits until `is_open` is set."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(clock=FakeClock(tick_us=1)))
        self.is_open, self.is_creating = asyncio.Event(), asyncio.Event()
        self.created: set[str] = set()

    async def append(self, append: Append) -> Appended:
        if append.chat.parent is not None:
            self.is_creating.set()
            await self.is_open.wait()
            self.created.add(append.chat_id)
        return await super().append(append)


@pytest.mark.parametrize("dies", [False, True], ids=["deletes", "dies before it deletes the children"])
async def test_a_child_that_is_created_while_its_parent_is_deleted_is_deleted(dies: bool) -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield str(await turn.ask("Which one?"))
        else:
            yield (await turn.spawn("child")).text

    store = SlowChildren()
    async with running(agent, store=store) as instance:
        talk = await ask(instance)
        await store.is_creating.wait()
        if dies:
            await instance.service.execute(talk.chat_id, c.Delete())
        else:
            await instance.chats.delete(talk.chat_id)
        store.is_open.set()
        await wait_until(lambda: len(store.created) == 1)
        (child_id,) = store.created
        await Talk(instance, child_id).wait(lambda chat: chat.is_deleted)
        await wait_until(lambda: not len(instance.worker))
        assert instance.slots.used == 0


async def test_a_child_that_fails_is_an_answer_with_its_error() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            raise AttemptFailed("invalid_request", "no such thing", retryable=False)
            yield
        answer = await turn.spawn("x")
        yield f"{answer.outcome}: {answer.error}"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "failed: no such thing"


async def test_a_child_beyond_the_budget_is_an_error_of_that_kind() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            turn.add_usage(input_tokens=100)
            yield "child"
            return
        await turn.spawn("first")
        yield (await turn.spawn("second")).outcome

    async with running(agent, budgets={"tokens_per_day": 100}) as instance:
        talk = await ask(instance)
        chat = await talk.wait_ended()
        assert chat.last_error is not None
        assert (chat.last_error.kind, chat.last_error.retryable) == ("budget_exhausted", False)
        assert "The budget of this day is used up" in chat.last_error.message
        assert (await talk.results())[-1].result["error"] == "budget_exhausted"
        assert len(await children_of(talk)) == 1


@pytest.mark.parametrize("how", ["turn.spawn", "context.spawn"])
@pytest.mark.parametrize("is_soon", [True, False], ids=["in the next minute", "in none of the next minutes"])
async def test_a_child_beyond_the_rate_limit_waits_for_one_of_the_next_minutes(how: str, is_soon: bool) -> None:
    @tool
    async def research(context: ToolContext) -> str:
        """Ask a child."""
        return (await context.spawn("second")).text

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield f"{turn.text} child"
            return
        await turn.spawn("first")
        if how == "turn.spawn":
            yield (await turn.spawn("second")).text
        else:
            yield str((await turn.call(Call("research"))).result)

    clock = FakeClock(START_US - START_US % MINUTE_US + MINUTE_US - 200_000)
    async with running(agent, tools=[research], budgets={"turns_per_minute": 2}, clock=clock) as instance:
        talk = await ask(instance)
        if is_soon:
            await wait_until(lambda: any("A child chat waits" in text for text in progress_of(talk)))
            clock.advance(1.0)
        chat = await talk.wait_ended()
        if is_soon:
            assert (await talk.said())[-1] == "second child"
        elif how == "turn.spawn":
            assert chat.last_error is not None
            assert chat.last_error.kind == "rate_limit"
        if not is_soon:
            assert (await talk.results())[-1].result["error"] == "rate_limited"


async def test_waiting_parents_give_their_slots_to_their_children() -> None:
    async with running(echo_or_spawn, concurrency=1) as instance:
        talks = [await ask(instance, f"n{i}") for i in range(5)]
        for i, talk in enumerate(talks):
            await talk.wait_ended()
            assert (await talk.said())[-1] == f"answered: child says n{i}"
        assert instance.slots.used == 0


async def test_chats_nest_to_a_maximum_depth() -> None:
    async def agent(turn: Turn) -> Any:
        answer = await turn.spawn("deeper")
        yield f"{answer.outcome} {answer.error} {answer.text}"

    async with running(agent, concurrency=2) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        depth, below = 0, talk
        while children := await children_of(below):
            depth, below = depth + 1, children[0]
        assert depth == 4
        assert (await below.chat()).last_outcome is Outcome.FAILED
        assert "chats above a child chat" in str((await below.chat()).last_error)
        assert instance.slots.used == 0


async def test_an_interrupt_of_the_parent_stops_its_children() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield "begun"
            await asyncio.Event().wait()
        await turn.spawn("a", "b")

    async with running(agent) as instance:
        talk = await ask(instance)
        children = await wait_children(talk, 2)
        for child in children:
            await wait_until(lambda child=child: child.preview == "begun")
        await talk.interrupt()
        for each in (talk, *children):
            await each.wait_ended()
            assert (await each.chat()).last_outcome is Outcome.INTERRUPTED
        assert instance.slots.used == 0


@pytest.mark.parametrize("end", ["edit", "delete"])
async def test_a_child_stops_when_its_parent_no_longer_waits(end: str) -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield "begun"
            await asyncio.Event().wait()
        elif turn.text == "hello":
            await turn.spawn("a")
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance)
        (child,) = await wait_children(talk, 1)
        await wait_until(lambda: child.preview == "begun")
        if end == "edit":
            await instance.chats.edit(talk.chat_id, 2, "something else")
            await talk.wait_ended()
            assert (await talk.said())[-1] == "done"
        else:
            await instance.chats.delete(talk.chat_id)
        await child.wait(lambda chat: chat.is_deleted or chat.last_outcome is Outcome.INTERRUPTED)


async def test_a_deleted_chat_takes_its_children_with_it() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.text != "leaf":
            await turn.spawn(*(["leaf"] * 2 if turn.parent_chat_id else ["branch"] * 2))
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        branches = await children_of(talk)
        leaves = [leaf for branch in branches for leaf in await children_of(branch)]
        assert (len(branches), len(leaves)) == (2, 4)
        for _ in range(2):
            await instance.chats.delete(talk.chat_id)
            assert all([(await each.chat()).is_deleted for each in (talk, *branches, *leaves)])


async def test_a_later_turn_of_a_child_is_a_persons_own() -> None:
    async with running(echo_or_spawn) as instance:
        talk = await ask(instance, "hi")
        await talk.wait_ended()
        (child,) = await children_of(talk)
        await instance.chats.send(child.chat_id, "more")
        await child.wait(lambda chat: chat.is_idle and chat.last_turn_id > 2)
        assert (await child.said())[-1] == "child says more"


async def test_a_parent_waits_while_a_person_goes_on_in_the_child() -> None:
    may_end = asyncio.Event()

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            await may_end.wait()
            yield f"child says {turn.text}"
        else:
            yield (await turn.spawn(turn.text)).text

    async with running(agent) as instance:
        talk = await ask(instance, "hi")
        (child,) = await wait_children(talk, 1)
        await instance.chats.send(child.chat_id, "and this")
        may_end.set()
        await talk.wait_ended()
        assert (await talk.said())[-1] == "child says and this"


async def test_a_tool_starts_child_chats() -> None:
    answers: list[ChildAnswer] = []

    @tool
    async def research(topic: str, context: ToolContext) -> str:
        """Research a topic."""
        answers.extend([await context.spawn(topic), await context.spawn(ChildChat(topic))])
        return answers[-1].text

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield f"about {turn.text}"
        else:
            yield str((await turn.call(Call("research", {"topic": "bees"}))).result)

    async with running(agent, tools=[research]) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "about bees"
        assert {answer.chat_id for answer in answers} == {child.chat_id for child in await children_of(talk)}
        assert len({answer.chat_id for answer in answers}) == 2


async def test_a_parent_shows_that_its_child_waits_for_a_person() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield str(await turn.ask("Which one?"))
        else:
            yield (await turn.spawn(ChildChat("choose", title="Choice"))).text

    async with running(agent) as instance:
        talk = await ask(instance)
        (child,) = await wait_children(talk, 1)
        chat = await child.wait(lambda chat: chat.status is Status.REQUIRES_ACTION)
        await wait_until(lambda: "Choice waits for a person" in progress_of(talk))
        call_id = chat.calls[0].tool_call_id
        await instance.chats.submit_result(child.chat_id, call_id, "this one", needs=Needs.ANSWER)
        await talk.wait_ended()
        assert (await talk.said())[-1] == "this one"


async def test_a_person_runs_the_turn_of_a_child_again() -> None:
    tries = 0

    async def agent(turn: Turn) -> Any:
        nonlocal tries
        if turn.parent_chat_id:
            tries += 1
            if tries == 1:
                raise AttemptFailed("invalid_request", "no", retryable=False)
            yield "now it works"
        else:
            yield (await turn.spawn("x")).outcome

    async with running(agent) as instance:
        talk = await ask(instance)
        await talk.wait_ended()
        (child,) = await children_of(talk)
        await instance.chats.retry(child.chat_id)
        await child.wait(lambda chat: chat.is_idle and tries == 2)
        assert (await child.said())[-1] == "now it works"


async def test_a_child_that_waits_for_a_person_is_stopped_when_its_parent_is_edited() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield str(await turn.ask("Which one?"))
        elif turn.text == "hello":
            await turn.spawn("choose")
        yield "done"

    async with running(agent) as instance:
        talk = await ask(instance)
        (child,) = await wait_children(talk, 1)
        await child.wait(lambda chat: chat.status is Status.REQUIRES_ACTION)
        await instance.chats.edit(talk.chat_id, 2, "something else")
        await child.wait(lambda chat: chat.last_outcome is Outcome.INTERRUPTED)


@tool
async def choose(context: ToolContext) -> str:
    """Ask a child, which asks a person."""
    return (await context.spawn("choose")).text


async def lose(talk: Talk) -> None:
    """The holder of the chat's turn dies, which is detected before another attempt starts."""
    worker = talk.instance.worker
    (task,) = [task for task, attempt in worker._attempts.items() if attempt.chat_id == talk.chat_id]
    talk.instance.slots.is_draining = True
    task.cancel()
    await asyncio.wait({task})
    await talk.instance.recovery.expire(talk.chat_id, (await talk.chat()).attempt, "dead")


@pytest.mark.parametrize("end", ["interrupt", "edit", "unknown"])
async def test_a_child_that_waits_for_a_person_is_stopped_although_the_holder_of_its_parent_died(end: str) -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield str(await turn.ask("Which one?"))
        elif end == "unknown":
            yield str((await turn.call(Call("choose"))).result["error"])
        elif turn.text == "hello":
            await turn.spawn("choose")
        yield "done"

    async with running(agent, tools=[choose]) as instance:
        talk = await ask(instance)
        (child,) = await wait_children(talk, 1)
        await child.wait(lambda chat: chat.status is Status.REQUIRES_ACTION)
        await lose(talk)
        assert (await child.chat()).status is Status.REQUIRES_ACTION  # the next attempt could adopt it
        if end == "interrupt":
            await talk.interrupt()
        elif end == "edit":
            await instance.chats.edit(talk.chat_id, 2, "something else")
        instance.slots.is_draining = end != "unknown"  # its next attempt starts
        await child.wait(lambda chat: chat.last_outcome is Outcome.INTERRUPTED)


async def test_a_draining_instance_releases_a_parent_that_only_waits() -> None:
    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            yield str(await turn.ask("Which one?"))
        await turn.spawn(ChildChat("choose", labels={"z": "1", "a": "2"}))

    async with running(agent) as instance:
        talk = await ask(instance)
        (child,) = await wait_children(talk, 1)
        await child.wait(lambda chat: chat.status is Status.REQUIRES_ACTION)
        async with asyncio.timeout(30):
            await instance.worker.drain(3600.0)
        assert (await talk.chat()).attempt == 0
        assert len(await children_of(talk)) == 1
        assert instance.slots.used == 0


async def test_a_child_made_by_an_earlier_attempt_is_found_whatever_has_changed() -> None:
    gate = asyncio.Event()

    async def agent(turn: Turn) -> Any:
        if turn.parent_chat_id:
            await gate.wait()
            yield "child"
        else:
            yield (await turn.spawn(ChildChat("x", labels={"z": "1", "a": "2"}))).text

    async with running(agent, mcp={}) as instance:
        talk = await ask(instance)
        await wait_children(talk, 1)
        (attempt,) = [one for one in instance.worker._attempts.values() if one.chat_id == talk.chat_id]
        await instance.chats.change(talk.chat_id, c.SetMcpServers(mcp_server_ids=()))
        attempt.stop(Stop.RELEASE)
        await talk.wait(lambda chat: chat.attempt not in (0, attempt.number))
        gate.set()
        await talk.wait_ended()
        assert (await talk.said())[-1] == "child"
        assert len(await children_of(talk)) == 1


async def test_a_child_with_a_full_command_queue_stops_no_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(echo_or_spawn) as instance:
        work = instance.worker._env.work
        monkeypatch.setattr(work, "submit_nowait", full)
        instance.worker._env.child_chats._send_nowait("c", c.Delete())  # logs, and raises nothing


def full(*_: Any, **__: Any) -> None:
    raise Unavailable("too many commands are queued for this chat")
