"""One attempt at a turn, from `attempt_started` to its end: runs the agent, writes the draft, commits messages.

The attempt is stopped by a hint or by a renewal of its lease. Its end (`attempt_end.py`) never waits for an agent
that does not stop.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import structlog

from antiphon.core import commands as c
from antiphon.core.model import Chat, ErrorInfo, Needs, Outcome
from antiphon.core.parts import FileReference, text_of
from antiphon.errors import AttemptFailed
from antiphon.local.descriptors import is_out_of_descriptors
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.observe.traces import TRACES, Span
from antiphon.tracebacks import traceback_of
from antiphon.worker.agent_state import AgentState
from antiphon.worker.attempt_end import AttemptEnd
from antiphon.worker.attempt_io import AttemptIO
from antiphon.worker.attempt_usage import carried
from antiphon.worker.calls import Calls
from antiphon.worker.deps import Deps
from antiphon.worker.environment import Environment
from antiphon.worker.files import FileLoader
from antiphon.worker.foreign_errors import failure_of
from antiphon.worker.held_chat import HeldChat
from antiphon.worker.refused_files import with_names
from antiphon.worker.replay import Replay
from antiphon.worker.stop import AttemptEnded, Stop
from antiphon.worker.stop_hints import StopHints
from antiphon.worker.turn import Turn

RETRY_AFTER_S_MAX = 3600.0
"""Maximum delay before a retry that a provider may ask for, in seconds."""
PIECES_PER_ITERATION = 64
"""Pieces of an answer between two yields to the event loop."""
TOO_LONG = "The turn has more messages than an agent gets, so the agent cannot be started again in it."
CONTINUABLE = frozenset({"rate_limit", "overloaded", "timeout", "network"})
"""The failures after which the next try still goes on from the beginning of an unfinished answer."""
NO_DESCRIPTORS = AttemptFailed("overloaded", "The server has no file descriptors left.")

log = structlog.get_logger(__name__)


class Attempt:
    """`run` it as a task; `stop` asks it to end."""

    def __init__(self, environment: Environment, chat_id: str, chat: Chat) -> None:
        self._env = environment
        self._held = HeldChat(environment, chat_id, chat)
        self._calls = Calls(self._held, limits=environment.limits, child_chats=environment.child_chats)
        limits = environment.limits
        self._files = FileLoader(
            environment.work,
            chat.owner_id,
            budget=environment.file_budget,
            file_bytes_max=limits.file_bytes,
            files_bytes_max=limits.files_bytes,
        )
        self._io = AttemptIO(
            self._held, self._calls, work=environment.work, prompt_of=environment.prompt_of, files=self._files
        )
        self._end = AttemptEnd(self._held, self._calls, work=environment.work, timing=environment.timing)
        self._hints = StopHints(self._held, work=environment.work, bus=environment.bus)
        self._deps = Deps(environment.make_deps, close_s=environment.timing.pending_s)
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def chat_id(self) -> str:
        return self._held.chat_id

    @property
    def number(self) -> int:
        return self._held.attempt

    @property
    def chat(self) -> Chat:
        """The chat as this attempt last saw it."""
        return self._held.state

    def stop(self, why: Stop) -> None:
        """Ask it to end; a second call changes nothing."""
        self._held.stop(why)

    def drain(self) -> None:
        """Stop before the next step (a model call or a tool); at once if it only waits for child chats."""
        self._held.is_draining = True
        calls = self.chat.calls
        if self._env.child_chats.is_waiting(self.chat_id, self.number) and all(
            call.needs is Needs.CHILD for call in calls
        ):
            self.stop(Stop.RELEASE)

    # --- the task

    async def run(self) -> None:
        METRICS.attempts.inc()
        unsubscribe = self._hints.subscribe()
        chat = self.chat
        try:
            with TRACES.turn(
                chat_id=self.chat_id,
                turn_id=chat.turn_id,
                attempt=self.number,
                model=chat.turn_model or chat.model or self._env.default_model(),
                trace=chat.turn_trace,
            ) as span:
                await self._run_until_stopped()
                self._describe(span, chat.turn_id)
            self._held.cache_history()
            await self._held.count_unrecorded()
        finally:
            unsubscribe()
            self._held.close()
            self._files.close()
            await self._deps.close()

    def _describe(self, span: Span, turn_id: int) -> None:
        """Record how the attempt has ended."""
        chat = self._env.work.chat_nowait(self.chat_id) or self.chat
        has_ended = chat.last_turn_id == turn_id and chat.turn_id != turn_id
        span.set_usage(self._held.usage.total)
        span.set({"antiphon.outcome": chat.last_outcome if has_ended else chat.status})
        if has_ended and chat.last_outcome is Outcome.FAILED:
            span.fail(chat.last_error.kind if chat.last_error else "unknown")

    async def _run_until_stopped(self) -> None:
        work = asyncio.create_task(self._work())
        work.add_done_callback(self._wake)
        self._held.stopped.add_done_callback(self._wake)
        try:
            await self._woken
        except asyncio.CancelledError:
            work.cancel()
            raise
        if self._held.stopped.done():
            await self._end.end(work, self._held.stopped.result())
        else:
            await work

    def _wake(self, _: asyncio.Future[Any]) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    async def _work(self) -> None:
        try:
            if (command := await self._env.child_chats.end_of(self.chat)) is not None:
                await self._held.execute(command)
                self._held.check()
            await self._held.load_history()
            await self._held.wait_tools()
            self._held.deps = await self._make_deps()
            await self._calls.finish_open(leaves_unknown=self._env.is_replayed)
            await self._run_agents()
        except AttemptEnded:
            return
        except BaseException as error:
            if self._is_stopped_by(error):
                raise
            log.error("agent_failed", chat_id=self.chat_id, turn_id=self.chat.turn_id, exception=traceback_of())
            with contextlib.suppress(AttemptEnded):
                failure = AttemptFailed("unknown", f"The agent failed ({type(error).__name__}).")
                await self._fail(failure)

    async def _make_deps(self) -> Any:
        """What the agent and its tools depend on. A failure that may be retried is, like that of a model call."""
        while self._env.make_deps is not None:
            try:
                turn = self._make_turn(await self._io.read_system(), state=None)
                return await self._deps.open(turn)
            except AttemptFailed as error:
                await self._fail(error)
        return None

    async def _run_agents(self) -> None:
        """Run the agent until the attempt ends: again for a steering message, and after a failure that may be
        retried."""
        while True:
            try:
                await self._run_agent()
                await self._held.commit(is_last=True)
                self._held.steps_from = self._held.history.messages[-1].id + 1  # steering continues the turn
            except AttemptFailed as error:
                await self._fail(error)
            except Exception as error:
                if isinstance(error, AttemptEnded):
                    raise
                # a failure of this process, or of a provider that the agent's own code calls
                failure = NO_DESCRIPTORS if is_out_of_descriptors(error) else self._foreign_failure(error)
                if failure is None:
                    raise
                await self._fail(failure)

    def _foreign_failure(self, error: Exception) -> AttemptFailed | None:
        texts = (text_of(message.content) for message in reversed(self._held.history.messages))
        failure = failure_of(error, texts=texts)
        if failure is None:
            return None
        return with_names(failure, self._held.history.messages, self._held.state.turn_id)

    def _is_stopped_by(self, error: BaseException) -> bool:
        """Whether the error is how this attempt's task is stopped. (An agent may raise anything, and cancel
        itself.)"""
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if self._held.stopped.done() or self._woken.cancelled() or task is None:
                return True
            while task.cancelling():
                task.uncancel()
            return False
        return isinstance(error, GeneratorExit) and not _is_running()

    async def _run_agent(self) -> None:
        held, chat = self._held, self._held.state
        held.agent_state.reset()
        turn = held.turn = self._make_turn(await self._io.read_system(), state=held.agent_state)
        crash_point("model-before-call")
        await held.check_budget()
        if self._env.is_replayed and all(message.id != chat.turn_id for message in turn.messages):
            raise AttemptFailed("unknown", TOO_LONG, retryable=False)
        held.replay = Replay(turn.messages if self._env.is_replayed else (), held.steps_from)
        pieces = self._env.agent(turn)
        count = 0
        try:
            async for piece in pieces:
                count += 1
                if held.writer.is_closed:
                    raise AttemptEnded  # the agent ignored its cancellation
                admitted = held.replay.admit(piece)
                if admitted and held.state.calls:
                    await self._io.start_new_step()  # each result of an earlier attempt's call opens a new draft
                for each in admitted:
                    if isinstance(each, FileReference):
                        await held.retry_unavailable(partial(held.files.use, each))
                    held.writer.write(each)
                if count % PIECES_PER_ITERATION == 0:
                    await asyncio.sleep(0)
        except BaseException:
            await self._end.close_agent(pieces)
            raise
        await self._io.start_new_step()
        crash_point("model-after-stream")

    def _make_turn(self, system: str, *, state: AgentState | None) -> Turn:
        held, chat = self._held, self._held.state
        return Turn(
            self._io,
            chat_id=held.chat_id,
            turn_id=chat.turn_id,
            messages=held.history.messages,
            system=system,
            model=chat.turn_model or chat.model or self._env.default_model(),
            tools=held.tools,
            config=self._env.config,
            failures=chat.turn_failures,
            owner=chat.owner_id,
            labels=dict(chat.labels),
            state=state,
            deps=held.deps,
            parent_chat_id=chat.parent.chat_id if chat.parent else "",
        )

    # --- failures

    async def _fail(self, error: AttemptFailed) -> None:
        """Record the failure, and wait for the retry that it allows; or end the turn."""
        METRICS.model_errors.labels(error.kind).inc()
        held = self._held
        tries = held.state.tries + 1
        is_final = not error.retryable or tries >= self._env.limits.tries_max
        delay_s = None if is_final else self._delay_s(tries, error.retry_after_s)
        info = ErrorInfo(
            message=str(error),
            kind=error.kind,
            provider=error.provider or "",
            retryable=error.retryable,
            status_code=error.status_code or 0,
        )
        delay_ms = None if delay_s is None else int(delay_s * 1000)
        partial = held.partial(held.state) if is_final else {}
        used = held.usage.pending()
        await held.execute(
            c.FailAttempt(
                attempt=held.attempt,
                draft=held.state.draft,
                error=info,
                delay_ms=delay_ms,
                **carried(used),
                calls_not_begun=self._calls.not_begun(held.state),
                **partial,
            ),
            used=used,
        )
        crash_point("retry-after-append")
        if error.kind not in CONTINUABLE:
            held.beginning = ""  # it may be the reason
        await held.refresh()
        await asyncio.sleep(delay_s or 0)

    def _delay_s(self, tries: int, retry_after_s: float | None) -> float:
        """The provider's Retry-After, unless it is less than a tenth of the backoff; else the backoff. Tries never
        follow each other at once."""
        backoff = self._env.timing.retry
        if retry_after_s is not None and retry_after_s >= backoff.longest_s(tries) / 10:
            return min(retry_after_s, RETRY_AFTER_S_MAX)
        return backoff.delay_s(tries, self._env.random)


def _is_running() -> bool:
    """Whether this is a step of a task (and not the end of a coroutine that was discarded)."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
