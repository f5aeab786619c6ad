"""One attempt at a turn, from `attempt_started` to its end: runs the agent, writes the draft, commits.

Everything it writes names the attempt and the draft; what is refused as stale means that the attempt is over.
Being told to stop comes as a hint (or with a renewal) and never waits for a task that does not end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import StrEnum
from typing import Any, NoReturn

import msgspec
import structlog

from antiphon.chats.drafts import LiveDrafts
from antiphon.chats.line import Done
from antiphon.chats.service import Service, stream_channel
from antiphon.core import commands as c
from antiphon.core.facts import ActionNeeded, CallOpened
from antiphon.core.model import Call, CallState, Chat, ErrorInfo, Needs, Status
from antiphon.core.parts import (
    NO_USAGE,
    CallStarted,
    DeltaPart,
    Part,
    Role,
    Text,
    ToolCallArgs,
    ToolCallOpened,
    ToolProgress,
    ToolResult,
    Usage,
)
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.core.values import Value
from antiphon.errors import AttemptFailed, NotAllowedNow, NotFound, StaleAttempt, Unavailable
from antiphon.observe import METRICS, crash_point
from antiphon.ports import Bus, Message
from antiphon.wire.codec import encode, encode_content
from antiphon.worker.history import Histories
from antiphon.worker.tools import Tool, ToolContext
from antiphon.worker.tools.call import is_cancelled, result_of
from antiphon.worker.turn import ToolCall, Turn

ABANDON_S = 0.5
"""The stop of a turn waits so long for its task, then goes on without it."""

PENDING_S = 5.0
"""A stopped attempt waits so long for a commit that is under way."""

STORE_TRIES_MAX = 20
STORE_PAUSE_S = 0.5
"""A write that the store cannot take now is asked for again, about as long as a lease lasts."""

ANSWER_MAX = 16 * 1024 * 1024
CALLS_AT_ONCE_MAX = 16
RETRY_AFTER_MAX_S = 3600.0
PIECES_PER_TURN_OF_THE_LOOP = 64

log = structlog.get_logger(__name__)


class Stop(StrEnum):
    """Why an attempt is told to stop."""

    INTERRUPT = "interrupt"
    LOST = "lost"
    RELEASE = "release"


class Limits(Value):
    """A worker's limits; seconds."""

    tool_s: float = 300.0
    tries_max: int = 5
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    action_s: float = 24 * 3600.0


class Environment(Value, gc=True):
    """What every attempt of a worker shares."""

    service: Service
    bus: Bus
    drafts: LiveDrafts
    histories: Histories
    agent: Callable[[Turn], AsyncIterator[Any]]
    tools: dict[str, Tool]
    limits: Limits
    random: random.Random
    config: dict[str, Any]
    default_model: str


class _Over(Exception):
    """The attempt has ended, or may write nothing more: nothing is left to be done."""


class Attempt:
    """`run` it as a task; `stop` asks it to end. `chat` is the state as this attempt last saw it."""

    def __init__(self, environment: Environment, chat_id: str, chat: Chat) -> None:
        self._env = environment
        self._service = environment.service
        self.chat_id = chat_id
        self.chat = chat
        self.number = chat.attempt
        self.is_draining = False
        self._draft = environment.drafts.open(chat_id, chat.draft)
        self._usage = NO_USAGE
        self._is_writing = True
        self._is_touched = False
        self._pieces = 0
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[Stop] = loop.create_future()
        self._woken: asyncio.Future[None] = loop.create_future()
        self._ended = asyncio.Event()
        self._pending: set[asyncio.Future[Done]] = set()
        self._call_lock = asyncio.Lock()
        self._call_ids: set[str] | None = None
        self._begun: set[str] = set()
        self._turn: Turn | None = None

    def stop(self, why: Stop) -> None:
        """Ask it to end; a second call changes nothing."""
        if not self._stop.done():
            self._stop.set_result(why)

    # --- the task

    async def run(self) -> None:
        METRICS.attempts.inc()
        stop_listening = self._env.bus.subscribe(stream_channel(self.chat_id), self._on_hint)
        try:
            self.history = await self._env.histories.take(self.chat_id, self.chat.seq)
            await self._run_until_stopped()
            self._env.histories.keep(self.chat_id, self.history)
        finally:
            stop_listening()
            self._is_writing = False
            self._ended.set()
            self._env.drafts.close(self.chat_id, self._draft)

    async def _run_until_stopped(self) -> None:
        work = asyncio.create_task(self._work())
        work.add_done_callback(self._wake)
        self._stop.add_done_callback(self._wake)
        try:
            await self._woken
        except asyncio.CancelledError:
            work.cancel()
            raise
        if self._stop.done():
            await self._end(work, self._stop.result())
        else:
            await work

    def _wake(self, _: asyncio.Future[Any]) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    def _on_hint(self, message: bytes | None) -> None:
        self.look(self._service.chat_nowait(self.chat_id))

    def look(self, chat: Chat | None) -> None:
        """Compare with the chat's state: is the attempt over, was it asked to stop?"""
        if chat is None or chat.seq < self.chat.seq:
            return
        if chat.attempt != self.number:
            self.stop(Stop.LOST)
        elif chat.status is Status.INTERRUPTING:
            self.stop(Stop.INTERRUPT)

    async def _work(self) -> None:
        try:
            await self._finish_open_calls()
            while True:
                try:
                    await self._run_agent()
                    await self._commit(is_last=True)
                except AttemptFailed as error:
                    await self._fail(error)
        except _Over:
            return
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if is_cancelled(error):
                raise
            log.exception("agent_failed", chat_id=self.chat_id, turn_id=self.chat.turn_id)
            with contextlib.suppress(_Over):
                await self._fail(AttemptFailed("unknown", f"The agent failed ({type(error).__name__})."))

    async def _run_agent(self) -> None:
        chat = self.chat
        turn = self._turn = Turn(
            self,
            chat_id=self.chat_id,
            turn_id=chat.turn_id,
            messages=self.history.messages,
            system=chat.system,
            model=chat.turn_model or chat.model or self._env.default_model,
            tools=tuple(self._env.tools.values()),
            config=self._env.config,
            failures=chat.turn_failures,
        )
        crash_point("model-before-call")
        pieces = self._env.agent(turn)
        try:
            async for piece in pieces:
                if not self._is_writing:
                    raise _Over  # an agent that does not hear its cancellation
                self._write(piece)
                if self._pieces % PIECES_PER_TURN_OF_THE_LOOP == 0:
                    await asyncio.sleep(0)
        except BaseException:
            await self._close(pieces)
            raise
        crash_point("model-after-stream")

    async def _close(self, pieces: Any) -> None:
        """Let the agent clean up, for ABANDON_S at most."""
        if not hasattr(pieces, "aclose"):
            return
        try:
            async with asyncio.timeout(ABANDON_S):
                await pieces.aclose()
        except TimeoutError:
            if not self._stop.done():  # else `_end` counts it
                self._count_abandoned()

    # --- writing the draft

    def _write(self, piece: Any) -> None:
        if not self._is_writing:
            return
        if isinstance(piece, str):
            piece = Text(piece)
        elif isinstance(piece, ToolCallOpened):
            piece = ToolCallOpened(self._unique(piece.tool_call_id), piece.tool_name)
        elif not isinstance(piece, DeltaPart):
            raise TypeError(f"an agent yields text, reasoning and tool calls, not {type(piece).__name__}")
        if self._draft.write(piece) is None:
            return
        self._pieces += 1
        if self._pieces == 1:
            crash_point("model-first-delta")
        elif self._pieces == 10:
            crash_point("model-mid-stream")
        if self._draft.position > ANSWER_MAX:
            raise AttemptFailed("unknown", f"The answer is longer than {ANSWER_MAX} characters.")
        if not self._is_touched:
            self._is_touched = True
            asyncio.get_running_loop().call_soon(self._touch)

    def _touch(self) -> None:
        """Tell the watchers once for all that was written in one turn of the event loop."""
        self._is_touched = False
        self._env.drafts.touch(self.chat_id)

    def _unique(self, tool_call_id: str) -> str:
        if self._call_ids is None:
            self._call_ids = self.history.call_ids()
        first = tool_call_id or f"call_{self.number}"
        name, count = first, 1
        while name in self._call_ids:
            count += 1
            name = f"{first}#{count}"
        self._call_ids.add(name)
        return name

    def _open_draft(self, name: int) -> None:
        if name > self._draft.name:
            self._draft = self._env.drafts.open(self.chat_id, name)

    # --- commands

    async def _execute(self, command: c.Command) -> Done:
        """Send a command. If this task is cancelled meanwhile the command still runs to its end (`_end` waits).
        Raises `_Over` where this attempt may write nothing more."""
        for _ in range(STORE_TRIES_MAX):
            if not self._is_writing:
                raise _Over
            try:
                return await self._send(command)
            except (StaleAttempt, NotFound) as error:
                METRICS.fenced.inc()
                raise _Over from error
            except NotAllowedNow as error:
                if error.status != Status.INTERRUPTING:
                    raise
                self.stop(Stop.INTERRUPT)
                raise _Over from error
            except Unavailable as error:
                log.warning("write_failed", chat_id=self.chat_id, error=str(error))
                await asyncio.sleep(STORE_PAUSE_S)
        raise _Over  # its lease ends, and another attempt begins

    async def _send(self, command: c.Command) -> Done:
        task = self._service.submit_nowait(self.chat_id, command)
        self._pending.add(task)
        task.add_done_callback(self._settled)
        done = await asyncio.shield(task)
        if done.chat.seq > self.chat.seq:
            self.chat = done.chat
            if done.chat.attempt == self.number:  # else the draft is the next attempt's, which may have begun it
                self._open_draft(done.chat.draft)
        return done

    def _settled(self, task: asyncio.Future[Done]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits for it is told; an abandoned one's refusal is no news

    async def _commit(self, calls: tuple[CallOpened, ...] = (), *, is_last: bool = False) -> None:
        """Make what was written a message. Ends the turn with `is_last`, unless steering has joined."""
        draft = self._draft
        parts = [part for part in draft.content() if calls or not isinstance(part, ToolCallPart)]
        usage = self._usage if parts or is_last else NO_USAGE
        crash_point("tool-before-commit" if calls else "commit-before-append")
        await self._execute(
            c.CommitMessage(
                attempt=self.number,
                draft=draft.name,
                content=encode_content(parts) if parts else b"",
                upto=draft.position,
                calls=calls,
                usage=usage,
                model=self._turn.model if self._turn else "",
                is_last=is_last,
            )
        )
        crash_point("commit-after-append")
        if parts or self.chat.attempt != self.number:
            self._usage = NO_USAGE  # else it counts with the next message
        await self._after_commit()

    async def _after_commit(self) -> None:
        self._check()
        await self._catch_up()

    def _check(self) -> None:
        """Go on only while the chat is this attempt's and nobody has asked it to stop, as far as is known here."""
        for chat in (self.chat, self._service.chat_nowait(self.chat_id)):
            self.look(chat)
        if self._stop.done():
            raise _Over

    async def _catch_up(self) -> None:
        self.history = await self._env.histories.catch_up(self.chat_id, self.history, self.chat.seq)
        self._env.histories.keep(self.chat_id, self.history)
        if self._turn is not None:
            self._turn.messages = self.history.messages

    # --- what a turn asks for (TurnIO)

    def add_usage(self, usage: Usage) -> None:
        self._usage = self._usage + usage

    async def start_call(self, model: str, provider: str) -> int:
        if self.is_draining:
            await self._leave(Stop.RELEASE)
        self._write(CallStarted(model, provider, self.chat.tries + 1))
        return self.chat.tries + 1

    def has_steering(self) -> bool:
        chat = self._service.chat_nowait(self.chat_id) or self.chat
        return bool(chat.steering)

    async def take_steering(self) -> tuple[Message, ...]:
        seen = self.history.messages[-1].id if self.history.messages else 0
        try:
            await self._commit()
        except _Over:
            await self._leave(Stop.LOST)
        return tuple(message for message in self.history.messages if message.id > seen and message.role is Role.USER)

    async def commit_calls(self, calls: tuple[ToolCall, ...]) -> tuple[ToolResult, ...]:
        args = [encode(call.args).decode() for call in calls]
        try:
            async with self._call_lock:
                for call, text in zip(calls, args, strict=True):
                    self._write(ToolCallOpened(call.id, call.name))
                    self._write(ToolCallArgs(text))
                parts = [part for part in self._draft.content() if isinstance(part, ToolCallPart)]
                await self._commit(tuple(self._opened(part) for part in parts))
                results = await self._run_calls(parts)
        except _Over:
            await self._leave(Stop.LOST)
        return tuple(results)

    async def _leave(self, why: Stop) -> NoReturn:
        """Leave an agent's call to `_end`, which cancels it: an exception the agent could catch."""
        self._is_writing = False
        self.stop(why)
        await self._ended.wait()
        raise asyncio.CancelledError  # of a task that the agent did not wait for

    # --- tools

    def _opened(self, part: ToolCallPart) -> CallOpened:
        tool = self._env.tools.get(part.tool_name)
        needs = Needs.APPROVAL if tool is not None and tool.needs_approval else Needs.SERVER
        return CallOpened(
            tool_call_id=part.tool_call_id,
            tool_name=part.tool_name,
            needs=needs,
            is_idempotent=tool is not None and tool.is_idempotent,
        )

    async def _run_calls(self, parts: list[ToolCallPart]) -> list[ToolResult]:
        """Run the calls that are the server's, side by side, and commit each result as it comes."""
        crash_point("tool-before-run")
        if self.is_draining:
            await self._leave(Stop.RELEASE)
        mine = [part for part in parts if self._is_begun(part)]
        waiting = asyncio.Semaphore(CALLS_AT_ONCE_MAX)
        results: dict[str, ToolResult] = {}

        async def run(part: ToolCallPart) -> None:
            async with waiting:
                self._check()
                self._begun.add(part.tool_call_id)
                results[part.tool_call_id] = await self._run_call(part)

        async with _tasks() as start:
            for part in mine:
                start(run(part))
        await self._catch_up()
        if any(call.state is CallState.AWAITING for call in self.chat.calls):
            await self._require_action(parts)
        return [results[part.tool_call_id] for part in mine]

    def _is_begun(self, part: ToolCallPart) -> bool:
        call = self.chat.call(part.tool_call_id)
        return call is not None and call.state is CallState.BEGUN

    async def _run_call(self, part: ToolCallPart) -> ToolResult:
        METRICS.tool_calls.inc()
        context = ToolContext(
            chat_id=self.chat_id,
            turn_id=self.chat.turn_id,
            tool_call_id=part.tool_call_id,
            progress=self._progress_of(part.tool_call_id),
        )
        result = await result_of(part, self._env.tools, context, tool_s=self._env.limits.tool_s)
        crash_point("tool-after-run")
        await self._execute(
            c.CommitToolResult(attempt=self.number, tool_call_id=part.tool_call_id, content=encode_content([result]))
        )
        crash_point("tool-result-after-append")
        self._check()
        return result

    def _progress_of(self, tool_call_id: str) -> Callable[[str], None]:
        loop = asyncio.get_running_loop()

        def progress(text: str) -> None:
            loop.call_soon_threadsafe(self._write, ToolProgress(tool_call_id, text))

        return progress

    async def _finish_open_calls(self) -> None:
        """Run the calls that an earlier attempt left and that may run (again): approved, idempotent, not begun."""
        if not self.chat.calls:
            return
        left = {call.tool_call_id: call for call in self.chat.calls}
        parts = [p for m in self.history.messages for p in m.content if isinstance(p, ToolCallPart)]
        await self._run_calls([part for part in parts if part.tool_call_id in left])

    async def _require_action(self, parts: list[ToolCallPart]) -> None:
        args = {part.tool_call_id: part.args for part in parts}
        calls = tuple(_needed(call, args.get(call.tool_call_id)) for call in self.chat.calls)
        deadline = self._service.store.clock.now_us() + int(self._env.limits.action_s * 1_000_000)
        await self._execute(
            c.RequireAction(attempt=self.number, draft=self.chat.draft, calls=calls, deadline=deadline)
        )
        raise _Over

    # --- failing, stopping, letting go

    async def _fail(self, error: AttemptFailed) -> None:
        """Record the failure: try again later as a fact, or end the turn."""
        METRICS.model_errors.labels(error.kind).inc()
        tries = self.chat.tries + 1
        is_final = not error.retryable or tries >= self._env.limits.tries_max
        delay_s = None if is_final else self._delay_s(tries, error.retry_after_s)
        usage = self._usage
        if is_final:
            self._usage = NO_USAGE  # else it counts with the next message
        info = ErrorInfo(
            message=str(error),
            kind=error.kind,
            provider=error.provider or "",
            retryable=error.retryable,
            status_code=error.status_code or 0,
        )
        await self._execute(
            c.FailAttempt(
                attempt=self.number,
                draft=self.chat.draft,
                error=info,
                delay_ms=None if delay_s is None else int(delay_s * 1000),
                usage=usage,
            )
        )
        crash_point("retry-after-append")
        await self._after_commit()
        await asyncio.sleep(delay_s or 0)

    def _delay_s(self, tries: int, retry_after_s: float | None) -> float:
        if retry_after_s is not None:
            return min(max(retry_after_s, 0.0), RETRY_AFTER_MAX_S)
        limits = self._env.limits
        return self._env.random.uniform(0, min(limits.backoff_max_s, limits.backoff_s * 2**tries))

    async def _end(self, work: asyncio.Task[None], why: Stop) -> None:
        """Stop the work, without waiting for what does not end, and write down how the attempt ended."""
        self._is_writing = False
        if self._turn is not None and why is Stop.INTERRUPT:
            self._turn.interrupted.set()
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=ABANDON_S)
        if not done:
            self._count_abandoned()
        elif not work.cancelled() and work.exception() is not None:
            log.error("attempt_failed", chat_id=self.chat_id, error=repr(work.exception()))
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=PENDING_S)
        if why is not Stop.LOST:
            await self._write_end(why)

    def _count_abandoned(self) -> None:
        METRICS.abandoned.inc()
        log.warning("task_abandoned", chat_id=self.chat_id, turn_id=self.chat.turn_id)

    async def _write_end(self, why: Stop) -> None:
        for _ in range(3):
            chat = await self._service.chat(self.chat_id)
            if chat is None or chat.attempt != self.number:
                return
            command = self._ending(chat, why)
            crash_point("interrupt-before-finish")
            try:
                await self._service.execute(self.chat_id, command)
            except (StaleAttempt, NotAllowedNow):
                continue  # the chat has moved meanwhile: look again
            except NotFound:
                return
            crash_point("interrupt-after-finish")
            return

    def _ending(self, chat: Chat, why: Stop) -> c.Command:
        parts: tuple[Part, ...] = ()
        dropped: Any = ()
        if chat.draft == self._draft.name:
            parts, dropped = self._draft.partial()
        kind = c.FinishInterrupt if chat.status is Status.INTERRUPTING else c.ReleaseAttempt
        ending = kind(
            attempt=self.number,
            draft=chat.draft,
            content=encode_content(parts) if parts else b"",
            upto=self._draft.position if parts else 0,
            usage=self._usage,
            model=self._turn.model if self._turn else "",
            dropped=dropped,
        )
        if isinstance(ending, c.ReleaseAttempt):
            not_begun = tuple(call.tool_call_id for call in chat.calls if call.tool_call_id not in self._begun)
            return msgspec.structs.replace(ending, calls_not_begun=not_begun)
        return ending


def _needed(call: Call, args: Any) -> ActionNeeded:
    return ActionNeeded(tool_call_id=call.tool_call_id, tool_name=call.tool_name, args=args, needs=call.needs)


@contextlib.asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """A TaskGroup that raises its first task's own error."""
    try:
        async with asyncio.TaskGroup() as group:
            yield lambda work: _start(group, work)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _start(group: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
    group.create_task(work)
