"""One attempt at a turn, from `attempt_started` to its end: runs the agent, writes the draft, commits.

Everything it writes names the attempt and the draft; what is refused as stale means that the attempt is over.
Being told to stop comes as a hint (or with a renewal) and never waits for a task that does not end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

import msgspec
import structlog

from antiphon.chats.hints import stream_channel, stream_hint
from antiphon.core import commands as c
from antiphon.core.facts import CallOpened
from antiphon.core.model import Chat, ErrorInfo, Status
from antiphon.core.parts import (
    NO_USAGE,
    CallStarted,
    Part,
    Role,
    ToolCallArgs,
    ToolCallOpened,
    ToolResult,
    Usage,
)
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.errors import AttemptFailed, NotAllowedNow, NotFound, StaleAttempt, Unavailable
from antiphon.local.descriptors import is_out_of_descriptors
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.ports import Clock, Done, Message
from antiphon.wire.codec import encode, encode_content
from antiphon.worker.calls import Calls
from antiphon.worker.draft_writer import Pen
from antiphon.worker.environment import Environment
from antiphon.worker.history import History
from antiphon.worker.stop import Over, Stop
from antiphon.worker.turn import ToolCall, Turn

ABANDON_S = 0.5
"""The stop of a turn waits so long for its task, then goes on without it."""

LISTENING_S = 0.25
"""An agent that waits to be interrupted has so long to end by itself before it is cancelled."""

PENDING_S = 5.0
"""A stopped attempt waits so long for a commit that is under way."""

STORE_TRIES_MAX = 20
STORE_PAUSE_S = 0.5
"""A write that the store cannot take now is asked for again, about as long as a lease lasts."""

RETRY_AFTER_MAX_S = 3600.0
PIECES_PER_TURN_OF_THE_LOOP = 64
NO_DESCRIPTORS = AttemptFailed("overloaded", "The server has no file descriptors left.")

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Attempt:
    """`run` it as a task; `stop` asks it to end. `chat` is the state as this attempt last saw it."""

    def __init__(self, environment: Environment, chat_id: str, chat: Chat) -> None:
        self._env = environment
        self._chats = environment.work
        self.chat_id = chat_id
        self.chat = chat
        self.number = chat.attempt
        self.is_draining = False
        self.pen = Pen(
            environment.drafts,
            chat_id,
            chat.draft,
            attempt=self.number,
            call_ids=lambda: self.history.call_ids(),
            bytes_max=environment.limits.answer_bytes,
            calls_max=environment.limits.calls,
        )
        self._calls = Calls(self, tools=environment.tools, limits=environment.limits)
        self._usage = NO_USAGE
        self._outcome = ""
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[Stop] = loop.create_future()
        self._woken: asyncio.Future[None] = loop.create_future()
        self._ended = asyncio.Event()
        self._pending: set[asyncio.Future[Done]] = set()
        self._call_lock = asyncio.Lock()
        self._turn: Turn | None = None
        self._system = ""
        self.history = History((), 0, 0)
        self._is_looking = self._is_look_due = False
        self._looks: set[asyncio.Task[None]] = set()

    @property
    def clock(self) -> Clock:
        return self._chats.clock

    def stop(self, why: Stop) -> None:
        """Ask it to end; a second call changes nothing."""
        if not self._stop.done():
            self._stop.set_result(why)

    # --- the task

    async def run(self) -> None:
        METRICS.attempts.inc()
        stop_listening = self._env.bus.subscribe(stream_channel(self.chat_id), self._on_hint)
        try:
            await self._run_until_stopped()
            if self.history.seq:
                self._env.histories.keep(self.chat_id, self.history)
        finally:
            stop_listening()
            self._ended.set()
            self.pen.close()
            self._release_texts()

    def _release_texts(self) -> None:
        """Its parts refer to each other until the collector comes by, and an agent that was abandoned refers to them
        for as long as it likes: the history and the answer are not kept so long."""
        self.history = History((), 0, 0)
        self._turn = None

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
        known, seq = self._chats.chat_nowait(self.chat_id), stream_hint(message).seq
        is_known = known is not None and seq is not None and seq <= known.seq
        if self._chats.is_shared and not is_known:
            self._is_look_due = True
            if not self._is_looking:
                self._is_looking = True
                asyncio.get_running_loop().call_soon(self._look_soon)
        self.look(known)

    def _look_soon(self) -> None:
        """Another instance may have asked it to stop: one look for all that was told at a time."""
        task = asyncio.create_task(self._look_at_stored())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look_at_stored(self) -> None:
        while self._is_look_due:
            self._is_look_due = False
            with contextlib.suppress(Unavailable):  # the next renewal tells
                self.look(await self._chats.chat(self.chat_id))
        self._is_looking = False

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
            self.history = await self._patiently(lambda: self._env.histories.take(self.chat_id, self.chat.seq))
            await self._calls.finish_open()
            while True:
                try:
                    await self._run_agent()
                    await self._commit(is_last=True)
                except AttemptFailed as error:
                    await self._fail(error)
                except Exception as error:
                    if isinstance(error, Over) or not is_out_of_descriptors(error):
                        raise
                    await self._fail(NO_DESCRIPTORS)  # of this process, and not the agent's failure
        except Over:
            return
        except BaseException as error:
            if self._is_told(error):
                raise
            log.exception("agent_failed", chat_id=self.chat_id, turn_id=self.chat.turn_id)
            with contextlib.suppress(Over):
                failure = AttemptFailed("unknown", f"The agent failed ({type(error).__name__}).")
                await self._fail(failure)

    def _is_told(self, error: BaseException) -> bool:
        """Whether this work is being ended from here. (An agent may raise anything, and cancel itself.)"""
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if self._stop.done() or self._woken.cancelled() or task is None:
                return True
            while task.cancelling():
                task.uncancel()
            return False
        return isinstance(error, GeneratorExit) and not _is_running()

    async def _run_agent(self) -> None:
        chat = self.chat
        self._system = await self._read_system()
        turn = self._turn = Turn(
            self,
            chat_id=self.chat_id,
            turn_id=chat.turn_id,
            messages=self.history.messages,
            system=self._system,
            model=chat.turn_model or chat.model or self._env.default_model(),
            tools=tuple(self._env.tools.values()),
            config=self._env.config,
            failures=chat.turn_failures,
        )
        crash_point("model-before-call")
        pieces = self._env.agent(turn)
        try:
            async for piece in pieces:
                if self.pen.is_lifted:
                    raise Over  # an agent that does not hear its cancellation
                self.pen.write(piece)
                if self.pen.pieces % PIECES_PER_TURN_OF_THE_LOOP == 0:
                    await asyncio.sleep(0)
        except BaseException:
            await self._close(pieces)
            raise
        crash_point("model-after-stream")

    async def _read_system(self) -> str:
        """The owner's prompt, then the chat's own."""
        try:
            prompt = await self._env.prompt_of(self.chat.owner_id)
        except Unavailable as error:
            raise AttemptFailed("server", str(error)) from error
        return "\n\n".join(filter(None, (prompt, self.chat.system)))

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

    # --- commands

    async def execute(self, command: c.Command) -> Done:
        """Send a command. If this task is cancelled meanwhile the command still runs to its end (`_end` waits).
        Raises `Over` where this attempt may write nothing more."""
        for _ in range(STORE_TRIES_MAX):
            if self.pen.is_lifted:
                raise Over
            try:
                return await self._send(command)
            except (StaleAttempt, NotFound) as error:
                METRICS.fenced.inc()
                raise Over from error
            except NotAllowedNow as error:
                if error.status != Status.INTERRUPTING:
                    raise
                self.stop(Stop.INTERRUPT)
                raise Over from error
            except Unavailable as error:
                log.warning("write_failed", chat_id=self.chat_id, error=str(error))
                await asyncio.sleep(STORE_PAUSE_S)
        raise Over  # its lease ends, and another attempt begins

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, asked again while it cannot. Raises `Over` when it has not for as long as a lease
        lasts: then another attempt begins."""
        for _ in range(STORE_TRIES_MAX):
            try:
                return await ask()
            except Unavailable as error:
                log.warning("store_unavailable", chat_id=self.chat_id, error=str(error))
                await asyncio.sleep(STORE_PAUSE_S)
        raise Over

    async def _send(self, command: c.Command) -> Done:
        task = self._chats.submit_nowait(self.chat_id, command)
        self._pending.add(task)
        task.add_done_callback(self._settled)
        done = await asyncio.shield(task)
        if done.chat.seq > self.chat.seq:
            self.chat = done.chat
            if done.chat.attempt == self.number:  # else the draft is the next attempt's, which may have begun it
                self.pen.turn_to(done.chat.draft)
        return done

    def _settled(self, task: asyncio.Future[Done]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits for it is told; an abandoned one's refusal is no news

    async def _commit(self, calls: tuple[CallOpened, ...] = (), *, is_last: bool = False) -> None:
        """Make what was written a message. Ends the turn with `is_last`, unless steering has joined."""
        draft = self.pen.draft
        parts = list(draft.content())
        if not calls:
            _check_no_calls(parts)
        usage = self._usage if parts or is_last else NO_USAGE
        is_empty_answer = is_last and bool(self._outcome)  # which says why there is nothing
        crash_point("tool-before-commit" if calls else "commit-before-append")
        await self.execute(
            c.CommitMessage(
                attempt=self.number,
                draft=draft.name,
                content=encode_content(parts) if parts or is_empty_answer else b"",
                upto=draft.position,
                outcome=self._outcome,
                calls=calls,
                usage=usage,
                model=self._turn.model if self._turn else "",
                is_last=is_last,
            )
        )
        crash_point("commit-after-append")
        if parts or self.chat.attempt != self.number:
            self._usage = NO_USAGE  # else it counts with the next message
            self._outcome = ""
        await self._after_commit()

    async def _after_commit(self) -> None:
        self.check()
        await self.catch_up()

    def check(self) -> None:
        """Go on only while the chat is this attempt's and nobody has asked it to stop, as far as is known here."""
        for chat in (self.chat, self._chats.chat_nowait(self.chat_id)):
            self.look(chat)
        if self._stop.done():
            raise Over

    async def catch_up(self) -> None:
        self.history = await self._patiently(
            lambda: self._env.histories.catch_up(self.chat_id, self.history, self.chat.seq)
        )
        self._env.histories.keep(self.chat_id, self.history)
        if self._turn is not None:
            self._turn.messages = self.history.messages

    # --- what a turn asks for (TurnIO)

    def add_usage(self, usage: Usage) -> None:
        self._usage = self._usage + usage

    def end_answer(self, outcome: str) -> None:
        self._outcome = outcome

    async def start_call(self, model: str, provider: str) -> int:
        self._outcome = ""
        if self.is_draining:
            await self.leave(Stop.RELEASE)
        if self._turn is not None and self._turn.system == self._system:  # else the agent has its own
            self._system = self._turn.system = await self._read_system()
        self.pen.write(CallStarted(model, provider, self.chat.tries + 1))
        return self.chat.tries + 1

    def has_steering(self) -> bool:
        chat = self._chats.chat_nowait(self.chat_id) or self.chat
        return bool(chat.steering)

    async def take_steering(self) -> tuple[Message, ...]:
        seen = self.history.messages[-1].id if self.history.messages else 0
        try:
            await self._commit()
        except Over:
            await self.leave(Stop.LOST)
        return tuple(message for message in self.history.messages if message.id > seen and message.role is Role.USER)

    async def commit_calls(self, calls: tuple[ToolCall, ...]) -> tuple[ToolResult, ...]:
        args = [encode(call.args).decode() for call in calls]
        try:
            async with self._call_lock:
                for call, text in zip(calls, args, strict=True):
                    self.pen.write(ToolCallOpened(call.id, call.name))
                    self.pen.write(ToolCallArgs(text))
                parts = [part for part in self.pen.draft.content() if isinstance(part, ToolCallPart)]
                await self._commit(tuple(self._calls.opened(part) for part in parts))
                results = await self._calls.run(parts)
        except Over:
            await self.leave(Stop.LOST)
        return tuple(results)

    async def leave(self, why: Stop) -> NoReturn:
        """Leave an agent's call to `_end`, which cancels it: an exception the agent could catch."""
        self.pen.lift()
        self.stop(why)
        await self._ended.wait()
        raise asyncio.CancelledError  # of a task that the agent did not wait for

    # --- failing, stopping, letting go

    async def _fail(self, error: AttemptFailed) -> None:
        """Record the failure: try again later as a fact, or end the turn."""
        METRICS.model_errors.labels(error.kind).inc()
        tries = self.chat.tries + 1
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
        partial = self._partial(self.chat) if is_final else {}
        await self.execute(
            c.FailAttempt(
                attempt=self.number,
                draft=self.chat.draft,
                error=info,
                delay_ms=delay_ms,
                usage=self._usage,
                **partial,
            )
        )
        crash_point("retry-after-append")
        self._usage = NO_USAGE
        await self._after_commit()
        await asyncio.sleep(delay_s or 0)

    def _delay_s(self, tries: int, retry_after_s: float | None) -> float:
        """What the provider asks for, unless that is hardly anything; else the back-off with jitter, a tenth of it at
        least: tries never follow each other at once."""
        limits = self._env.limits
        longest_s = min(limits.backoff_max_s, limits.backoff_s * 2**tries)
        if retry_after_s is not None and retry_after_s >= longest_s / 10:
            return min(retry_after_s, RETRY_AFTER_MAX_S)
        return self._env.random.uniform(longest_s / 10, longest_s)

    async def _end(self, work: asyncio.Task[None], why: Stop) -> None:
        """Stop the work, without waiting for what does not end, and write down how the attempt ended."""
        self.pen.lift()
        if self._turn is not None and why is Stop.INTERRUPT:
            self._turn.interrupted.set()
            if self._turn.is_listening:
                await asyncio.wait({work}, timeout=LISTENING_S)
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=ABANDON_S)
        if not done:
            self._count_abandoned()
        elif not work.cancelled() and work.exception() is not None:
            log.error("attempt_failed", chat_id=self.chat_id, error=repr(work.exception()))
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=PENDING_S)
        if why is not Stop.LOST:
            with contextlib.suppress(Over):
                await self._write_end(why)

    def _count_abandoned(self) -> None:
        METRICS.abandoned.inc()
        log.warning("task_abandoned", chat_id=self.chat_id, turn_id=self.chat.turn_id)

    async def _write_end(self, why: Stop) -> None:
        for _ in range(3):
            chat = await self._patiently(lambda: self._chats.chat(self.chat_id))
            if chat is None or chat.attempt != self.number:
                return
            command = self._ending(chat, why)
            crash_point("interrupt-before-finish")
            try:
                await self._patiently(partial(self._chats.execute, self.chat_id, command))
            except (StaleAttempt, NotAllowedNow):
                continue  # the chat has moved meanwhile: look again
            except NotFound:
                return
            crash_point("interrupt-after-finish")
            return

    def _ending(self, chat: Chat, why: Stop) -> c.Command:
        kind = c.FinishInterrupt if chat.status is Status.INTERRUPTING else c.ReleaseAttempt
        ending = kind(attempt=self.number, draft=chat.draft, usage=self._usage, **self._partial(chat))
        if isinstance(ending, c.ReleaseAttempt):
            not_begun = tuple(call.tool_call_id for call in chat.calls if call.tool_call_id not in self._calls.begun)
            return msgspec.structs.replace(ending, calls_not_begun=not_begun)
        return ending

    def _partial(self, chat: Chat) -> dict[str, Any]:
        """What was written of the draft that is open, as the fields of a `PartialCommand`."""
        parts: tuple[Part, ...] = ()
        dropped: Any = ()
        if chat.draft == self.pen.draft.name:
            parts, dropped = self.pen.draft.partial()
        return {
            "content": encode_content(parts) if parts else b"",
            "upto": self.pen.draft.position if parts else 0,
            "model": self._turn.model if self._turn else "",
            "dropped": dropped,
        }


def _check_no_calls(parts: list[Part]) -> None:
    """Raises `AttemptFailed` where an agent yielded calls and did not let them run: they would have no result."""
    left = [part.tool_name for part in parts if isinstance(part, ToolCallPart)]
    if left:
        what = f"The agent yielded a call of {left[0]!r} that did not run"
        raise AttemptFailed("unknown", f"{what}: write `await turn.run_streamed_calls()` after it.")


def _is_running() -> bool:
    """Whether this is a step of a task (and not a coroutine that is thrown away)."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
