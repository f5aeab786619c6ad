"""The chat that an attempt holds: sends the attempt's commands, and keeps the state, history and draft that result.

Every command names the attempt and its draft. If one is refused as stale, the attempt has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

import structlog

from antiphon.core import commands as c
from antiphon.core.facts import CallOpened
from antiphon.core.model import Chat, Status
from antiphon.core.model_usage import ModelUsage, added
from antiphon.core.parts import Part, Text, ToolResult, Usage, text_of
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.errors import AttemptFailed, BudgetExhausted, NotAllowedNow, NotFound, StaleAttempt, Unavailable
from antiphon.observe.crash_points import crash_point
from antiphon.observe.metrics import METRICS
from antiphon.ports import Clock, Done
from antiphon.wire.codec import decode_content, encode_content
from antiphon.worker.agent_state import EMPTY, AgentState
from antiphon.worker.attempt_usage import AttemptUsage, carried
from antiphon.worker.draft_writer import DraftWriter
from antiphon.worker.environment import Environment
from antiphon.worker.history import History
from antiphon.worker.replay import Replay
from antiphon.worker.stop import AttemptEnded, Stop
from antiphon.worker.tools import Tool
from antiphon.worker.tools.client import tools_of_clients
from antiphon.worker.turn import Turn
from antiphon.worker.turn_files import TurnFiles

T = TypeVar("T")

log = structlog.get_logger(__name__)


class HeldChat:
    """`state` is the chat as this attempt last saw it. `stopped` is set once the attempt is asked to stop."""

    def __init__(self, environment: Environment, chat_id: str, chat: Chat) -> None:
        self.chat_id = chat_id
        self.state = chat
        self.attempt = chat.attempt
        self.history = History((), 0, 0)
        self.turn: Turn | None = None
        self.replay = Replay((), 0)
        self.steps_from = chat.turn_id
        """The first message id of the steps that the agent repeats when it starts again."""
        self.deps: Any = None
        self.agent_state = AgentState(bytes_max=environment.limits.state_bytes)
        self._spending = environment.spending
        self.usage = AttemptUsage(environment.spending.prices, self._report_usage)
        self._used_before = chat.turn_usage
        """What earlier attempts have used in this turn."""
        self.files = TurnFiles(
            environment.work,
            chat.owner_id,
            chat_id,
            bytes_max=environment.limits.turn_files_bytes,
            messages=lambda: self.history.messages,
        )
        self.beginning = ""
        """The text of the answer that an earlier attempt left unfinished, from which a model may go on."""
        self.outcome = ""
        """How the model ended the answer, where that is worth storing."""
        self.is_draining = False
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        """The attempt's task has ended."""
        self.writer = DraftWriter(
            environment.drafts,
            chat_id,
            chat.draft,
            attempt=self.attempt,
            call_ids=lambda: self.history.call_ids(),
            bytes_max=environment.limits.answer_bytes,
            calls_max=environment.limits.calls,
        )
        self._chats = environment.work
        self._own_tools = dict(environment.tools)
        """The server's tools, and those that the agent of this attempt brings."""
        self._mcp = environment.mcp
        self.server_tools: dict[str, Tool] = {}
        """The tools that run here, by name: `_own_tools`, and those that MCP servers offer now."""
        self.refresh_tools()
        self._histories = environment.histories
        self._timing = environment.timing
        self._continues = environment.continues_lost
        self._pending: set[asyncio.Future[Done]] = set()

    @property
    def clock(self) -> Clock:
        return self._chats.clock

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The server's tools, and those of the chat that its clients run. Of two with one name it is the server's."""
        client_tools = tools_of_clients(self.state.tools)
        return (*self.server_tools.values(), *(tool for tool in client_tools if tool.name not in self.server_tools))

    def bring_tools(self, tools: tuple[Tool, ...]) -> None:
        """Add tools of the agent of this attempt."""
        self._own_tools.update({tool.name: tool for tool in tools})
        self.refresh_tools()

    def refresh_tools(self) -> None:
        """Offer the tools that MCP servers have now. Of two tools with one name it is not that of an MCP server."""
        self.server_tools.clear()
        self.server_tools.update(self._own_tools)
        for name, tool in self._mcp.tools_of(self.state).items():
            self.server_tools.setdefault(name, tool)
        if self.turn is not None:
            self.turn.tools = self.tools

    async def wait_tools(self) -> None:
        """Wait for MCP servers that are still starting, for a bounded time."""
        await self._mcp.wait_started(self.state)
        self.refresh_tools()

    @property
    def starting_servers(self) -> tuple[str, ...]:
        """The MCP servers of the chat that are still starting."""
        return self._mcp.starting(self.state)

    async def wait_tool(self, tool_name: str) -> tuple[str, ...]:
        """Wait for a tool of an MCP server that has not started, for a bounded time. Returns the servers that have
        still not started; none if the tool is there, or cannot come."""
        missing = await self._mcp.wait_tool(self.state, tool_name)
        self.refresh_tools()
        return missing

    async def wait_changed_tools(self) -> None:
        """Wait for the tools of MCP servers that have reported a change, for a bounded time."""
        await self._mcp.wait_listed(self.state)
        self.refresh_tools()

    # --- stopping

    def stop(self, why: Stop) -> None:
        """Ask the attempt to stop; a second call changes nothing."""
        if not self.stopped.done():
            self.stopped.set_result(why)

    async def leave(self, why: Stop) -> NoReturn:
        """Stop the attempt from within a call of its agent, and wait until the end of the attempt cancels the agent.
        (The agent could catch an exception.)"""
        self.writer.close()
        self.stop(why)
        await self.ended.wait()
        raise asyncio.CancelledError  # in a task that the agent did not await

    def update(self, chat: Chat | None) -> None:
        """Stop if a newer state of the chat says that the attempt has ended or is interrupted."""
        if chat is None or chat.seq < self.state.seq:
            return
        if chat.attempt != self.attempt:
            self.stop(Stop.LOST)
        elif chat.status is Status.INTERRUPTING:
            self.stop(Stop.INTERRUPT)

    def is_stopping(self) -> bool:
        """Whether the whole attempt stops, or its process does: then a cancellation is not the agent's own."""
        return self.stopped.done() or self.writer.is_closed

    def check(self) -> None:
        """Raises `AttemptEnded` if the attempt must stop, as far as this process knows."""
        for chat in (self.state, self._chats.chat_nowait(self.chat_id)):
            self.update(chat)
        if self.stopped.done():
            raise AttemptEnded

    # --- commands

    async def execute(self, *commands: c.Command, used: Sequence[ModelUsage] = (), has_message: bool = True) -> Done:
        """Execute commands in one append. If this task is cancelled meanwhile, the command is still executed (see
        `wait_pending`).

        Args:
            commands: The commands.
            used: The usage that they carry, from `usage.pending`.
            has_message: Whether a fact has this usage even if the attempt continues.

        Raises:
            AttemptEnded: This attempt may write nothing more.
        """
        for _ in range(self._timing.store_tries_max):
            if self.writer.is_closed:
                raise AttemptEnded
            try:
                done = await self._send(*commands, used=used, has_message=has_message)
                self.usage.is_uncertain = False
                return done
            except (StaleAttempt, NotFound) as error:
                METRICS.fenced.inc()
                raise AttemptEnded from error
            except NotAllowedNow as error:
                if error.status != Status.INTERRUPTING:
                    raise
                self.stop(Stop.INTERRUPT)
                raise AttemptEnded from error
            except Unavailable as error:
                self.usage.is_uncertain = bool(used)
                log.warning("write_failed", chat_id=self.chat_id, error=str(error))
                await asyncio.sleep(self._timing.store_retry_s)
        raise AttemptEnded  # its lease expires, and another attempt starts

    async def retry_unavailable(self, request: Callable[[], Awaitable[T]]) -> T:
        """The result of `request`, repeated while the store is unavailable. Raises `AttemptEnded` after about the
        time that a lease lasts: then another attempt starts."""
        for _ in range(self._timing.store_tries_max):
            try:
                return await request()
            except Unavailable as error:
                log.warning("store_unavailable", chat_id=self.chat_id, error=str(error))
                await asyncio.sleep(self._timing.store_retry_s)
        raise AttemptEnded

    async def _send(self, *commands: c.Command, used: Sequence[ModelUsage], has_message: bool) -> Done:
        task = self._chats.submit_nowait(self.chat_id, *commands)
        self.usage.remove(used)
        self._pending.add(task)
        task.add_done_callback(partial(self._on_done, used, has_message))
        return await asyncio.shield(task)

    def _on_done(self, used: Sequence[ModelUsage], has_message: bool, task: asyncio.Future[Done]) -> None:
        """Apply the result of a command, also if its caller was cancelled."""
        self._pending.discard(task)
        is_written = not task.cancelled() and task.exception() is None  # its caller handles it, or was cancelled
        if not is_written or not (has_message or task.result().chat.attempt != self.attempt):
            self.usage.give_back(used)
        if is_written and (chat := task.result().chat).seq > self.state.seq:
            self.state = chat
            # else the open draft may already be that of the next attempt
            if chat.attempt == self.attempt and not self.writer.is_closed:
                self.writer.switch_to(chat.draft)

    async def wait_pending(self) -> None:
        """Wait for the commands under way, for `pending_s` at most."""
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=self._timing.pending_s)

    # --- messages

    async def commit(
        self, calls: tuple[CallOpened, ...] = (), *, results: tuple[ToolResult, ...] = (), is_last: bool = False
    ) -> None:
        """Store the draft as a message, in the same append `results` of its calls. With `is_last` the turn ends,
        unless a steering message has joined it."""
        contents = [await self.result_content(result) for result in results]
        draft = self.writer.draft
        parts = list(draft.content())
        if not calls:
            _check_no_calls(parts)
        used = self.usage.pending() if parts or is_last else ()
        is_empty_answer = is_last and bool(self.outcome)  # the outcome says why it is empty
        agent_state = self.agent_state.changed()
        crash_point("tool-before-commit" if calls else "commit-before-append")
        content = encode_content(parts) if parts or is_empty_answer else b""
        await self.execute(
            c.CommitMessage(
                attempt=self.attempt,
                draft=draft.name,
                content=content,
                upto=draft.position,
                outcome=self.outcome,
                calls=calls,
                **carried(used),
                model=self.turn.model if self.turn else "",
                is_last=is_last,
                state=agent_state,
            ),
            *(
                c.CommitToolResult(attempt=self.attempt, tool_call_id=result.tool_call_id, content=content)
                for result, content in zip(results, contents, strict=True)
            ),
            used=used,
            has_message=bool(content),  # else the usage is stored with the next message
        )
        crash_point("commit-after-append")
        if agent_state is not None:
            self.agent_state.set_stored(agent_state)
        if parts or self.state.attempt != self.attempt:
            self.outcome = ""
        await self.refresh()

    async def result_content(self, result: ToolResult) -> bytes:
        """The content of a tool's message: the result, and the files that it names, which the chat then uses."""
        return encode_content(await self.retry_unavailable(lambda: self.files.result_content(result)))

    def partial(self, chat: Chat) -> dict[str, Any]:
        """The content of the open draft, as the fields of a `PartialCommand`."""
        parts: tuple[Part, ...] = ()
        dropped: Any = ()
        if chat.draft == self.writer.draft.name:
            parts, dropped = self.writer.draft.partial()
        return {
            "content": encode_content(parts) if parts else b"",
            "upto": self.writer.draft.position if parts else 0,
            "model": self.turn.model if self.turn else "",
            "dropped": dropped,
        }

    def draft_beginning(self, chat: Chat) -> bytes:
        """The content of the open draft from which the model of the next attempt may go on; empty if there is
        none."""
        is_open = self._continues and chat.draft == self.writer.draft.name
        text = self.writer.draft.beginning() if is_open else ""
        return encode_content([Text(text)]) if text else b""

    # --- usage

    def _report_usage(self, total: Usage) -> None:
        used = self._used_before + total
        self._spending.report(self.state.owner_id, self.chat_id, self.attempt, used)

    async def check_budget(self) -> None:
        """Raises `AttemptFailed` if the owner has used a budget of this day: the turn fails, and is not retried."""
        try:
            await self.retry_unavailable(lambda: self._spending.check(self.state.owner_id))
        except BudgetExhausted as error:
            METRICS.limited.labels(error.limit_name).inc()
            raise AttemptFailed("budget_exhausted", str(error), retryable=False) from error

    async def count_unrecorded(self) -> None:
        """The attempt has ended: count what it has used that no fact has, for its owner. If the store has not said
        whether a fact has it, it is not counted, so that it is never counted twice."""
        pending = self.usage.pending()
        self.usage.remove(pending)
        self._spending.end(self.state.owner_id, self.chat_id, self.attempt)
        if pending and self.usage.is_uncertain:
            METRICS.unexpected.labels("usage_not_counted").inc()
            log.warning("usage_not_counted", chat_id=self.chat_id, error="the result of a commit is unknown")
        elif pending:
            await self._spending.add(self.state.owner_id, added(pending))

    # --- history

    async def load_history(self) -> None:
        """Read the messages, the agent's state, and the beginning of an unfinished answer."""
        seq, beginning_seq = self.state.state_seq, self.state.beginning_seq if self._continues else 0
        if seqs := [*filter(None, (seq, beginning_seq))]:
            found = await self.retry_unavailable(lambda: self._chats.read_contents(self.chat_id, seqs))
            if seq:
                self.agent_state.set_stored(found.get(seq, EMPTY))
            self.beginning = text_of(decode_content(found.get(beginning_seq, b"[]")))
        self.history = await self.retry_unavailable(lambda: self._histories.get(self.chat_id, self.state.seq))

    async def refresh(self) -> None:
        """Check that the attempt may continue, and read the messages that were added."""
        self.check()
        await self.catch_up()

    async def catch_up(self) -> None:
        """Read the messages that were added to the history."""
        self.history = await self.retry_unavailable(
            lambda: self._histories.catch_up(self.chat_id, self.history, self.state.seq)
        )
        self._histories.put(self.chat_id, self.history)
        if self.turn is not None:
            self.turn.messages = self.history.messages
            self.turn.tools = self.tools

    def cache_history(self) -> None:
        """Cache the history for the chat's next turn."""
        if self.history.seq:
            self._histories.put(self.chat_id, self.history)

    def close(self) -> None:
        """The attempt has ended: drop the draft, the history and the turn. An abandoned agent may keep this object
        alive for any time, but not its texts."""
        self.ended.set()
        self.files.close()
        self.writer.release()
        self.history, self.beginning = History((), 0, 0), ""
        self.turn = self.deps = None


def _check_no_calls(parts: list[Part]) -> None:
    """Raises `AttemptFailed` if an agent yielded calls and did not run them: they would have no result."""
    left = [part.tool_name for part in parts if isinstance(part, ToolCallPart)]
    if left:
        what = f"The agent yielded a call of {left[0]!r} that did not run"
        raise AttemptFailed("unknown", f"{what}: write `await turn.run_streamed_calls()` after it.")
