"""Agents: functions that answer a turn. The built-in one calls a chat model with tools in a loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, closing
from typing import Any, cast

from antiphon.core.parts import (
    Data,
    File,
    FileReference,
    PartMetadata,
    Reasoning,
    Source,
    Text,
    ToolCallArgs,
    ToolCallOpened,
    Usage,
)
from antiphon.errors import AttemptFailed, Invalid, Unavailable
from antiphon.observe.metrics import METRICS
from antiphon.observe.traces import TRACES
from antiphon.ports import AnswerEnded, Message, Model, ModelEvent, ModelRequest
from antiphon.worker.blocking_turn import BlockingTurn
from antiphon.worker.refused_files import FileTrial, RefusedFiles
from antiphon.worker.structured_output import StructuredOutput
from antiphon.worker.thread import run_in_thread
from antiphon.worker.tools import Tool, tool
from antiphon.worker.trimming import TRIMS_MAX, halved, left_out_words
from antiphon.worker.turn import Turn

Piece = str | Text | Reasoning | Source | File | FileReference | Data | ToolCallOpened | ToolCallArgs | PartMetadata
AgentFunction = Callable[[Turn], AsyncIterator[Piece]]
Models = Callable[[str], Awaitable[Model]]
Prepare = Callable[[tuple[Message, ...]], Sequence[Message] | Awaitable[Sequence[Message]]]

STEPS_MAX = 100
"""Maximum number of model calls in a turn of the built-in agent."""

QUEUED_PIECES_MAX = 64
"""Maximum number of pieces of a plain generator that are queued before it is blocked."""

_END = object()


class Agent:
    """The built-in agent: calls the model, runs the tools that it calls, and repeats that until it answers in words.

    Args:
        model: The model of chats without their own: its name (`openai:…`, `rehearsal`) or a `Model`. Default: the
            server's.
        system: Precedes the owner's prompt and the chat's own system prompt.
        tools: Functions made by `@tool`, or plain functions.
        steps_max: Maximum number of model calls in a turn.
        output: What the answer is instead of text: a type that msgspec can decode (a dataclass, a Struct,
            a TypedDict, …), or a JSON Schema as a dict. It is stored and shown as a `Data` part. An answer that does
            not fit the type is a failure, which is retried.
        deps: Makes what the tools depend on (`ToolContext.deps`), for each turn: a function that gets the turn.
        prepare: Chooses the messages of each model call: gets those of the chat, and returns what the model is to see
            (a plain function, or a coroutine function). Default: all. Uploaded files are loaded after it. If the
            model says that they are too long, the oldest turns are left out, which a reasoning part says.

    Raises:
        TypeError: A function has parameters that a tool cannot have.
    """

    def __init__(
        self,
        *,
        model: str | Model = "",
        system: str = "",
        tools: Sequence[Tool | Callable[..., Any]] = (),
        steps_max: int = STEPS_MAX,
        output: Any = None,
        deps: Callable[[Turn], Any] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self.model = model
        self.system = system
        self.tools = tuple(item if isinstance(item, Tool) else tool(item) for item in tools)
        self.steps_max = steps_max
        self.output = StructuredOutput(output) if output is not None else None
        self.deps = deps
        self.prepare = prepare
        self._refused_files = RefusedFiles()

    async def run(self, turn: Turn, models: Models) -> AsyncIterator[Piece]:
        for _ in range(self.steps_max):
            has_calls = False
            async with aclosing(self._call_model(turn, models)) as pieces:
                async for piece in pieces:
                    has_calls = has_calls or isinstance(piece, ToolCallOpened)
                    yield piece
            if has_calls:
                await turn.run_streamed_calls()
            elif not await turn.take_steering_or_end():
                return
        yield f"\n\n*Stopped after {self.steps_max} steps.*"

    async def _call_model(self, turn: Turn, models: Models) -> AsyncGenerator[Piece, None]:
        """One answer of the model. While it says that the history is too long, older turns are left out; if it
        refuses the request for a file of an earlier message, that file is."""
        model = await self._model_of(turn, models)
        messages = await self._prepared(tuple(turn.messages))
        files = FileTrial(self._refused_files, (turn.chat_id, model.provider, model.name), turn.turn_id)
        left_out = trims = 0
        while True:
            has_pieces = False
            try:
                async with aclosing(self._stream(turn, model, files.shown(messages), left_out)) as pieces:
                    async for piece in pieces:
                        if not has_pieces and (note := files.note(messages)):
                            yield Reasoning(note)
                        has_pieces = True
                        yield piece
                files.accept()
                return
            except AttemptFailed as error:
                if has_pieces:
                    raise
                shorter = halved(messages)
                if error.kind != "context_length" or len(shorter) == len(messages) or trims == TRIMS_MAX:
                    files.leave_out_more(messages, error)
                    continue
                left_out += len(messages) - len(shorter)
                messages, trims = shorter, trims + 1
            yield Reasoning(left_out_words(left_out))

    async def _prepared(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        if self.prepare is None:
            return messages
        prepared = self.prepare(messages)
        return tuple(await prepared if inspect.isawaitable(prepared) else prepared)

    async def _stream(
        self, turn: Turn, model: Model, messages: tuple[Message, ...], left_out: int
    ) -> AsyncGenerator[Piece, None]:
        messages = await turn.load_files(messages)
        beginning = "" if left_out or self.output is not None else turn.beginning
        try_ = await turn.start_call(model=model.name, provider=model.provider)
        METRICS.model_calls.labels(model.provider).inc()
        tools = (*self.tools, *(item for item in turn.tools if item not in self.tools))
        note = left_out_words(left_out) if left_out else ""
        request = ModelRequest(
            chat_id=turn.chat_id,
            turn_id=turn.turn_id,
            model=model.name,
            system="\n\n".join(filter(None, (self.system, turn.system, note))),
            messages=messages,
            tools=tuple(item.spec for item in tools),
            output=self.output.format if self.output is not None else None,
            beginning=beginning,
            try_=try_,
            turn_failures=turn.failures,
        )
        usage = Usage()
        span = TRACES.start_model_call(model=model.name, provider=model.provider, chat_id=turn.chat_id)
        try:
            async with aclosing(cast("AsyncGenerator[ModelEvent, None]", model.stream(request))) as events:
                async for event in events if self.output is None else self.output.read(events):
                    if isinstance(event, Usage):
                        usage = event
                    elif isinstance(event, AnswerEnded):
                        turn.end_answer(event.outcome)
                    else:
                        yield event
        except AttemptFailed as error:
            span.fail(error.kind)
            raise
        finally:
            turn.release_files()
            span.set_usage(usage)
            span.end()
            turn.report(usage)

    async def _model_of(self, turn: Turn, models: Models) -> Model:
        if not isinstance(self.model, str):
            turn.model = self.model.name
            return self.model
        try:
            return await models(turn.model or self.model)
        except Invalid as error:
            raise AttemptFailed("invalid_request", str(error)) from error
        except Unavailable as error:
            raise AttemptFailed("server", str(error)) from error


def as_agent(agent: Any, models: Models) -> Callable[[Turn], AsyncIterator[Piece]]:
    """An agent as an async generator function. Accepts an `Agent`, an async generator function and a plain generator
    function. Raises `Invalid` for anything else."""
    if isinstance(agent, Agent):
        return lambda turn: agent.run(turn, models)
    if inspect.isasyncgenfunction(agent):
        return agent  # type: ignore[no-any-return]
    if inspect.isgeneratorfunction(agent):
        return lambda turn: _run_in_thread(agent, turn)
    raise Invalid("agent", "an agent is an Agent, or a function that yields (`async def` or `def`)")


async def _run_in_thread(agent: Callable[[Any], Any], turn: Turn) -> AsyncIterator[Piece]:
    """Run a plain generator in a thread of its own; its pieces come through a bounded queue. Closing waits for the
    thread, which stops at its next yield or call. The caller limits how long that may take."""
    blocking = BlockingTurn(turn, asyncio.get_running_loop())
    pieces: asyncio.Queue[Any] = asyncio.Queue(QUEUED_PIECES_MAX)

    def work() -> None:
        try:
            with closing(agent(blocking)) as generator:
                for piece in generator:
                    blocking.wait(lambda: pieces.put(piece))  # noqa: B023 - waited for at once
        finally:
            blocking.wait(lambda: pieces.put(_END))

    thread = asyncio.create_task(run_in_thread(work, name=f"antiphon-agent-{turn.turn_id}"))
    try:
        while (piece := await pieces.get()) is not _END:
            yield piece
        await thread
    finally:
        blocking.stop()
        await asyncio.wait({thread})
