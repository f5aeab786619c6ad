"""An editor: the official Python SDK, connected to an `antiphon acp` process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, RequestError, connect_to_agent, text_block
from acp.connection import StreamEvent
from acp.schema import ClientCapabilities

from support.forked import AsyncForked, Forked
from support.waiting import DEADLINE_S, wait_until

Update = dict[str, Any]


class Process:
    """`antiphon acp` with pipes, as an editor starts it."""

    def __init__(self, process: AsyncForked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer

    async def end(self) -> int:
        """Close its input. Returns its exit code."""
        self.writer.close()
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


@asynccontextmanager
async def acp_process(
    *options: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, log: Path | None = None
) -> AsyncIterator[Process]:
    loop = asyncio.get_running_loop()
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    with (
        os.fdopen(their_in, "rb") as stdin,
        os.fdopen(their_out, "wb") as stdout,
        (log or Path(os.devnull)).open("ab") as stderr,
    ):
        given = {**os.environ, **(env or {})}
        process = Forked(["acp", *options], cwd=cwd, env=given, stdin=stdin, stdout=stdout, stderr=stderr)
    reader = asyncio.StreamReader(limit=1 << 24)
    receiving, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(our_in, "rb"))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(our_out, "wb"))
    found = Process(AsyncForked(process), reader, asyncio.StreamWriter(transport, protocol, None, loop))
    try:
        yield found
    finally:
        found.writer.close()
        if found.process.returncode is None:
            await found.end()
        receiving.close()


class Editor:
    """What the SDK calls, and what it was called with. `permissions` and `forms` wait for `answer`."""

    def __init__(self) -> None:
        self.updates: dict[str, list[Update]] = {}
        self.asked: list[tuple[str, dict[str, Any], asyncio.Future[Any]]] = []
        self.messages: list[dict[str, Any]] = []
        self.agent: Any = None

    # --- the SDK's client

    def on_connect(self, conn: Any) -> None:
        self.agent = conn

    async def session_update(self, session_id: str, update: Any, **more: Any) -> None:
        shown = update.model_dump(by_alias=True, exclude_none=True)
        self.updates.setdefault(session_id, []).append(shown)

    async def request_permission(self, session_id: str, tool_call: Any, options: Any, **more: Any) -> Any:
        shown = {"toolCall": tool_call.model_dump(by_alias=True, exclude_none=True)}
        shown["options"] = [option.model_dump(by_alias=True, exclude_none=True) for option in options]
        return await self._ask(session_id, shown)

    async def create_elicitation(self, message: str, mode: Any, **more: Any) -> Any:
        shown = {"message": message, **mode.model_dump(by_alias=True, exclude_none=True)}
        return await self._ask(shown["sessionId"], shown)

    async def _ask(self, session_id: str, shown: dict[str, Any]) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.asked.append((session_id, shown, future))
        return await future

    def observe(self, event: StreamEvent) -> None:
        self.messages.append(event.message)

    # --- for tests

    async def new(self, **fields: Any) -> str:
        made = await self.agent.new_session(cwd="/work", **{"mcp_servers": [], **fields})
        return str(made.session_id)

    async def load(self, chat_id: str) -> list[Update]:
        """The replay."""
        self.updates.pop(chat_id, None)
        await self.agent.load_session(cwd="/work", session_id=chat_id, mcp_servers=[])
        return list(self.updates.get(chat_id, []))

    async def prompt(self, chat_id: str, *content: Any) -> str:
        """The stop reason."""
        blocks = [text_block(one) if isinstance(one, str) else one for one in content]
        async with asyncio.timeout(DEADLINE_S):
            return str((await self.agent.prompt(session_id=chat_id, prompt=blocks)).stop_reason)

    async def refused(self, work: Any) -> RequestError:
        try:
            await work
        except RequestError as error:
            return error
        raise AssertionError("it was not refused")

    def text(self, chat_id: str, kind: str = "agent_message_chunk") -> str:
        return text_of(self.updates.get(chat_id, []), kind)

    async def wait_text(self, chat_id: str, text: str, kind: str = "agent_message_chunk") -> None:
        await wait_until(lambda: text in self.text(chat_id, kind), f"the text {text!r}")

    async def wait_asked(self, chat_id: str) -> tuple[dict[str, Any], asyncio.Future[Any]]:
        """The open request to the person, and the future of its answer."""

        def open_requests() -> list[Any]:
            return [one[1:] for one in self.asked if one[0] == chat_id and not one[2].done()]

        (found,) = await wait_until(open_requests, "a request to the person")
        return found  # type: ignore[no-any-return]

    def calls(self, chat_id: str) -> dict[str, Update]:
        """Each tool call with its latest fields."""
        return calls_of(self.updates.get(chat_id, []))


def of_kind(updates: list[Update], kind: str) -> list[Update]:
    return [one for one in updates if one["sessionUpdate"] == kind]


def text_of(updates: list[Update], kind: str = "agent_message_chunk") -> str:
    return "".join(one["content"].get("text", "") for one in of_kind(updates, kind))


def calls_of(updates: list[Update]) -> dict[str, Update]:
    found: dict[str, Update] = {}
    for one in updates:
        if one["sessionUpdate"] in ("tool_call", "tool_call_update"):
            fields = {name: value for name, value in one.items() if name != "sessionUpdate"}
            found.setdefault(one["toolCallId"], {}).update(fields)
    return found


@asynccontextmanager
async def open_editor(*options: str, capabilities: Any = None, **more: Any) -> AsyncIterator[Editor]:
    async with acp_process(*options, **more) as process:
        editor = Editor()
        connection = connect_to_agent(
            editor, process.writer, process.reader, observers=[editor.observe], use_unstable_protocol=True
        )
        try:
            given = ClientCapabilities.model_validate(capabilities or {})
            await connection.initialize(protocol_version=PROTOCOL_VERSION, client_capabilities=given)
            yield editor
        finally:
            await connection.close()
        assert await process.end() == 0
