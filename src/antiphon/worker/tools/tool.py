"""`@tool` makes a function a tool: its JSON Schema comes from the type hints, its description from the docstring."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, get_type_hints, overload

import msgspec
import structlog

from antiphon.core.depth import DEPTH_MAX, is_deeper
from antiphon.core.parts import FileReference
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.ports import ToolSpec
from antiphon.wire.codec import encode
from antiphon.worker.children import ChildAnswer, ChildChat
from antiphon.worker.thread import run_in_thread

log = structlog.get_logger(__name__)

OUTPUT_BYTES_MAX = 64 * 1024
"""Maximum size of a tool's result, in bytes. A longer one is truncated and says so."""


class ToolFailed(Exception):
    """Raised by a tool that failed: `value`, a JSON value, becomes the result, marked as an error."""

    def __init__(self, value: Any) -> None:
        super().__init__("the tool failed")
        self.value = value


FileData = bytes | bytearray | memoryview | AsyncIterable[bytes]
"""The bytes of a file, or an asynchronous iterator of its pieces."""


class FileRefused(ToolFailed):
    """A file was not stored, for a reason that the caller can change. `code` is one of those of the HTTP API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__({"error": code, "message": message})
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class ToolContext:
    """Given to a tool that has a parameter of this type: which call it runs, how to report progress, and how to store
    files."""

    def __init__(
        self,
        *,
        chat_id: str,
        turn_id: int,
        tool_call_id: str,
        progress: Callable[[str], None],
        owner: str = "",
        labels: dict[str, str] | None = None,
        deps: Any = None,
        spawn: Callable[[ChildChat], Awaitable[ChildAnswer]] | None = None,
        store_file: Callable[..., Awaitable[FileReference]] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._store_file = store_file
        self._loop = loop
        self.chat_id = chat_id
        self.turn_id = turn_id
        self.tool_call_id = tool_call_id
        self.owner = owner
        """The id of the chat's owner."""
        self.labels = labels or {}
        self.deps = deps
        """What the application's function made for this turn, as `turn.deps`."""
        self._progress = progress
        self._spawn = spawn
        self._is_closed = False

    def close(self) -> None:
        """The call has ended: a tool that ignores its cancellation or its time limit starts no more child chats."""
        self._is_closed = True

    async def spawn(self, child: str | ChildChat) -> ChildAnswer:
        """Start a child chat and wait until it is at rest, as `Turn.spawn`; in tools that are coroutine functions. If
        the tool is idempotent and runs again after its worker was lost, it finds the children that it started.

        Raises:
            Refused: The child cannot be created, or there are too many.
        """
        if self._spawn is None:
            raise RuntimeError("this context belongs to no turn that can start child chats")
        if self._is_closed:
            raise asyncio.CancelledError
        return await self._spawn(ChildChat(child) if isinstance(child, str) else child)

    def progress(self, text: str) -> None:
        """Show `text` to the watchers of the chat. It is not stored. May be called in any thread."""
        self._progress(str(text))

    async def store_file(self, data: FileData, *, media_type: str = "", name: str = "") -> FileReference:
        """Store a file of the chat's owner, by the rules of `POST /files`. Return what this returns, alone or
        anywhere in the tool's result: people see the file, and a model that can see images in results gets an image.
        A file that no result names is removed later.

        Args:
            data: The bytes, or an asynchronous iterator of pieces of any size.
            media_type: Its media type; empty: found by the bytes.
            name: Its name, as people see it.

        Raises:
            FileRefused: It is empty or too large, its bytes are not of that type, or too much is stored. Uncaught it
                is the tool's result.
            AgentError: The store does not work now.
        """
        if self._store_file is None:
            raise RuntimeError("this tool runs outside a turn, which has no files")
        return await self._store_file(data, media_type=media_type, name=name)

    def store_file_blocking(
        self, data: bytes | bytearray | memoryview, *, media_type: str = "", name: str = ""
    ) -> FileReference:
        """`store_file` for plain functions, which run in a thread: blocks until the file is stored."""
        if self._loop is None:
            raise RuntimeError("this tool runs outside a turn, which has no files")
        storing = self.store_file(data, media_type=media_type, name=name)
        return asyncio.run_coroutine_threadsafe(storing, self._loop).result()


class Tool(Value, gc=True):
    """A function that an agent may call, made by `@tool`. Calling it calls the function."""

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    arguments: type[msgspec.Struct] = msgspec.Struct
    context_name: str = ""
    is_idempotent: bool = False
    needs_approval: bool | Callable[[Any], bool] = False
    timeout_s: float | None = None
    asks_person: bool = False
    """Whether a person's answer is the result of a call, and nothing runs."""
    is_client_tool: bool = False
    """Whether a client runs it, not the server."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def must_be_approved(self, args: Any) -> bool:
        """Whether a person must approve a call with these arguments. A policy that fails asks for approval."""
        if not callable(self.needs_approval):
            return self.needs_approval
        try:
            return bool(self.needs_approval(copy.deepcopy(args)))
        except Exception as error:
            log.warning("approval_policy_failed", tool=self.name, error=type(error).__name__)
            return True

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=self.name, description=self.description, parameters=self.parameters)

    async def run(self, args: Any, context: ToolContext) -> Any:
        """Call the function, a plain one in a thread.

        Returns:
            Its result as a JSON value, truncated at OUTPUT_BYTES_MAX.

        Raises:
            Invalid: The arguments do not match the parameters. The function's own errors are raised as they are.
        """
        try:
            checked = msgspec.convert(args if args is not None else {}, self.arguments)
        except msgspec.ValidationError as error:
            raise Invalid("args", str(error)) from error
        kwargs = {name: getattr(checked, name) for name in checked.__struct_fields__}
        if self.context_name:
            kwargs[self.context_name] = context
        if inspect.iscoroutinefunction(self.function):
            result = await self.function(**kwargs)
        else:
            result = await run_in_thread(lambda: self.function(**kwargs), name=f"antiphon-tool-{self.name}")
        return cap_output(msgspec.to_builtins(result, str_keys=True))


class RawTool(Tool):
    """A tool whose coroutine function gets the arguments as they are, and the context: `await function(args,
    context)`."""

    async def run(self, args: Any, context: ToolContext) -> Any:
        return cap_output(msgspec.to_builtins(await self.function(args, context), str_keys=True))


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str = ...,
    idempotent: bool = ...,
    needs_approval: bool | Callable[[Any], bool] = ...,
    timeout_s: float | None = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    idempotent: bool = False,
    needs_approval: bool | Callable[[Any], bool] = False,
    timeout_s: float | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a function a tool. Its parameters' type hints become the JSON Schema, its docstring the description.

    Args:
        function: The function, where `@tool` is used without arguments.
        name: The tool's name. Default: the function's.
        idempotent: Whether it may run again after its worker was lost. If not, it runs at most once, and its outcome
            is recorded as unknown.
        needs_approval: Whether a person must approve each call, or a function of the call's arguments that says so.
        timeout_s: Its own time limit, in seconds.

    Raises:
        TypeError: A parameter is positional-only or variadic, or `needs_approval` is a coroutine function.
    """

    if inspect.iscoroutinefunction(needs_approval):
        raise TypeError("needs_approval is a plain function: it decides at once, by the arguments")

    def make(function: Callable[..., Any]) -> Tool:
        arguments, context_name = _arguments_of(function)
        return Tool(
            name=name or function.__name__,
            description=inspect.getdoc(function) or "",
            parameters=_schema_of(arguments),
            function=function,
            arguments=arguments,
            context_name=context_name,
            is_idempotent=idempotent,
            needs_approval=needs_approval,
            timeout_s=timeout_s,
        )

    return make(function) if function is not None else make


def _arguments_of(function: Callable[..., Any]) -> tuple[type[msgspec.Struct], str]:
    """A struct with the function's parameters, and the name of the one for the context."""
    hints = get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    context_name = ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"{function.__name__}: a tool takes named parameters only, not {parameter}")
        kind = hints.get(parameter.name, Any)
        if kind is ToolContext:
            context_name = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, _default_of(parameter.default)))
    struct = msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)
    return struct, context_name


def _default_of(default: Any) -> Any:
    if isinstance(default, list | dict | set):
        return msgspec.field(default_factory=lambda: default.copy())
    return default


def _schema_of(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    (top,), definitions = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    schema = dict(definitions.pop(top["$ref"].rsplit("/", 1)[-1]))
    schema.pop("title", None)
    if definitions:
        schema["$defs"] = definitions
    return schema


def cap_output(result: Any) -> Any:
    """The result; its JSON as a text if it is nested too deeply; or the beginning of that and a note if it is too
    long."""
    encoded = result.encode("utf-8", "replace") if isinstance(result, str) else encode(result)
    if len(encoded) <= OUTPUT_BYTES_MAX:
        is_text = isinstance(result, str) or not is_deeper(encoded, DEPTH_MAX)
        return result if is_text else encoded.decode()
    shown = encoded[:OUTPUT_BYTES_MAX].decode("utf-8", "ignore")
    return f"{shown}\n[cut: {len(encoded):,} bytes, {OUTPUT_BYTES_MAX:,} shown]"
