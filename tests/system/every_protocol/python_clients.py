"""The clients from PyPI: `websockets`, the SDK of editors (ACP), OpenAI's and MCP's; and two commands of our own that
follow a chat. All but OpenAI's reconnect by themselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from antiphon.core.events import Event
from antiphon.core.view import View
from antiphon.testing.evidence import Watched
from antiphon.wire.acp.updates import WITHDRAWN
from antiphon.wire.mcp_server.uris import json_uri
from antiphon.wire.openai.ids import ResponseId, conversation_id
from antiphon.wire.stream import decode_event
from api.acp.editor import Editor as AcpClient
from api.mcp.conftest import connected as mcp_client
from support.forked import AsyncForked, Forked

from .transcript import Said, joined, of_messages, text_of

NOT_EVENTS = {"ping", "watching"}
RETRY_S = 0.05


class Socket:
    """A WebSocket that watches the chat, by its cursor after each break. Its events are evidence."""

    name = "WebSocket"
    is_exact = True

    def __init__(self, url: str, token: str, watched: Watched) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/api/v1/ws"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._watched = watched
        self._view = View()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Socket]:
        self._task = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            with suppress(OSError, ConnectionClosed, InvalidHandshake):
                async with connect(self._url, additional_headers=self._headers, max_size=None) as connection:
                    watch = {"op": "watch", "chat_id": self._watched.chat_id, "cursor": self._cursor}
                    await connection.send(json.dumps(watch))
                    async for message in connection:
                        self._apply(json.loads(message))
            self._watched.breaks.append(len(self._watched.events))
            await asyncio.sleep(RETRY_S)

    @property
    def _cursor(self) -> str:
        return self._view.cursor if self._view.seq else ""

    def _apply(self, message: dict[str, Any]) -> None:
        if message["type"] in NOT_EVENTS:
            return
        assert message.pop("chat_id") == self._watched.chat_id
        cursor = message.pop("cursor", "")
        event: Event = decode_event(json.dumps(message).encode(), cursor=cursor)
        self._watched.events.append((event, time.monotonic()))
        self._view.apply(event)

    async def said(self) -> Said:
        if self._task.done():
            self._task.result()
        return of_messages(self._view.messages, self._view.draft.text())


class Editor:
    """An editor that has loaded the chat."""

    name = "ACP"
    is_exact = True

    def __init__(self, client: AcpClient, chat_id: str) -> None:
        self.client = client
        self._chat_id = chat_id

    async def said(self) -> Said:
        return joined(self._pieces())

    def _pieces(self) -> Iterator[tuple[str, str]]:
        """The messages, without the text that the agent has withdrawn."""
        messages: dict[str, tuple[str, str]] = {}
        for update in self.client.updates.get(self._chat_id, []):
            kind = update["sessionUpdate"]
            if kind not in ("user_message_chunk", "agent_message_chunk"):
                continue
            if withdrawn := update.get("_meta", {}).get(WITHDRAWN):
                messages.pop(withdrawn)
                continue
            _, before = messages.get(update["messageId"], ("", ""))
            role = "user" if kind == "user_message_chunk" else "assistant"
            messages[update["messageId"]] = (role, before + update["content"]["text"])
        yield from messages.values()


class Command:
    """`antiphon … --json`: a process that prints the events of the chat, one on a line."""

    is_exact = True

    def __init__(self, args: tuple[str, ...], output: Path, env: dict[str, str]) -> None:
        self.name = f"antiphon {args[0]} --json"
        self._output = output
        with output.open("wb") as stdout, output.with_suffix(".log").open("wb") as stderr:
            self._process = AsyncForked(Forked([*args, "--json"], env=env, stdout=stdout, stderr=stderr))

    async def said(self) -> Said:
        view = View()
        for line in self._output.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                view.apply(decode_event(line, cursor=json.loads(line).get("cursor", "")))
        return of_messages(view.messages, view.draft.text())

    async def close(self) -> None:
        assert self._process.returncode is None, self._output.with_suffix(".log").read_text()
        self._process.kill()
        await self._process.wait()


class OpenAi:
    """OpenAI's SDK: it stops the response of a turn, and reads the chat as a conversation."""

    name = "OpenAI"
    is_exact = True

    def __init__(self, client: AsyncOpenAI, chat_id: str) -> None:
        self._client = client
        self._chat_id = chat_id
        self.streamed = ""

    def response_of(self, turn_id: int) -> str:
        return str(ResponseId(self._chat_id, turn_id, turn_id))

    async def follow(self, turn_id: int) -> str:
        """Stream the response of a turn. Returns its status at the end."""
        status = ""
        async for event in await self._client.responses.retrieve(self.response_of(turn_id), stream=True):
            if event.type == "response.output_text.delta":
                self.streamed += event.delta
            elif event.type in ("response.completed", "response.incomplete", "response.failed", "response.cancelled"):
                status = str(event.response.status)
        return status

    async def cancel(self, turn_id: int) -> tuple[str | None, str]:
        """The status and the text of the response."""
        response = await self._client.responses.cancel(self.response_of(turn_id))
        return response.status, response.output_text

    async def said(self) -> Said:
        """From the items of the conversation."""
        found = []
        async for item in self._client.conversations.items.list(conversation_id(self._chat_id), order="asc"):
            if item.type == "message":
                found.append((str(item.role), text_of(item.to_dict()["content"])))
        return joined(found)


class Resource:
    """The chat as a resource of MCP."""

    name = "MCP"
    is_exact = True

    def __init__(self, url: str, token: str, chat_id: str) -> None:
        self._access = url, token
        self._chat_id = chat_id

    async def said(self) -> Said:
        async with mcp_client(*self._access) as client:
            (content,) = (await client.read_resource(json_uri(self._chat_id))).contents
        return of_messages(json.loads(content.text)["messages"])
