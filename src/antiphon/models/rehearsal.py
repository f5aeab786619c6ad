"""The rehearsal model: built in, no network, deterministic, scripted by the message itself.

Lines of the last user message that begin with `/` are its script (`rehearsal_script`); without any it answers with a
short Markdown reply. After a `/call` the next model call continues behind it. The position in the script is counted
in the history, so a retry, a takeover or a restart continues at the same place.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import assert_never

from msgspec.structs import replace

from antiphon.core.parts import Reasoning, Role, Text, ToolCallArgs, ToolCallOpened, Usage, text_of
from antiphon.errors import AttemptFailed
from antiphon.models.history import iter_calls, since_last_user, turn_call_count, word_count
from antiphon.models.rehearsal_script import (
    Call,
    Fail,
    Item,
    Say,
    Script,
    Stall,
    Think,
    Tokens,
    parse_script,
    step_after,
)
from antiphon.ports import ModelEvent, ModelRequest

TICK_S = 0.002
"""Minimum sleep, in seconds: at high rates several pieces are sent at each wake-up."""

RUN_MAX = 256
"""Maximum number of pieces between two turns of the event loop."""

QUOTE_MAX = 200
"""Maximum length of the quoted message in a reply, in characters."""


class RehearsalModel:
    """The built-in model. It needs no key. Tests replace `monotonic` and `sleep`."""

    provider = "rehearsal"
    name = "rehearsal"

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """As the port says. A `Usage` also precedes each wait, so that an interrupted turn has the exact one."""
        rate, step = _plan(request)
        pace = Pace(rate, self._monotonic, self._sleep)
        call_number = turn_call_count(request)
        input_tokens = word_count(request)
        written = 0
        rest = _rest_of(step, request.beginning) if request.beginning else None
        if rest is not None:
            yield Text(request.beginning)
        for item in step if rest is None else rest:
            if isinstance(item, Fail):
                _fail(item, request.turn_failures)
            elif isinstance(item, Stall):
                yield _usage(input_tokens, written)
                await self._sleep(item.seconds)
                pace.restart()
            else:
                call_number += isinstance(item, Call)
                for piece in _pieces(item, f"call-{request.turn_id}-{call_number}"):
                    if not pace.run:
                        yield _usage(input_tokens, written)
                        await pace.wait()
                    pace.run -= 1
                    written += type(piece) is Text
                    yield piece
        yield _usage(input_tokens, written)

    async def aclose(self) -> None:
        """Nothing to close."""


class Pace:
    """A schedule of deadlines: piece n is due n/rate seconds after the start, however late a wake-up was.

    `run` pieces may be sent now; at 0, `wait`.
    """

    def __init__(
        self, rate: float, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._sleep = sleep
        self.restart()

    def restart(self) -> None:
        """Restart the schedule: a silence is not made up for."""
        self._start = self._monotonic()
        self._allowed = 0
        self.run = 0 if self._rate else RUN_MAX

    async def wait(self) -> None:
        """Wait until the next piece is due, and for at least one turn of the event loop."""
        if not self._rate:
            await self._sleep(0)
            self.run = RUN_MAX
            return
        wait_s = self._start + (self._allowed + 1) / self._rate - self._monotonic()
        await self._sleep(max(wait_s, TICK_S) if wait_s > 0 else 0)
        due = int((self._monotonic() - self._start) * self._rate + 1e-6)
        self.run = min(max(due - self._allowed, 1), RUN_MAX)
        self._allowed += self.run


def _plan(request: ModelRequest) -> tuple[float, tuple[Item, ...]]:
    """The rate and the items of this model call."""
    recent = since_last_user(request.messages)
    script = parse_script(text_of(recent[0].content) if recent else "")
    items = script.items
    if not script.speaks:
        items += tuple(Say(text=word) for word in re.findall(r"\s*\S+", _reply(script, request)))
    return script.rate, step_after(items, sum(1 for _ in iter_calls(recent)))


def _rest_of(step: Sequence[Item], beginning: str) -> tuple[Item, ...] | None:
    """The items that follow the beginning of this call's answer, to go on from it; None: the answer does not begin
    so. Silences and failures in the beginning do not happen again."""
    for place, item in enumerate(step):
        if not beginning:
            return tuple(step[place:])
        if isinstance(item, Stall | Fail):
            continue
        if not isinstance(item, Say | Tokens):
            return None
        for number, piece in enumerate(_pieces(item, ""), 1):
            text = piece.text if isinstance(piece, Text) else ""
            if not beginning.startswith(text):
                rest = text.removeprefix(beginning)
                return (Say(text=rest), *_after(item, number), *step[place + 1 :]) if rest != text else None
            beginning = beginning[len(text) :]
            if not beginning:
                return (*_after(item, number), *step[place + 1 :])
    return None if beginning else ()


def _after(item: Say | Tokens, number: int) -> tuple[Item, ...]:
    """The rest of an item, after its first pieces."""
    return (replace(item, first=item.first + number),) if isinstance(item, Tokens) else ()


def _pieces(
    item: Say | Think | Tokens | Call, call_id: str
) -> Iterator[Text | Reasoning | ToolCallOpened | ToolCallArgs]:
    match item:
        case Say(text=text):
            yield Text(text)
        case Think(text=text):
            yield Reasoning(text)
        case Tokens(count=count, first=first):
            for n in range(first, count + 1):
                yield Text(f"w{n} ")
        case Call(tool_name=tool_name, args=args):
            yield ToolCallOpened(call_id, tool_name)
            yield ToolCallArgs(args)
        case _:
            assert_never(item)


def _fail(item: Fail, turn_failures: int) -> None:
    if turn_failures < item.until:
        sentence = f"The rehearsal model fails because the message asked it to ({item.kind.replace('_', ' ')})."
        raise AttemptFailed(item.kind, sentence, provider=RehearsalModel.provider)


def _usage(input_tokens: int, written: int) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=written, total_tokens=input_tokens + written)


def _reply(script: Script, request: ModelRequest) -> str:
    """A reply about the message; the first one of a chat also explains the script."""
    words = len(script.prose.split())
    intro = (
        f"You sent **{words} word{'' if words == 1 else 's'}**:\n\n{_block_quote(script.prose)}"
        if words
        else ("You sent a message **without words**.")
    )
    if any(message.role is Role.ASSISTANT for message in request.messages):
        turns = sum(message.role is Role.USER for message in request.messages)
        return f"{intro}\n\nThat makes {turns} messages from you here. `/tokens 300` gives you more to read."
    tools = ", ".join(f"`{tool.name}`" for tool in request.tools)
    return GREETING.format(intro=intro, tools=f" (here: {tools})" if tools else "")


def _block_quote(prose: str) -> str:
    short = prose if len(prose) <= QUOTE_MAX else prose[: QUOTE_MAX - 1].rstrip() + "…"
    return "\n".join(f"> {line}".rstrip() for line in short.split("\n"))


GREETING = """\
{intro}

I am the *rehearsal model*: built in, always the same, no key and no network. All around me is real: \
this answer is stored, streams to everyone who watches, and can be stopped, edited and retried.

Lines that begin with a slash tell me what to do:

- `/tokens 300` writes 300 words, `/rate 20` sets the pace per second
- `/think Hm, let me see` thinks aloud, `/say Hello` speaks your words
- `/call add {{"a": 1, "b": 2}}` calls a tool{tools}
- `/stall 3` falls silent, `/fail overloaded 2` fails twice and then succeeds

For a real model, start the server with `--model openai:NAME`."""
