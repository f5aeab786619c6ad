"""An agent of the OpenAI Agents SDK as an agent of Antiphon: `agent = serve(my_agent)`.

Function tools, tools of MCP servers, agents as tools and handoffs run with `turn.call`: each call is committed before
it runs, runs at most once, and can be approved (`needs_approval`). After a crash the run continues from the committed
history, with the agent to which the turn was handed off. The SDK's tracing is switched off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from agents import Agent, RunConfig, RunContextWrapper, Runner, RunResultStreaming

from antiphon.adapters.openai_agents_answer import PROVIDER, AgentsAnswer, Piece
from antiphon.adapters.openai_agents_team import Team, members_of
from antiphon.adapters.recorded_calls import RecordedCalls, text_of
from antiphon.adapters.responses_history import to_responses
from antiphon.adapters.usage_meter import UsageMeter
from antiphon.errors import AttemptFailed
from antiphon.worker.turn import Turn

NESTED_APPROVAL = "A tool of a nested agent needs an approval, for which the turn cannot wait inside of a tool call."


def serve(
    agent: Agent[Any],
    *,
    context: Callable[[Turn], Any] | None = None,
    run_config: RunConfig | None = None,
    **options: Any,
) -> Callable[[Turn], AsyncIterator[Piece]]:
    """The agent as a function for `antiphon serve` and `open_instance`.

    Args:
        agent: An agent of the SDK, unchanged; also the first of several that hand off to each other. Each turn starts
            with it.
        context: Makes the context of a turn's run. Default: None.
        run_config: The SDK's settings of each run. Its tracing is switched off.
        options: Other options of `Runner.run_streamed`, such as `max_turns` (10 unless it is set) and `hooks`.

    Returns:
        A function agent.

    Raises:
        TypeError: A tool or a handoff runs where it cannot be recorded, or a tool of an agent that is a tool needs an
            approval.
    """
    members = members_of(agent)

    async def run(turn: Turn) -> AsyncIterator[Piece]:
        wrapper = RunContextWrapper(context=context(turn) if context is not None else None)
        async with aclosing(_Run(turn, wrapper).pieces(members, run_config or RunConfig(), dict(options))) as pieces:
            async for piece in pieces:
                yield piece

    return run


class _Run:
    """The SDK's run for one attempt at a turn."""

    def __init__(self, turn: Turn, context: RunContextWrapper[Any]) -> None:
        self._turn = turn
        self._context = context
        self._answer = AgentsAnswer(turn)
        self._meter = UsageMeter(turn)
        self._result: RunResultStreaming | None = None

    async def pieces(
        self, members: list[Agent[Any]], config: RunConfig, options: dict[str, Any]
    ) -> AsyncGenerator[Piece, None]:
        turn, answer = self._turn, self._answer
        team = Team(members, RecordedCalls(turn), self._context, config)
        await team.open(metadata_of=answer.call_metadata.get, wait_read=self._wait_read)
        await turn.use_tools(*team.tools(team.current(turn)))
        options |= {"context": self._context, "run_config": team.config}
        result = self._result = Runner.run_streamed(team.current(turn), await _input_of(turn), **options)
        async with aclosing(result.stream_events()) as events:  # type: ignore[type-var]
            try:
                async for event in events:
                    if event.type == "raw_response_event" and event.data.type == "response.created":
                        await turn.start_call(model=str(event.data.response.model))
                    for piece in answer.pieces_of(event):
                        yield piece
            finally:
                result.cancel()
                self._report()
        if result.interruptions:
            raise AttemptFailed("unknown", NESTED_APPROVAL, retryable=False)
        if not answer.has_text and result.final_output is not None:
            yield text_of(result.final_output)

    async def _wait_read(self) -> None:
        """Wait until what the model has written is part of the answer: the SDK runs tools meanwhile."""
        if self._result is not None:
            await self._result._event_queue.join()
        self._report()

    def _report(self) -> None:
        usage = self._context.usage
        self._meter.report(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.input_tokens_details.cached_tokens,
            reasoning_tokens=usage.output_tokens_details.reasoning_tokens,
        )


async def _input_of(turn: Turn) -> list[Any]:
    """The history as the SDK's input, after the chat's system text."""
    system = [{"role": "system", "content": turn.system}] if turn.system else []
    return system + to_responses(await turn.load_files(), provider=PROVIDER)
