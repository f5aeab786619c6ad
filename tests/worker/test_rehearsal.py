"""The rehearsal model, in a time of its own."""

from __future__ import annotations

import pytest

from antiphon.core.parts import Part, Reasoning, Role, Text, ToolCall, ToolCallArgs, ToolCallOpened, ToolResult, Usage
from antiphon.errors import ERROR_KINDS, AttemptFailed, Invalid
from antiphon.models.registry import make_model
from antiphon.models.rehearsal import RUN_MAX, TICK_S, RehearsalModel
from antiphon.models.rehearsal_script import ITEMS_MAX
from antiphon.ports import Message, ModelEvent, ModelRequest, ToolSpec

pytestmark = pytest.mark.anyio


class FakeTime:
    """A clock that only sleeping moves; `late_s` is how much each sleep oversleeps."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now = 100.0
        self.late_s = late_s
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if seconds:
            self.now += seconds + self.late_s


def user(text: str, *, id: int = 2) -> Message:  # noqa: A002
    return Message(id=id, role=Role.USER, content=(Text(text),))


def request(*messages: Message, turn_failures: int = 0, tools: tuple[ToolSpec, ...] = ()) -> ModelRequest:
    return ModelRequest(
        chat_id="c",
        turn_id=2,
        model="rehearsal",
        system="",
        messages=messages,
        tools=tools,
        turn_failures=turn_failures,
    )


async def answer(asked: ModelRequest | str, time: FakeTime | None = None) -> list[ModelEvent]:
    time = time or FakeTime()
    model = RehearsalModel(monotonic=time.monotonic, sleep=time.sleep)
    asked = request(user(asked)) if isinstance(asked, str) else asked
    return [event async for event in model.stream(asked)]


def pieces(events: list[ModelEvent]) -> list[ModelEvent]:
    return [event for event in events if not isinstance(event, Usage)]


def text(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def called(*calls: ToolCall, id: int = 5) -> list[Message]:  # noqa: A002
    """An assistant's message with these calls, and their results."""
    said: list[Message] = [Message(id=id, role=Role.ASSISTANT, content=calls)]
    for n, call in enumerate(calls, 1):
        result: Part = ToolResult(call.tool_call_id, call.tool_name, "ok")
        said.append(Message(id=id + n, role=Role.TOOL, content=(result,)))
    return said


async def test_tokens_writes_numbered_words() -> None:
    assert pieces(await answer("/tokens 3")) == [Text("w1 "), Text("w2 "), Text("w3 ")]


async def test_a_script_is_done_in_the_order_of_its_lines_without_separators() -> None:
    events = await answer("/think Hm\n/say A\n/tokens 1\n/say B")
    assert pieces(events) == [Reasoning("Hm"), Text("A"), Text("w1 "), Text("B")]


async def test_say_keeps_its_text_exactly_even_line_separators_of_unicode() -> None:
    assert text(await answer("/say  a\u2028b\n\nevent: x \r")) == " a\u2028b"


async def test_the_usage_counts_text_deltas_and_words_of_the_input() -> None:
    events = await answer("/think not counted\n/tokens 5\n/say x")
    assert events[-1] == Usage(input_tokens=7, output_tokens=6, total_tokens=13)


async def test_a_usage_precedes_each_wait_so_that_an_interrupted_answer_is_counted() -> None:
    time = FakeTime()
    model = RehearsalModel(monotonic=time.monotonic, sleep=time.sleep)
    stream = model.stream(request(user("/tokens 5")))
    events = [await anext(stream) for _ in range(5)]
    await stream.aclose()
    assert [type(event) for event in events] == [Usage, Text, Usage, Text, Usage]
    assert isinstance(events[-1], Usage)
    assert events[-1].output_tokens == 2


async def test_the_default_rate_is_200_per_second() -> None:
    time = FakeTime()
    await answer("/tokens 400", time)
    assert time.now - 100 == pytest.approx(2.0)


async def test_the_last_rate_applies_to_the_whole_reply() -> None:
    time = FakeTime()
    await answer("/rate 1\n/tokens 10\n/rate 5", time)
    assert time.now - 100 == pytest.approx(2.0)


async def test_oversleeping_is_made_up_for() -> None:
    time = FakeTime(late_s=0.0123)
    await answer("/tokens 1000\n/rate 100", time)
    assert time.now - 100 == pytest.approx(10.0, abs=0.03)


async def test_at_high_rates_several_pieces_are_sent_at_each_wake_up() -> None:
    time = FakeTime()
    events = await answer("/tokens 10000\n/rate 10000", time)
    assert text(events).endswith("w10000 ")
    assert time.now - 100 == pytest.approx(1.0, abs=TICK_S)
    assert len(time.sleeps) <= 1.1 / TICK_S


async def test_rate_0_never_sleeps_but_gives_the_loop_a_turn_now_and_then() -> None:
    time = FakeTime()
    await answer(f"/rate 0\n/tokens {RUN_MAX * 3 + 1}", time)
    assert time.sleeps == [0, 0, 0]


async def test_a_stall_is_silent_and_is_not_made_up_for() -> None:
    time = FakeTime()
    await answer("/rate 10\n/tokens 10\n/stall 5\n/tokens 10", time)
    assert max(time.sleeps) == 5
    assert time.now - 100 == pytest.approx(7.0)


async def test_fail_fails_the_first_calls_of_the_turn() -> None:
    script = user("/fail rate_limit 2\n/say done")
    for turn_failures in (0, 1):
        with pytest.raises(AttemptFailed) as failure:
            await answer(request(script, turn_failures=turn_failures))
        assert (failure.value.kind, failure.value.retryable) == ("rate_limit", True)
        assert failure.value.provider == "rehearsal"
    assert text(await answer(request(script, turn_failures=2))) == "done"


@pytest.mark.parametrize("kind", sorted(ERROR_KINDS))
async def test_fail_knows_every_kind_of_error_and_fails_once_by_default(kind: str) -> None:
    with pytest.raises(AttemptFailed) as failure:
        await answer(f"/fail {kind}\n/say done")
    assert failure.value.kind == kind
    assert text(await answer(request(user(f"/fail {kind}\n/say done"), turn_failures=1))) == "done"


async def test_several_fails_follow_each_other() -> None:
    script = user("/fail network\n/fail server 2\n/say done")
    kinds = []
    for turn_failures in range(3):
        with pytest.raises(AttemptFailed) as failure:
            await answer(request(script, turn_failures=turn_failures))
        kinds.append(failure.value.kind)
    assert kinds == ["network", "server", "server"]
    assert text(await answer(request(script, turn_failures=3))) == "done"


async def test_a_fail_after_text_fails_after_it() -> None:
    time = FakeTime()
    stream = RehearsalModel(monotonic=time.monotonic, sleep=time.sleep).stream(
        request(user("/say half\n/fail network"))
    )
    assert isinstance(await anext(stream), Usage)
    assert await anext(stream) == Text("half")
    with pytest.raises(AttemptFailed):
        await anext(stream)


async def test_a_call_ends_the_model_call_and_the_next_one_continues_after_it() -> None:
    script = user('/say A\n/call add {"a": 1}\n/say B\n/call now\n/say C')
    first = pieces(await answer(request(script)))
    assert first == [Text("A"), ToolCallOpened("call-2-1", "add"), ToolCallArgs('{"a": 1}')]
    history = called(ToolCall("call-2-1", "add", {"a": 1}))
    second = pieces(await answer(request(script, *history)))
    assert second == [Text("B"), ToolCallOpened("call-2-2", "now"), ToolCallArgs("{}")]
    history += called(ToolCall("call-2-2", "now"), id=8)
    assert pieces(await answer(request(script, *history))) == [Text("C")]


async def test_adjacent_calls_are_in_one_model_call() -> None:
    script = user("/call a\n/call b\n/say done")
    events = pieces(await answer(request(script)))
    assert [event.tool_name for event in events if isinstance(event, ToolCallOpened)] == ["a", "b"]
    assert text(events) == ""
    history = called(ToolCall("call-2-1", "a"), ToolCall("call-2-2", "b"))
    assert text(await answer(request(script, *history))) == "done"


async def test_a_script_that_ends_with_a_call_ends_with_silence() -> None:
    history = called(ToolCall("call-2-1", "a"))
    assert pieces(await answer(request(user("/call a"), *history))) == []


async def test_calls_of_an_earlier_turn_do_not_count() -> None:
    history = [user("/call a", id=1), *called(ToolCall("x", "a"), id=2), user("/call b\n/say done", id=5)]
    asked = ModelRequest(chat_id="c", turn_id=5, model="rehearsal", system="", messages=tuple(history))
    assert pieces(await answer(asked))[0] == ToolCallOpened("call-5-1", "b")


async def test_steering_brings_its_own_script_and_ids_stay_unique_in_the_turn() -> None:
    history = [user("/call a"), *called(ToolCall("call-2-1", "a")), user("/call b", id=9)]
    assert pieces(await answer(request(*history)))[0] == ToolCallOpened("call-2-2", "b")


async def test_the_same_request_is_answered_the_same() -> None:
    assert await answer("Hello there") == await answer("Hello there")


async def test_a_message_without_a_script_gets_a_short_markdown_reply_about_it() -> None:
    reply = text(await answer("How are *you*?"))
    assert "**3 words**" in reply
    assert "> How are *you*?" in reply
    assert "`/tokens 300`" in reply
    assert len(reply) < 1500


async def test_the_first_reply_names_the_tools_of_the_turn() -> None:
    tool = ToolSpec(name="weather", description="", parameters={})
    assert "(here: `weather`)" in text(await answer(request(user("Hi"), tools=(tool,))))


async def test_later_replies_are_shorter() -> None:
    earlier = [user("Hi", id=2), Message(id=4, role=Role.ASSISTANT, content=(Text("Hello"),))]
    reply = text(await answer(request(*earlier, user("And now?", id=6))))
    assert "> And now?" in reply
    assert "2 messages" in reply
    assert len(reply) < 300


async def test_a_script_that_only_sets_the_scene_is_followed_by_the_reply() -> None:
    time = FakeTime()
    events = await answer("What is new?\n/think Hm\n/rate 1\n/stall 2", time)
    assert pieces(events)[0] == Reasoning("Hm")
    assert "> What is new?" in text(events)
    assert "/stall 2" not in text(events)


async def test_a_message_without_words_or_without_a_user_is_answered_too() -> None:
    assert "without words" in text(await answer(""))
    assert "without words" in text(await answer(request()))


@pytest.mark.parametrize(
    ("line", "explanation"),
    [
        ("/dance", "I do not know `/dance`"),
        ("/tokens many", "`/tokens` wants a whole number"),
        ("/tokens -1", "`/tokens` wants a whole number"),
        ("/tokens 9999999999", "up to 1,000,000"),
        ("/rate fast", "`/rate` wants a number"),
        ("/rate nan", "`/rate` wants a number"),
        ("/rate 1e-300", "at least 0.01"),
        ("/stall", "`/stall` wants a number"),
        ("/stall inf", "`/stall` wants a number"),
        ("/call", "`/call` wants a tool"),
        ("/call add {oops", "`/call add` wants its arguments as JSON"),
        ("/fail badly", "`/fail` wants a kind of error: `auth`"),
        ("/fail network often", "`/fail KIND` wants a whole number"),
        ("/say", "`/say` wants a text"),
        ("/think", "`/think` wants a text"),
    ],
)
async def test_an_invalid_line_is_answered_with_an_explanation(line: str, explanation: str) -> None:
    reply = text(await answer(f"{line}\n/say go on"))
    assert explanation in reply
    assert reply.endswith("go on")


async def test_comments_of_pasted_code_are_no_script() -> None:
    assert "**5 words**" in text(await answer("// what is\n/ this"))


async def test_a_script_has_a_bounded_number_of_lines() -> None:
    reply = text(await answer("/say x\n" * (ITEMS_MAX + 5)))
    assert reply.startswith("x" * ITEMS_MAX + "A script has at most")


async def test_the_registry_makes_the_rehearsal_model() -> None:
    model = make_model("rehearsal", env={})
    assert (model.provider, model.name) == ("rehearsal", "rehearsal")
    await model.aclose()


@pytest.mark.parametrize("name", ["", "rehearsal:", "rehearsal:x", "openai", "openai:", "clippy:95"])
def test_a_name_that_is_no_model_is_refused_with_a_list_of_what_exists(name: str) -> None:
    with pytest.raises(Invalid, match=r"there is no model .*; what exists: `rehearsal`, `openai:<model>`, .* and"):
        make_model(name, env={})
