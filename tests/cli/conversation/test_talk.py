"""The commands of a conversation on a real server: typed into the real input line, printed to a recorded output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.conversation.prompt_screen import SYNC_BEGINS, SYNC_ENDS, PromptScreen
from antiphon.cli.conversation.talk import Talk
from antiphon.client import AsyncClient
from client.servers import ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.anyio


class Recorded(DummyOutput):
    """Collects the final text."""

    def __init__(self) -> None:
        self.text = ""
        self.bells = 0

    def write_raw(self, data: str) -> None:
        if data not in (SYNC_BEGINS, SYNC_ENDS):
            self.text += data

    def bell(self) -> None:
        self.bells += 1


class Typist:
    """`type` submits a line, `shown` waits for text that was not shown before the last line."""

    def __init__(self, talk: Talk, typed: PipeInput, output: Recorded) -> None:
        self.talk = talk
        self.output = output
        self._typed = typed
        self._from = 0

    async def type(self, line: str, *shown: str) -> None:
        self._from = len(self.output.text)
        self._typed.send_text(f"{line}\r")
        for text in shown:
            await wait_until(
                lambda: self.output.text[self._from :], what=f"{text!r} after {line!r}", accept=partial(_has, text)
            )

    async def answered(self) -> None:
        view = self.talk.chat.transcript
        await wait_until(lambda: self.talk.chat.chat_id and not view.is_busy and not self.talk.chat.outgoing.texts)

    @property
    def chat_id(self) -> str:
        assert self.talk.chat.chat_id is not None
        return self.talk.chat.chat_id


def _has(text: str, shown: str) -> bool:
    return text in shown


@asynccontextmanager
async def open_talk(client: AsyncClient, **options: Any) -> AsyncIterator[Typist]:
    output = Recorded()
    with create_pipe_input() as typed:
        screen = partial(PromptScreen, input=typed, output=output)
        talk = Talk(client, ChatOptions(**options), files=client, make_screen=screen, history=InMemoryHistory())
        running = asyncio.create_task(talk.run())
        try:
            await wait_until(lambda: "Type a message" in output.text)
            yield Typist(talk, typed, output)
        finally:
            talk.leave()
            await running


async def said(client: AsyncClient, chat_id: str) -> list[str]:
    messages = (await client.messages(chat_id))["messages"]
    return ["".join(part.get("text", "") for part in message.get("content", [])) for message in messages]


async def until(client: AsyncClient, chat_id: str, condition: Callable[[list[str]], bool]) -> None:
    found: Callable[[], Awaitable[list[str]]] = partial(said, client, chat_id)
    await wait_until(found, what="the messages are as expected", accept=condition)


async def test_every_command_works_on_a_server(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with AsyncClient(server.url, server.token) as client, open_talk(client, title="commands", rings=True) as a:
        await a.type("/retry", "There is no chat yet.")
        await a.type("\x15/result", "No tool was called")
        await a.type("/thoughts", "There are no thoughts")
        await a.type("/say one", "\none")
        await a.answered()
        assert a.output.bells == 1
        first = a.chat_id
        await a.type("/retry")
        await until(client, first, lambda texts: texts == ["/say one", "one"])
        await a.type("/edit /say two", "the history was changed", "\ntwo")
        await a.type("/edit")
        await wait_until(lambda: a.talk.screen.buffer.text == "/say two")
        await a.type("!", "\ntwo!")
        await until(client, first, lambda texts: texts == ["/say two!", "two!"])
        await a.type("/title Another title", "(title: Another title)")
        assert (await client.chat(first))["title"] == "Another title"
        await a.type("/model nosuch:model", "nosuch")
        await a.type("/model rehearsal", "(model: rehearsal)")
        assert (await client.chat(first))["model"] == "rehearsal"
        await a.type("/model", "demo model")
        await a.type("/files", "This chat has no files")
        await a.type("/export chat.md", "(written to chat.md")
        assert "two!" in (tmp_path / "chat.md").read_text()
        await a.type("/export chat.md", "exists already")
        await a.type("\x15/share", f"{server.url}/#/shared/")
        await a.type("/share off", "(1 links withdrawn)")
        await a.type("/fork", "a new chat with the same history", "two!")
        assert a.chat_id != first
        assert await said(client, a.chat_id) == ["/say two!", "two!"]
        await a.type("/open last", "(Another title)")
        await wait_until(lambda: a.talk.chat.chat_id == first)
        await a.type("/chats another", "  1  ")
        await a.type("/open 99999", "99999")
        await a.type("/bell", "no")
        await a.type("/new /say three", "(a new chat)", "\nthree")
        await a.answered()
        assert await said(client, a.chat_id) == ["/say three", "three"]
        await a.type("//help", "› /help")


async def test_what_waits_can_be_changed_added_and_stopped(server: ServerProcess) -> None:
    async with AsyncClient(server.url, server.token) as client, open_talk(client) as a:
        await a.type("/rate 20\n/tokens 4000")
        await wait_until(lambda: a.talk.chat.turn_id)
        for text in ("/say one", "/say two", "/say three"):
            await a.type(text)
        queued = a.talk.chat.transcript.view
        await wait_until(lambda: len(queued.queued_messages) == 3)
        await a.type("/queue", "  1  /say one", "  3  /say three")
        await a.type("/queue edit 2 /say changed")
        await a.type("/queue delete 1")
        await wait_until(lambda: len(queued.queued_messages) == 2)
        await a.type("/queue next 9", "Use /queue delete N")
        await a.type("\x15/queue next 2")
        await a.type("", "› /say three")
        await until(client, a.chat_id, lambda texts: texts[-2:] == ["/say changed", "changed"])
        await a.answered()
        await a.type("/rate 20\n/tokens 4000")
        await wait_until(lambda: a.talk.chat.turn_id)
        await a.type("/add and this")
        await wait_until(lambda: [item["when_busy"] for item in queued.queued_messages] == ["steer"])
        await a.type("/queue delete 1")
        await wait_until(lambda: not queued.queued_messages)
        await a.type("/interrupt /rate 20\n/tokens 4000", "(interrupted)", "› /rate 20")
        await wait_until(lambda: a.talk.chat.turn_id)
        await a.type("/say never")
        await wait_until(lambda: a.talk.chat.transcript.view.queued_messages)
        await a.type("/stop all", "removed 1 waiting", "(interrupted)")
        await a.answered()
        assert "/say never" not in await said(client, a.chat_id)
        await a.type("/stop", "No answer is being written.")


async def test_an_answer_is_not_taken_for_a_question_that_just_replaced_another(server: ServerProcess) -> None:
    now = 100.0
    asked: list[dict[str, Any]] = []
    sent: list[str] = []

    async def send(call: dict[str, Any], _: object) -> str:
        sent.append(call["tool_call_id"])
        return ""

    def ask(*names: str) -> None:
        asked[:] = [{"tool_call_id": name, "tool_name": name, "args": {}, "needs": "approval"} for name in names]

    async with AsyncClient(server.url, server.token) as client, open_talk(client) as a:
        a.talk.clock = lambda: now
        a.talk.open_calls = SimpleNamespace(asked=asked, send=send)  # type: ignore[assignment]
        ask("list", "delete")
        a.talk._question()
        ask("delete")  # the first one was answered in another window
        assert not a.talk.on_line("y"), "it was meant for the other question"
        a.talk._question()
        assert not a.talk.on_line("y")
        ask()
        a.talk._question()
        ask("drop")
        assert not a.talk.on_line("y"), "also if nothing was asked in between"
        now += 1.5
        assert a.talk.on_line("y")
        a.talk._question()
        ask("next")
        a.talk._question()
        assert a.talk.on_line("y"), "the question before it was answered here"
        await wait_until(lambda: sent == ["drop", "next"])
