"""The clients from npm: `useChat`'s chat of the AI SDK, and AG-UI's `HttpAgent`. Each request that was cut off is
followed by one that resumes, as their pages do it."""

from __future__ import annotations

import asyncio

from api.agui.conftest import Client as Agent
from api.agui.conftest import Seen as AgUiSeen
from api.ui_stream.conftest import Seen as UiSeen
from api.ui_stream.conftest import UiChat

from .transcript import Said, joined, text_of


class UseChat:
    """The chat of a page that sends."""

    name = "useChat"
    is_exact = True

    def __init__(self, chat: UiChat) -> None:
        self._chat = chat
        self._request: asyncio.Task[UiSeen] | None = None

    def send(self, text: str, message_id: str) -> None:
        """Send; the answer is read in the background."""
        message = {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}
        self._request = asyncio.create_task(self._chat.do("send", message=message))

    def resume(self) -> None:
        self._request = asyncio.create_task(self._chat.do("resume"))

    async def ended(self) -> UiSeen:
        """What the last request has brought."""
        assert self._request is not None
        return await self._request

    async def report(self) -> UiSeen:
        return await self._chat.do("report")

    async def repeat(self, number: int) -> str:
        """Send a request once more, as a page without an answer would. Returns the stream."""
        return (await self._chat.do("repeat", number=number)).repeated

    async def said(self) -> Said:
        return joined((message["role"], text_of(message["parts"])) for message in (await self.report()).messages)


class AgUi:
    """A page that watches: it joins the run in progress."""

    name = "AG-UI"
    is_exact = True

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._run: asyncio.Task[AgUiSeen] | None = None

    def join(self) -> None:
        self._run = asyncio.create_task(self._agent.do("connect"))

    async def ended(self) -> AgUiSeen:
        """What the last run has brought."""
        assert self._run is not None
        return await self._run

    async def said(self) -> Said:
        messages = (await self._agent.do("report")).messages
        return joined((message["role"], message.get("content") or "") for message in messages)
