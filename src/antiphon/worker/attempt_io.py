"""What an agent's turn asks its attempt for: usage, model calls, steering messages and tool calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from antiphon.core.facts import CallOpened
from antiphon.core.model import Needs
from antiphon.core.parts import (
    CallStarted,
    FileReference,
    PartMetadata,
    Role,
    ToolCallArgs,
    ToolCallOpened,
    ToolResult,
    Usage,
)
from antiphon.core.parts import ToolCall as ToolCallPart
from antiphon.errors import AttemptFailed, Unavailable
from antiphon.ports import Message, Work
from antiphon.wire.codec import encode
from antiphon.worker.calls import Calls, own_result
from antiphon.worker.completion import complete
from antiphon.worker.files import FileLoader
from antiphon.worker.held_chat import HeldChat
from antiphon.worker.replay import Replay
from antiphon.worker.stop import AttemptEnded, Stop
from antiphon.worker.tools import Tool
from antiphon.worker.tools.tool import FileData, cap_output
from antiphon.worker.turn import ToolCall


class AttemptIO:
    """Keeps the promises of `turn.TurnIO`."""

    def __init__(
        self,
        held: HeldChat,
        calls: Calls,
        *,
        work: Work,
        prompt_of: Callable[[str], Awaitable[str]],
        files: FileLoader,
    ) -> None:
        self._held = held
        self._files = files
        self._calls = calls
        self._chats = work
        self._prompt_of = prompt_of
        self._system = ""
        self._call_lock = asyncio.Lock()
        """Held until the calls of a message have their results: the next message cannot be stored before."""
        self._starts_calls = False
        """Whether the agent reports the start of its model calls, and so is stopped there by a used budget."""
        self._has_unchecked_usage = False

    async def read_system(self) -> str:
        """The owner's prompt, then the chat's own. Raises `AttemptFailed` if it cannot be read now."""
        try:
            prompt = await self._prompt_of(self._held.state.owner_id)
        except Unavailable as error:
            raise AttemptFailed("server", str(error)) from error
        self._system = "\n\n".join(filter(None, (prompt, self._held.state.system)))
        return self._system

    def add_usage(self, usage: Usage, model: str = "") -> None:
        held = self._held
        if model:
            held.usage.report_of(model, usage)
        else:
            held.usage.report(usage, held.turn.model if held.turn is not None else "")
        self._has_unchecked_usage = not self._starts_calls

    async def _check_reported_usage(self) -> None:
        """Raises `AttemptFailed` if what an agent has reported by `add_usage` alone has used up a budget."""
        if self._has_unchecked_usage:
            await self._held.check_budget()
            self._has_unchecked_usage = False

    def end_answer(self, outcome: str) -> None:
        self._held.outcome = outcome

    async def start_call(self, model: str, provider: str) -> int:
        held = self._held
        held.outcome = ""
        self._starts_calls, self._has_unchecked_usage = True, False
        if held.is_draining:
            await held.leave(Stop.RELEASE)
        try:
            await held.check_budget()
        except AttemptEnded:
            await held.leave(Stop.LOST)
        if held.turn is not None and held.turn.system == self._system:  # else the agent has set its own
            held.turn.system = await self.read_system()
        await held.wait_changed_tools()
        held.usage.start_call(model, provider)
        held.writer.write(CallStarted(model, provider, held.state.tries + 1))
        return held.state.tries + 1

    def beginning(self) -> str:
        held = self._held  # a message of this step, or anything that the agent yields first, takes its place
        return held.beginning if held.state.beginning_seq and not held.writer.draft.part_count else ""

    async def load_files(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        return await self._files.load(messages)

    def release_files(self) -> None:
        self._files.release()

    async def store_file(self, data: FileData, *, media_type: str, name: str) -> FileReference:
        return await self._held.files.store(data, media_type=media_type, name=name)

    def has_steering(self) -> bool:
        chat = self._chats.chat_nowait(self._held.chat_id) or self._held.state
        return bool(chat.steering)

    async def take_steering(self) -> tuple[Message, ...]:
        held = self._held
        if (joined := held.replay.match_steering()) is not None:
            return joined
        newest_id = held.history.messages[-1].id if held.history.messages else 0
        try:
            await self.start_new_step()
            await self._commit()
        except AttemptEnded:
            await held.leave(Stop.LOST)
        return tuple(
            message for message in held.history.messages if message.id > newest_id and message.role is Role.USER
        )

    async def use_tools(self, tools: tuple[Tool, ...]) -> None:
        held = self._held
        held.bring_tools(tools)
        try:
            await self._calls.finish_open(leaves_unknown=True)
            await held.catch_up()
        except AttemptEnded:
            await held.leave(Stop.LOST)
        held.replay = Replay(held.history.messages, held.steps_from)

    async def start_new_step(self) -> None:
        """The agent does something that is not stored: write the pieces that were held back. Open calls of an earlier
        attempt are finished; one whose tool is not registered gets an error result."""
        if self._held.state.calls:
            await self._calls.finish_open()
        for piece in self._held.replay.release():
            self._held.writer.write(piece)

    async def _commit(self, calls: tuple[CallOpened, ...] = (), *, results: tuple[ToolResult, ...] = ()) -> None:
        """Store the draft as a message, even if the agent cancels this meanwhile."""
        held = self._held
        await complete(held.commit(calls, results=results), is_stopped=held.is_stopping)

    async def record_call(self, call: ToolCall, result: Any, *, is_error: bool) -> ToolResult:
        held = self._held
        text, shown = encode(call.args).decode(), cap_output(result)
        if stored := held.replay.match_calls([(call.id, call.name, call.args)]):
            return own_result(stored[0])
        held.agent_state.changed()  # what cannot be stored is refused before anything is written
        try:
            async with self._call_lock:
                await self.start_new_step()
                held.writer.write(ToolCallOpened(call.id, call.name))
                held.writer.write(ToolCallArgs(text))
                parts = [part for part in held.writer.draft.content() if isinstance(part, ToolCallPart)]
                if len(parts) != 1:
                    raise ValueError("yielded calls have not run yet: await turn.run_streamed_calls() first")
                recorded = ToolResult(parts[0].tool_call_id, call.name, shown, is_error=is_error)
                await self._commit((self._calls.opened(parts[0], Needs.SERVER),), results=(recorded,))
            await self._check_reported_usage()  # after it: the tool has run
        except AttemptEnded:
            await held.leave(Stop.LOST)
        return recorded

    async def commit_calls(self, calls: tuple[ToolCall, ...], needs: Needs | None = None) -> tuple[ToolResult, ...]:
        held = self._held
        args = [encode(call.args).decode() for call in calls]
        if calls and (stored := held.replay.match_calls([(call.id, call.name, call.args) for call in calls])):
            return tuple(map(own_result, stored))
        held.agent_state.changed()  # what cannot be stored is refused before anything is written
        try:
            await self._check_reported_usage()
            async with self._call_lock:
                await self.start_new_step()
                for call, text in zip(calls, args, strict=True):
                    held.writer.write(ToolCallOpened(call.id, call.name))
                    held.writer.write(ToolCallArgs(text))
                    if call.provider_metadata:
                        held.writer.write(PartMetadata(call.provider_metadata))
                parts = [part for part in held.writer.draft.content() if isinstance(part, ToolCallPart)]
                async with self._calls.giving_up(parts):
                    await self._commit(tuple(self._calls.opened(part, needs) for part in parts))
                    results = await self._calls.run(parts)
        except AttemptEnded:
            await held.leave(Stop.LOST)
        return tuple(map(own_result, results))
