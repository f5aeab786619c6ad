"""One chat over every protocol: who joins it, and the steps of its course."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from antiphon.testing.checker import check
from api.acp.editor import open_editor
from api.acp.test_editors import chosen
from api.agui.conftest import CLIENT as AGUI_SCRIPT
from api.agui.conftest import NodeClient as AgUiNode
from api.ui_stream.conftest import CLIENT as UI_SCRIPT
from api.ui_stream.conftest import NodeClient as UiNode
from api.ui_stream.conftest import Seen as UiSeen
from support.waiting import wait_until

from .node_clients import AgUi, UseChat
from .python_clients import Command, Editor, OpenAi, Resource, Socket
from .screens import open_page, open_terminal
from .scripted_trial import ScriptedTrial
from .transcript import Said, Shows, has_begun, of_messages, words

ABANDONED = [True, False, False, True, False, True]
"""The model calls: an answer that is killed and the one that replaces it, the call of the tool, the answer to its
result twice, and the one that is stopped."""


class Course:
    """The clients, and what happens in the chat. `turn` is the number of the newest message."""

    def __init__(self, folder: Path, trial: ScriptedTrial, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.trial = trial
        self.turn = 0
        self.chat_id = ""
        self.watchers: list[Shows] = []
        """The clients that show the answer while it is written."""
        self._stack = stack
        self._turn_ids: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.trial.server.port}"

    @property
    def access(self) -> tuple[str, str]:
        return self.url, self.trial.server.token

    # --- joining

    async def begin(self) -> None:
        """`useChat` begins the chat."""
        node = await UiNode.start(UI_SCRIPT)
        self._stack.push_async_callback(node.close)
        self.use_chat = UseChat(await node.open(*self.access, "a page's own name"))
        self.watchers.append(self.use_chat)
        self.send("first")
        seen = await wait_until(self.use_chat.report, "the chat has begun", accept=lambda seen: seen.requests)
        self.chat_id = seen.requests[0]["chatId"]
        self.trial.begin_watching(self.chat_id)

    async def join(self) -> None:
        """All others that need no screen."""
        stack, (url, token) = self._stack, self.access
        node = await AgUiNode.start(AGUI_SCRIPT)
        stack.push_async_callback(node.close)
        self.ag_ui = AgUi(await node.open(url, token, self.chat_id))
        self.ag_ui.join()
        socket = await stack.enter_async_context(Socket(url, token, self.trial.record_watcher()).following())
        env = {"ANTIPHON_TOKEN": token}
        client = await stack.enter_async_context(open_editor("--url", url, env=env, log=self.folder / "acp.log"))
        self.editor = Editor(client, self.chat_id)
        await client.load(self.chat_id)
        openai = AsyncOpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0)
        self.openai = OpenAi(await stack.enter_async_context(openai), self.chat_id)
        self.watchers += [self.ag_ui, socket, self.editor, self._command("attach", self.chat_id)]

    async def open_screens(self) -> None:
        """A browser and a terminal."""
        self.watchers.append(await self._stack.enter_async_context(open_page(*self.access, self.chat_id)))
        self.watchers.append(await self._stack.enter_async_context(open_terminal(self.folder, self.chat_id)))

    def _command(self, *args: str) -> Command:
        command = Command(args, self.folder / f"{args[0]}.jsonl", env={"XDG_RUNTIME_DIR": str(self.folder)})
        self._stack.push_async_callback(command.close)
        return command

    # --- the course

    def send(self, word: str) -> None:
        """A message of the page."""
        self.turn += 1
        self.use_chat.send(word, f"page-{self.turn}")

    async def wait_shown(self, tokens: int) -> None:
        """Until every watcher shows this number of tokens of the answer."""
        for watcher in self.watchers:
            await wait_until(
                watcher.said,
                f"{watcher.name} shows {tokens} tokens of answer {self.turn}",
                accept=lambda said: has_begun(said, turn=self.turn, tokens=tokens),
            )

    async def kill_and_start(self) -> None:
        """`kill -9`; each client comes back in its own way."""
        await self.trial.server.kill()
        cut_off = await self.use_chat.ended()
        assert cut_off.status == "error", "its stream has broken"
        await self.ag_ui.ended()
        await self.trial.server.start()
        self.resume()

    def resume(self) -> None:
        self.use_chat.resume()
        self.ag_ui.join()

    async def wait_complete(self) -> UiSeen:
        """Until the turn has ended, and every watcher shows what the API has."""
        await self.trial.settle()
        seen = await self.use_chat.ended()
        await self.ag_ui.ended()
        assert (seen.status, seen.error) == ("ready", None)
        expected = of_messages(await self.trial.api_messages())
        assert len(expected) == 2 * self.turn
        await self._wait_same(self.watchers, expected)
        user, answer = seen.messages[-2:]
        self._turn_ids.append(answer["metadata"]["turnId"])
        self.trial.record_sent(user["id"], expected[-2][1], self._turn_ids[-1])
        return seen

    async def _wait_same(self, clients: list[Shows], expected: Said) -> None:
        for client in clients:
            same = expected if client.is_exact else words(expected)
            await wait_until(client.said, f"{client.name} shows {same}", accept=same.__eq__)

    async def approve(self) -> None:
        """The editor is asked for a permission, and gives it."""
        shown = await self.use_chat.ended()
        assert shown.parts("tool-pay")[0]["state"] == "approval-requested"
        self.ag_ui.join()
        (interrupt,) = (await self.ag_ui.ended()).interrupts
        assert interrupt["reason"] == "tool_call"
        asked, answer = await self.editor.client.wait_asked(self.chat_id)
        assert asked["toolCall"]["title"].startswith("pay(")
        answer.set_result(chosen("allow"))
        await self.wait_running()
        self.resume()

    async def wait_running(self) -> int:
        """Until a turn runs. Returns its id."""
        chat = await wait_until(self._chat, "a turn runs", accept=lambda chat: chat["status"] == "running")
        return int(chat["turn_id"])

    async def _chat(self) -> dict[str, Any]:
        status, chat = await self.trial.server.ask("GET", f"/chats/{self.chat_id}")
        assert status == 200
        return dict(chat)

    async def stop(self, tokens: int) -> None:
        """OpenAI's SDK cancels the response that it follows, when every watcher shows that many tokens."""
        turn_id = await self.wait_running()
        self.ag_ui.join()
        following = asyncio.create_task(self.openai.follow(turn_id))
        await self.wait_shown(tokens)
        await wait_until(lambda: self.openai.streamed, "OpenAI's client has a beginning")
        status, text = await self.openai.cancel(turn_id)
        self.trial.record_stop(turn_id)
        assert (status, await following) == ("cancelled", "cancelled")
        assert self.openai.streamed == text

    # --- the end

    async def check_end(self) -> None:
        """All show the same, repeated requests run nothing, and the checker finds nothing."""
        expected = of_messages(await self.trial.api_messages())
        calls = len(self.trial.model.requests)
        for number in await self._posts():
            assert (await self.use_chat.repeat(number)).endswith("data: [DONE]\n\n")
        await self._wait_same([*self.watchers, self.openai, Resource(*self.access, self.chat_id)], expected)
        assert of_messages(await self.trial.api_messages()) == expected
        assert len(self.trial.model.requests) == calls
        evidence = await self.trial.collect()
        assert check(evidence) == []
        assert len(evidence.tool_runs) == 1
        assert len(self.editor.client.asked) == 1
        assert len(evidence.watched) == 3
        assert [request.is_abandoned for request in self.trial.model.requests] == ABANDONED

    async def _posts(self) -> list[int]:
        requests = (await self.use_chat.report()).requests
        found = [number for number, request in enumerate(requests) if request["method"] == "POST"]
        assert len(found) == self.turn
        return found


@asynccontextmanager
async def open_course(folder: Path, *, seed: int, on_worker_lost: str) -> AsyncIterator[Course]:
    env = {"XDG_RUNTIME_DIR": str(folder)}
    folder.chmod(0o700)
    how = {"seed": seed, "on_worker_lost": on_worker_lost, "tokens_per_s": 60.0}
    async with ScriptedTrial(folder, **how, **env) as trial, AsyncExitStack() as stack:
        yield Course(folder, trial, stack)
