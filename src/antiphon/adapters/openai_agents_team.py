"""The agents of the OpenAI Agents SDK that one turn may run: copies whose tools and handoffs are recorded."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import structlog
from agents import (
    Agent,
    CodeInterpreterTool,
    FileSearchTool,
    FunctionTool,
    Handoff,
    HostedMCPTool,
    ImageGenerationTool,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    ToolSearchTool,
    WebSearchTool,
    handoff,
)
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext

from antiphon.adapters.recorded_calls import Execute, ExecuteLeft, RecordedCalls, text_of
from antiphon.core.parts import ToolResult
from antiphon.errors import AttemptFailed
from antiphon.worker.tools import RawTool
from antiphon.worker.turn import Turn

log = structlog.get_logger(__name__)

HOSTED = (CodeInterpreterTool, FileSearchTool, HostedMCPTool, ImageGenerationTool, ToolSearchTool, WebSearchTool)
"""Tools that the provider runs. Others run in this process, so they must be function tools to be recorded."""


def members_of(agent: Agent[Any]) -> list[Agent[Any]]:
    """The agent and all to which it may hand off, directly or not.

    Raises:
        TypeError: A tool or a handoff runs where it cannot be recorded.
    """
    found: dict[int, Agent[Any]] = {}
    left = [agent]
    while left:
        if id(one := left.pop()) not in found:
            found[id(one)] = one
            for tool in one.tools:
                _check_tool(tool, one)
            left += [_target_of(given, one) for given in reversed(one.handoffs)]
    return list(found.values())


def _check_tool(tool: Any, agent: Agent[Any]) -> None:
    if not isinstance(tool, (FunctionTool, *HOSTED)):
        raise TypeError(f"{agent.name}: {type(tool).__name__} runs in this process, where Antiphon cannot record it")
    nested = getattr(tool, "_agent_instance", None)
    for member in members_of(nested) if nested is not None else ():
        for inner in member.tools:
            if getattr(inner, "needs_approval", False):
                raise TypeError(
                    f"{agent.name}: {inner.name} needs an approval, for which a turn cannot wait inside of the tool "
                    f"{tool.name}; hand off to {member.name} instead"
                )


def _target_of(given: Any, agent: Agent[Any]) -> Agent[Any]:
    target = given._agent_ref() if isinstance(given, Handoff) and given._agent_ref is not None else given
    if not isinstance(target, Agent):
        raise TypeError(f"{agent.name}: make a handoff with handoff(agent), so that its agent is found")
    return target


class Team:
    """Copies of the agents for one turn."""

    def __init__(
        self, members: list[Agent[Any]], calls: RecordedCalls, context: RunContextWrapper[Any], config: RunConfig
    ) -> None:
        self._members = members
        self._calls = calls
        self._context = context
        self._failed: set[str] = set()
        self._to_approve: set[bytes] = set()
        self._copies = {id(one): _copy_of(one) for one in members}
        self._formatter = config.tool_error_formatter
        self.config = replace(config, tracing_disabled=True, tool_error_formatter=self._format_error)
        self._registered: list[tuple[Agent[Any], RawTool]] = []
        self._by_handoff: dict[str, Agent[Any]] = {}

    async def open(
        self, *, metadata_of: Callable[[str], dict[str, Any] | None], wait_read: Callable[[], Awaitable[None]]
    ) -> None:
        """Fill the copies with recorded tools, those of their MCP servers included.

        Args:
            metadata_of: What is stored with a call, by its id.
            wait_read: Waits until what the model has written before its calls is part of the answer.
        """
        self._metadata_of, self._wait_read = metadata_of, wait_read
        for one in self._members:
            copied = self._copies[id(one)]
            tools = [*one.tools, *await one.get_mcp_tools(self._context)]
            copied.tools = [self._tool(tool, copied) if isinstance(tool, FunctionTool) else tool for tool in tools]
            copied.handoffs = [self._handoff(given, one, copied) for given in one.handoffs]

    def current(self, turn: Turn) -> Agent[Any]:
        """The copy that continues the turn: the target of the last handoff that is stored in it."""
        messages = [message for message in turn.messages if message.id >= turn.turn_id]
        results = [part for message in messages for part in message.content if isinstance(part, ToolResult)]
        targets = [self._by_handoff.get(part.tool_name) for part in results if not part.is_error]
        return next((target for target in reversed(targets) if target), self._copies[id(self._members[0])])

    def tools(self, current: Agent[Any]) -> list[RawTool]:
        """All tools and handoffs, by which calls that an earlier attempt left are run. Of several with one name, that
        of the current agent."""
        own = {tool.name: tool for agent, tool in self._registered if agent is current}
        return list(({tool.name: tool for _, tool in reversed(self._registered)} | own).values())

    def _tool(self, tool: FunctionTool, agent: Agent[Any]) -> FunctionTool:
        async def execute_left(args: Any, call_id: str) -> Any:
            text = _json_of(args)
            context = ToolContext(
                self._context.context,
                self._context.usage,
                tool.name,
                call_id,
                text,
                agent=agent,
                run_config=self.config,
            )
            return await self._execute(tool, context, text)

        async def invoke(context: ToolContext[Any], text: str) -> Any:
            outputs: list[Any] = []

            async def execute(args: Any) -> Any:
                try:
                    outputs.append(await self._execute(tool, context, _json_of(args)))
                except Exception as error:
                    outputs.append(error)
                    raise
                return outputs[0]

            args = _args_of(text)
            if await _must_be_approved(tool, context, args):
                self._to_approve.add(_key(args))
            result = await self._call(tool.name, args, context.tool_call_id, execute)
            if outputs and isinstance(outputs[0], ToolFailed):
                return str(outputs[0])
            if outputs and isinstance(outputs[0], Exception):
                raise outputs[0]
            return outputs[0] if outputs and not result.is_error else text_of(result.result)

        self._register(agent, tool.name, tool.description, tool.params_json_schema, execute_left)
        recorded = copy.copy(tool)
        recorded.on_invoke_tool, recorded.needs_approval, recorded.timeout_seconds = invoke, False, None
        return recorded

    async def _execute(self, tool: FunctionTool, context: ToolContext[Any], text: str) -> Any:
        output = await invoke_function_tool(function_tool=tool, context=context, arguments=text)
        if context.tool_call_id in self._failed:
            raise ToolFailed(str(output))
        return output

    def _format_error(self, failure: Any) -> Any:
        """Called by the SDK for an exception of a tool that it turns into an answer to the model."""
        if failure.kind == "tool_exception":
            self._failed.add(failure.call_id)
        return self._formatter(failure) if self._formatter is not None else None

    def _handoff(self, given: Any, agent: Agent[Any], copied: Agent[Any]) -> Handoff[Any, Any]:
        target = self._copies[id(_target_of(given, agent))]
        original = given if isinstance(given, Handoff) else handoff(given)

        async def invoke(context: RunContextWrapper[Any], text: str) -> Any:
            async def execute(args: Any) -> Any:
                return await execute_left(args, "", context)

            result = await self._call(original.tool_name, _args_of(text), "", execute)
            if result.is_error:
                message = f"The handoff to {target.name} failed: {text_of(result.result)}"
                raise AttemptFailed("unknown", message, retryable=False)
            return target

        async def execute_left(args: Any, _: str, context: RunContextWrapper[Any] = self._context) -> Any:
            await original.on_invoke_handoff(context, _json_of(args))
            return {"assistant": target.name}

        self._by_handoff[original.tool_name] = target
        schema = original.input_json_schema or {"type": "object"}
        self._register(copied, original.tool_name, original.tool_description, schema, execute_left)
        return replace(original, on_invoke_handoff=invoke)

    async def _call(self, name: str, args: Any, call_id: str, execute: Execute) -> ToolResult:
        await self._wait_read()
        return await self._calls.call(name, args, call_id, execute, metadata=self._metadata_of(call_id))

    def _register(
        self, agent: Agent[Any], name: str, description: str, parameters: dict[str, Any], execute: ExecuteLeft
    ) -> None:
        tool = self._calls.tool(
            name,
            description=description,
            parameters=parameters,
            execute=execute,
            needs_approval=lambda args: _key(args) in self._to_approve,
        )
        self._registered.append((agent, tool))


def _copy_of(agent: Agent[Any]) -> Agent[Any]:
    """Without tools and handoffs. It asks for the usage of its answers, unless the agent's settings say otherwise."""
    settings = agent.model_settings
    if settings.include_usage is None:
        settings = settings.resolve(ModelSettings(include_usage=True))
    return agent.clone(model_settings=settings, mcp_servers=[], tools=[], handoffs=[])


class ToolFailed(Exception):
    """A tool raised an exception; the text is what the SDK gives to the model."""


async def _must_be_approved(tool: FunctionTool, context: ToolContext[Any], args: Any) -> bool:
    """A policy that fails, or gets arguments that are no object, asks for approval."""
    if isinstance(tool.needs_approval, bool):
        return tool.needs_approval
    if not isinstance(args, dict):
        return True
    try:
        decided = tool.needs_approval(context, copy.deepcopy(args), context.tool_call_id)
        return bool(await decided if inspect.isawaitable(decided) else decided)
    except Exception as error:
        log.warning("approval_policy_failed", tool=tool.name, error=type(error).__name__)
        return True


def _args_of(text: str) -> Any:
    """The arguments as an object; their text if they are none."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _json_of(args: Any) -> str:
    return args if isinstance(args, str) else json.dumps(args, ensure_ascii=False)


def _key(args: Any) -> bytes:
    """Equal for equal arguments."""
    return msgspec.json.encode(args, order="sorted")
