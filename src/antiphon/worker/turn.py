"""`Turn`: the interface of a turn for its agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, overload

import msgspec
import structlog

from antiphon.core.model import Needs
from antiphon.core.parts import OUTCOMES, TOKENS_MAX, FileReference, Role, ToolResult, Usage, text_of
from antiphon.errors import AttemptFailed
from antiphon.ports import Message
from antiphon.worker.agent_state import AgentState
from antiphon.worker.children import ChildAnswer, ChildChat
from antiphon.worker.tools import Tool
from antiphon.worker.tools.tool import FileData

log = structlog.get_logger(__name__)


ASK = "ask"
"""The tool name of the calls that `turn.ask` makes."""
SPAWN = "spawn"
"""The tool name of the calls that `turn.spawn` makes."""


REFUSALS = {"rate_limited": "rate_limit", "budget_exhausted": "budget_exhausted"}
"""The kind of an agent's error by the error of a call of `turn.spawn`."""


class ToolCall(msgspec.Struct, frozen=True):
    """A request to run a tool: its name, its arguments, and the call's id (generated if it is empty).
    `provider_metadata` is what the model's provider must get back with the call, as in `core.parts.ToolCall`."""

    name: str
    args: Any = msgspec.field(default_factory=dict)
    id: str = ""
    provider_metadata: dict[str, Any] | None = None


class TurnIO(Protocol):
    """What a turn needs from the attempt that runs it."""

    async def commit_calls(
        self, calls: tuple[ToolCall, ...], needs: Needs | None = None
    ) -> tuple[ToolResult, ...]: ...

    async def record_call(self, call: ToolCall, result: Any, *, is_error: bool) -> ToolResult: ...

    async def take_steering(self) -> tuple[Message, ...]: ...

    async def use_tools(self, tools: tuple[Tool, ...]) -> None: ...

    def add_usage(self, usage: Usage, model: str = "") -> None: ...

    def end_answer(self, outcome: str) -> None: ...

    async def start_call(self, model: str, provider: str) -> int: ...

    def beginning(self) -> str: ...

    def has_steering(self) -> bool: ...

    async def load_files(self, messages: Sequence[Message]) -> tuple[Message, ...]: ...

    def release_files(self) -> None: ...

    async def store_file(self, data: FileData, *, media_type: str, name: str) -> FileReference: ...


class Turn:
    """One turn, for its agent.

    Attributes:
        chat_id: The chat.
        turn_id: The turn's number in its chat.
        messages: The history with this turn's messages. It grows as calls, results and steering messages are stored.
        message: The message that started the turn, and its `text`.
        owner: The id of the chat's owner.
        parent_chat_id: For a child chat the chat whose turn started it, else "".
        labels: The labels of the chat.
        system: The owner's prompt and the chat's system prompt.
        model: The name of the model that answers.
        tools: The tools that the agent may offer to a model.
        config: The server's configuration for agents.
        deps: What the application's function `deps` made for this turn, such as a database session of its owner.
        state: The agent's own JSON document of this chat.
        failures: The number of failures in this turn so far.
        interrupted: Set when the turn is interrupted.
    """

    def __init__(
        self,
        io: TurnIO,
        *,
        chat_id: str,
        turn_id: int,
        messages: list[Message],
        system: str,
        model: str,
        tools: tuple[Tool, ...] = (),
        config: dict[str, Any] | None = None,
        failures: int = 0,
        owner: str = "",
        labels: dict[str, str] | None = None,
        state: AgentState | None = None,
        deps: Any = None,
        parent_chat_id: str = "",
    ) -> None:
        self._io = io
        self.parent_chat_id = parent_chat_id
        self.deps = deps
        self._state = state
        self.owner = owner
        self.labels = labels or {}
        self.chat_id = chat_id
        self.turn_id = turn_id
        self.messages = messages
        self.system = system
        self._model = model
        self.tools = tools
        self.config = config or {}
        self.failures = failures
        self.interrupted = asyncio.Event()
        self._listeners = 0

    @property
    def message(self) -> Message:
        """The person's message that started the turn. It is the same in every attempt, while `messages` also has what
        earlier attempts have stored."""
        for message in reversed(self.messages):
            if message.id == self.turn_id:
                return message
        return Message(id=self.turn_id, role=Role.USER, content=())  # older than the messages that an agent gets

    @property
    def text(self) -> str:
        """The text of `message`."""
        return text_of(self.message.content)

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a model's name is a string, not {name!r}")
        self._model = name

    @property
    def state(self) -> Any:
        """A JSON document of the agent's own in this chat, such as a session or a checkpoint; first an empty object.

        Change it or assign another one: it is stored in the same commit as the next message, or as the end of the
        turn. What is changed after the last message of a turn that fails or is interrupted is dropped. An edit or a
        retry brings back the state that the chat had before the messages that it removes.

        An agent that starts again (after a crash, a retry or a person's answer) has what was stored last: set values
        in it rather than counting up.
        """
        return self._own_state().value

    @state.setter
    def state(self, value: Any) -> None:
        self._own_state().value = value

    def _own_state(self) -> AgentState:
        if self._state is None:
            raise RuntimeError("turn.state belongs to the agent: read it there, not in the function `deps`")
        return self._state

    @property
    def is_interrupted(self) -> bool:
        """Whether the turn is being interrupted."""
        return self.interrupted.is_set()

    async def wait_interrupted(self) -> None:
        """Wait until the turn is interrupted. An agent that waits here then has 0.25 s to finish by itself; what it
        yields then is not stored. After that, or if it does not wait here, the agent is cancelled."""
        self._listeners += 1
        try:
            await self.interrupted.wait()
        finally:
            self._listeners -= 1

    @property
    def is_listening(self) -> bool:
        """Whether the agent waits in `wait_interrupted`."""
        return self._listeners > 0

    def add_usage(
        self, *, input_tokens: int | None = None, output_tokens: int | None = None, **counts: int | None
    ) -> None:
        """Add tokens to the turn's usage (any field of `Usage`). A value that is not a count (some providers send a
        negative number, a fraction or text) is ignored, with a warning in the log. They have the price of the model
        of the last `start_call`, else of the turn's model.

        If the agent never calls `start_call`, the owner's budgets are checked at its next `call`, `ask`, `spawn` or
        `record` instead, which raises `AttemptFailed` if one is used up."""
        self.report(Usage(input_tokens=input_tokens, output_tokens=output_tokens, **counts))

    async def start_call(self, *, model: str, provider: str = "") -> int:
        """Report to the watchers that a model call begins. It is counted as a call of that model.

        Returns:
            The number of the try of this step, from 1.

        Raises:
            AttemptFailed: The owner has used the budget of this day: the turn ends.
        """
        return await self._io.start_call(model, provider)

    @property
    def beginning(self) -> str:
        """The text of this answer that an earlier attempt left unfinished, from which the model may go on
        (`on_worker_lost="continue"`); empty if there is none."""
        return self._io.beginning()

    def report(self, usage: Usage, *, model: str = "") -> None:
        """Add the usage of a whole model call, by the same rule as `add_usage`. `model` is the full name of the model
        if it is another one, `<provider>:<model>`."""
        counts = {name: getattr(usage, name) for name in usage.__struct_fields__}
        valid = {name: count for name, count in counts.items() if type(count) is int and 0 <= count <= TOKENS_MAX}
        ignored = [name for name, count in counts.items() if count is not None and name not in valid]
        if ignored:
            log.warning("usage_ignored", chat_id=self.chat_id, turn_id=self.turn_id, fields=ignored)
        self._io.add_usage(Usage(**valid), model)

    def end_answer(self, outcome: str) -> None:
        """Record how the model ended the answer, if a client should show it: `length`, `refusal`, `content_filter` or
        `empty`. It is stored with the message. Raises ValueError for any other outcome."""
        if outcome not in OUTCOMES:
            raise ValueError(f"an answer's outcome is one of {', '.join(OUTCOMES)}, not {outcome!r}")
        self._io.end_answer(outcome)

    async def take_steering_or_end(self) -> bool:
        """Let waiting steering messages join the turn. Returns whether there were any: the turn then continues. If
        not, an agent that returns ends the turn."""
        return self._io.has_steering() and bool(await self._io.take_steering())

    async def take_steering(self) -> tuple[Message, ...]:
        """Store what was yielded so far and let waiting steering messages join the turn. Returns those messages."""
        return await self._io.take_steering()

    @overload
    async def call(self, call: ToolCall, /) -> ToolResult: ...
    @overload
    async def call(self, *calls: ToolCall) -> tuple[ToolResult, ...]: ...
    async def call(self, *calls: ToolCall) -> ToolResult | tuple[ToolResult, ...]:
        """Store what was yielded so far with these calls, and run them concurrently, at most 16 at a time. Calls of
        several `call`s that are awaited together (`asyncio.gather`) run one after another: a message with calls is
        stored before they run, and the next message only when each of them has its result. So give all to one `call`.

        Returns:
            The results in the order of the calls; for one call its result. A failed tool is a result with `is_error`,
            not an exception.

        If the agent cancels this (`async with asyncio.timeout(10)`), the tools are cancelled, and each call without a
        result gets one with `is_error` and the error `cancelled`, which an agent that starts again gets from this
        call. Then the agent may go on.
        """
        results = await self._io.commit_calls(calls)
        return results[0] if len(calls) == 1 else results

    async def record(self, call: ToolCall, result: Any, *, is_error: bool = False) -> ToolResult:
        """Store what was yielded so far with a tool call that has run already, and its result, in one commit. It is
        for tools that a framework runs itself; `call` runs a tool once even if the process dies meanwhile.

        Args:
            call: The call. When the agent starts again, an equal call is not stored a second time.
            result: What the tool returned, a JSON value. It is cut like that of any tool.
            is_error: Whether the tool failed.

        Returns:
            The stored result.
        """
        return await self._io.record_call(call, result, is_error=is_error)

    async def load_files(self, messages: Sequence[Message] | None = None) -> tuple[Message, ...]:
        """The messages with the bytes of the stored files that they refer to: a `File` part instead of each
        `FileReference` that has a `file_id`. A file that is missing or too large for a model (`--limit
        model_file_bytes`, `model_files_bytes`) is a text that says so.

        Args:
            messages: Messages of this chat; default: all of `messages`.

        The files count as loaded (`--limit loaded_files_bytes` is the maximum of all turns of an instance) until the
        next call or `release_files`.

        Returns:
            The messages. Unchanged are those without stored files, the files of answers, and those of tool results
            that are no images.

        Raises:
            AgentError: The store cannot be read now, or there was no room for the files in time.
        """
        return await self._io.load_files(self.messages if messages is None else messages)

    def release_files(self) -> None:
        """The files that were loaded are not used any more: other turns may load theirs."""
        self._io.release_files()

    async def store_file(self, data: FileData, *, media_type: str = "", name: str = "") -> FileReference:
        """Store a file of the chat's owner, by the rules of `POST /files`. Yield what this returns: people see the
        file in the answer. A file that is not yielded is removed later.

        Args:
            data: The bytes, or an asynchronous iterator of pieces of any size. (A plain `def` agent gives bytes.)
            media_type: Its media type; empty: found by the bytes.
            name: Its name, as people see it.

        Raises:
            FileRefused: It is empty or too large, its bytes are not of that type, or too much is stored.
            AgentError: The store does not work now.
        """
        return await self._io.store_file(data, media_type=media_type, name=name)

    async def use_tools(self, *tools: Tool) -> None:
        """Add tools that only this run of the agent has, such as those of a framework. Calls of them that an earlier
        attempt left are run now, so call it before anything else; `messages` then has their results."""
        await self._io.use_tools(tools)

    async def ask(self, question: str, schema: dict[str, Any] | None = None) -> Any:
        """Ask a person, and wait for the answer, however long it takes: the turn requires action until a client
        sends the answer, over any API. The agent then runs again from its start, and this call returns the answer.

        Args:
            question: What is shown to the person, as text.
            schema: A JSON Schema of the answer, by which clients make a form. Default: any text.

        Returns:
            The answer, a JSON value.

        Raises:
            AgentError: There was no answer in time (`--limit action_s`).
        """
        args = {"question": question} | ({"schema": schema} if schema is not None else {})
        (result,) = await self._io.commit_calls((ToolCall(ASK, args),), Needs.ANSWER)
        if result.is_error:
            raise AttemptFailed("unknown", f"The question was not answered: {question}", retryable=False)
        return result.result

    @overload
    async def spawn(self, child: str | ChildChat, /) -> ChildAnswer: ...
    @overload
    async def spawn(self, *children: str | ChildChat) -> tuple[ChildAnswer, ...]: ...
    async def spawn(self, *children: str | ChildChat) -> ChildAnswer | tuple[ChildAnswer, ...]:
        """Start child chats, and wait until all of them are at rest. They run side by side, on any instance, with the
        same agent, at most 16 at a time: the next one starts when one of them ends. Several `spawn`s that are awaited
        together run one after another, as with `call`. A child belongs to the owner of this chat and is listed under
        it; when this turn is interrupted, so are the turns that it has started. After a crash the next attempt finds
        the children and waits on.

        Args:
            children: Each is the first message of a child chat, or a `ChildChat` with more settings.

        Returns:
            How each child ended, in the order of the children; for one child its answer. A child that fails is an
            answer with the outcome `failed`, not an exception. If the agent cancels this (`asyncio.timeout`), the
            turns of the children are interrupted; an agent that starts again gets the outcome `interrupted` for them,
            without a `chat_id`.

        Raises:
            AgentError: A child cannot be created, or is nested too deeply. The kind is `budget_exhausted` if the
                owner has used a budget of this day, and `rate_limit` if the owner has started too many turns in each
                of the last minutes: a child waits for the next minute up to four times.
        """
        calls = [ToolCall(SPAWN, msgspec.to_builtins(_child(child))) for child in children]
        results = await self._io.commit_calls(tuple(calls), Needs.CHILD)
        answers = tuple(_child_answer(result) for result in results)
        return answers[0] if len(children) == 1 else answers

    async def run_streamed_calls(self) -> tuple[ToolResult, ...]:
        """Like `call`, for the calls that were yielded in pieces (`ToolCallOpened`, `ToolCallArgs`)."""
        return await self._io.commit_calls(())


def _child(child: str | ChildChat) -> ChildChat:
    return ChildChat(child) if isinstance(child, str) else child


def _child_answer(result: ToolResult) -> ChildAnswer:
    if result.is_error:
        value = result.result if isinstance(result.result, dict) else {"message": result.result}
        said = value.get("message", "")
        if value.get("error") == "cancelled":
            return ChildAnswer(chat_id="", outcome="interrupted", error=said)
        kind = REFUSALS.get(value.get("error", ""), "invalid_request")
        # the result is stored: another try of this turn would read it again
        raise AttemptFailed(kind, f"A child chat could not be started: {said}", retryable=False)
    return msgspec.convert(result.result, ChildAnswer)
