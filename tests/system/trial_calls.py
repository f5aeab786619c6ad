"""Tool calls of all kinds in a trial: of the agent's tools, an MCP server, the clients, and with approval.

Two owners have chats. Each has a canary in its prompt and its messages; the scripted model copies the one of its
prompt into the arguments of the calls. A client answers the calls that wait for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from antiphon.core.events import FactEvent
from antiphon.testing.call_checks import CANARY
from antiphon.testing.evidence import FinalChat, ToolRun
from antiphon.testing.model_answers import FakeCall
from support.ports import free_port
from support.waiting import wait_until

SERVER = str(Path(__file__).parent / "trial_mcp_server.py")
IDEMPOTENT = frozenset({"t_find", "delegate"})
CLIENT_TOOL = {"name": "pick", "description": "Pick one.", "parameters": {"type": "object", "properties": {}}}
OWNERS = 2
TOOL_S = "0.2"
"""How long a tool takes after its effect, in seconds: faults hit calls whose result is not stored."""
Ask = Callable[..., Awaitable[tuple[int, Any]]]


class TrialCalls:
    """The MCP server, the owners and their canaries, and the client that answers calls."""

    def __init__(self, folder: Path, rnd: random.Random) -> None:
        self._folder = folder
        self._random = rnd
        self._log = folder / "mcp.log"
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._owners: list[tuple[str | None, str]] = []
        self._owner_of: dict[str, int] = {}
        self._decisions: dict[tuple[str, str], bool] = {}
        self.denied: set[tuple[str, str]] = set()
        self.answered = 0

    # --- the MCP server

    @property
    def config(self) -> Path:
        """A configuration file of `antiphon serve`."""
        path = self._folder / "antiphon.toml"
        address = f"127.0.0.1:{self._port}"
        serve = f'[serve]\nallow-outbound = ["{address}"]\n'
        path.write_text(f'{serve}\n[mcp.t]\nurl = "http://{address}/mcp"\ncall_s = 20\n')
        return path

    async def start(self) -> None:
        with open(self._folder / "mcp_server.log", "wb") as log:  # noqa: ASYNC230 - a local file, once
            command = (sys.executable, SERVER, str(self._log), str(self._port))
            env = {**os.environ, "TRIAL_TOOL_S": TOOL_S}
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=env)
        await wait_until(self._accepts, "the MCP server accepts connections")

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    # --- owners

    async def make_owners(self, ask: Ask) -> None:
        """The admin and another owner, each with a canary in its prompt."""
        for number in range(OWNERS):
            made = (await ask("POST", "/tokens", {"owner": f"owner {number}"}))[1] if number else {}
            token, canary = made.get("token"), f"canary-{self._random.getrandbits(32):08x}"
            self._owners.append((token, canary))
            status, _ = await ask("PUT", "/me/prompt", {"prompt": f"You serve {canary}."}, token=token)
            assert status == 200

    def add_chat(self, chat_id: str) -> None:
        self._owner_of[chat_id] = len(self._owner_of) % OWNERS

    def add_child(self, parent_chat_id: str, chat_id: str) -> None:
        self._owner_of[chat_id] = self._owner_of[parent_chat_id]

    def token_of(self, chat_id: str) -> str | None:
        return self._owners[self._owner_of[chat_id]][0]

    def canary_of(self, chat_id: str) -> str:
        return self._owners[self._owner_of[chat_id]][1]

    @property
    def canaries(self) -> dict[str, str]:
        return {chat_id: self.canary_of(chat_id) for chat_id in self._owner_of}

    # --- calls

    def planned(self, call: int, prompt: str) -> tuple[FakeCall, ...]:
        """A random selection of calls of all kinds, with the canary of the model's prompt."""
        found = CANARY.search(prompt)
        canary = found[0] if found else ""
        rnd = random.Random(call)
        names = rnd.sample(["note", "t_note", "t_find", "pick", "pay", "delegate"], rnd.randint(1, 4))
        return tuple(FakeCall(name, _args_of(name, f"k{call}", canary)) for name in names)

    async def answer_calls(self, chat_id: str, ask: Ask) -> None:
        """Answer the calls of a chat that wait for a client, until cancelled."""
        rnd = random.Random(chat_id)
        while True:
            await asyncio.sleep(rnd.uniform(0.02, 0.2))
            try:
                status, chat = await ask("GET", f"/chats/{chat_id}")
                for call in chat.get("open_calls", []) if status == 200 else []:
                    await self._answer(chat_id, call, rnd, ask)
            except OSError:
                pass  # no response: the call is still open, or the answer was stored

    async def _answer(self, chat_id: str, call: dict[str, Any], rnd: random.Random, ask: Ask) -> None:
        call_id = call["tool_call_id"]
        if call["needs"] == "result":
            body = {"tool_call_id": call_id, "result": {"picked": self.canary_of(chat_id)}}
            status, _ = await ask("POST", f"/chats/{chat_id}/tool-results", body)
        else:
            # every second one is denied, and a repeated answer is the same
            is_approved = self._decisions.setdefault((chat_id, call_id), len(self._decisions) % 2 == 0)
            body = {"tool_call_id": call_id, "approved": is_approved}
            status, _ = await ask("POST", f"/chats/{chat_id}/approvals", body)
            if status == 200 and not is_approved:
                self.denied.add((chat_id, call_id))
        self.answered += status == 200

    # --- evidence

    def run_count(self) -> int:
        """How many runs of tools were written down so far."""
        return sum(len(_lines(log)) for log in (self._folder / "tools.log", self._log))

    def names_run(self) -> set[str]:
        """The tools that have run so far."""
        own = {line.split(maxsplit=3)[2] for line in _lines(self._folder / "tools.log")}
        return own | {line.split(maxsplit=1)[0] for line in _lines(self._log)}

    def tool_runs(self, own_log: Path, finals: list[FinalChat]) -> list[ToolRun]:
        """The runs of the agent's tools and of the MCP server's, whose calls are known by their keys."""
        places = dict(_iter_keys(finals))
        runs = []
        for line in _lines(own_log):
            chat_id, call_id, name, *text = line.split(maxsplit=3)
            runs.append(_run(chat_id, call_id, name, " ".join(text)))
        for line in _lines(self._log):
            name, key, *text = line.split(maxsplit=2)
            chat_id, call_id = places.get((name, key), ("", f"{name} {key}"))
            runs.append(_run(chat_id, call_id, name, " ".join(text)))
        return runs


def _args_of(name: str, key: str, canary: str) -> dict[str, str]:
    if name.startswith("t_"):
        return {"key": key, "canary": canary}
    return {} if name == "pick" else {"text": canary}


def _run(chat_id: str, call_id: str, name: str, text: str) -> ToolRun:
    canaries = frozenset(CANARY.findall(text))
    return ToolRun(chat_id=chat_id, tool_call_id=call_id, tool_name=name, canaries=canaries)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _iter_keys(finals: list[FinalChat]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """By tool and key: the chat and the call. The calls of messages that an edit has hidden are not found."""
    for final in finals:
        shown = [event.data.get("message", {}) for event in final.log if isinstance(event, FactEvent)]
        for message in (*final.messages, *shown):
            for part in message.get("content", []):
                if part["type"] == "tool-call" and isinstance(part.get("args"), dict) and "key" in part["args"]:
                    place = (final.chat_id, part["tool_call_id"])
                    yield (part["tool_name"], part["args"]["key"]), place


def prompt_of(body: dict[str, Any]) -> str:
    """All of a request's text."""
    return json.dumps(body["messages"])
