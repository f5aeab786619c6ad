"""A trial: busy chats with clients that send, queue, steer, interrupt, edit and delete at random, watchers that come
and go, a model that numbers its tokens, and whatever happens to the server meanwhile. It leaves evidence."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

from antiphon.core.events import Bye, Event
from antiphon.testing.call_checks import CANARY
from antiphon.testing.evidence import Evidence, FinalChat, Interrupted, ModelCall, Sent, ToolRun, Watched
from antiphon.testing.model_answers import Answer, FakeCall, Fault, beginning_of
from antiphon.testing.model_server import FakeModelServer, SeenRequest
from antiphon.wire.stream import decode_event

from .fleet import Fleet
from .server_process import APP, ServerProcess
from .trial_calls import CLIENT_TOOL, IDEMPOTENT, TOOL_S, TrialCalls, prompt_of

TOKENS_PER_S = 150.0
DELEGATED = "delegated"
"""In the message of a child chat that starts no other."""
SETTLE_S = 60.0
CALLS_SETTLE_S = 240.0
"""How long everything that waits may take at the end, in seconds: calls take longer than answers."""


class Trial:
    """`async with Trial(folder, seed=…) as trial`: a server, a model and their logs. Run `clients`, then `settle`."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        chats: int = 8,
        members: int = 1,
        watchers: int = 2,
        make_server: Callable[..., Any] | None = None,
        on_worker_lost: str = "restart",
        tokens_per_s: float = TOKENS_PER_S,
        has_calls: bool = False,
        **how: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.model = FakeModelServer(default=self._answer, owned_by="vllm")
        self._on_worker_lost = on_worker_lost
        self._tokens_per_s = tokens_per_s
        self.calls = TrialCalls(folder, random.Random(seed)) if has_calls else None
        self._answering: list[asyncio.Task[None]] = []
        self._folder = folder
        self._chat_count = chats
        self._members = members
        self._watchers_each = watchers
        self._make_server = make_server
        self._how = how
        self.sent: list[Sent] = []
        self.interrupted: list[Interrupted] = []
        self.watched: list[Watched] = []
        self.chat_ids: list[str] = []
        self.child_count = 0
        self._is_finished = False
        self._watchers: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Trial:
        await self._stack.enter_async_context(self.model)
        options: tuple[str, ...] = ("--model", "openai:fake", "--drain-s", "1")
        options += ("--on-worker-lost", self._on_worker_lost)
        if self.calls is not None:
            await self.calls.start()
            self._stack.push_async_callback(self.calls.stop)
            options += ("--config", str(self.calls.config))
        how: dict[str, Any] = {
            "app": APP,
            "options": options,
            "OPENAI_API_KEY": "canary-key",
            "OPENAI_BASE_URL": self.model.base_url,
            "TRIAL_TOOL_LOG": str(self._folder / "tools.log"),
            "TRIAL_TOOL_S": TOOL_S if self.calls is not None else "0",
            **self._how,
        }
        data = self._folder / "data"
        self.server = (self._make_server or ServerProcess)(data, **how)
        if self._members > 1 and self._make_server is None:
            self.fleet = Fleet(data, size=self._members, **how)
            self.server = cast(ServerProcess, self.fleet)  # it is asked in the same words
        await self.server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stop_watchers()
        await self.server.kill()
        await self._stack.aclose()

    def _answer(self, request: SeenRequest) -> Answer | Fault:
        """By the last message: `n=12` tokens; `tool` calls the tool once, then answers. One in 30 calls fails."""
        if request.call % 30 == 7:
            return Fault(status=500)
        messages = request.body["messages"]
        text = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        words = str(text).split()
        count = next((int(word[2:]) for word in words if word.startswith("n=")), 8)
        calls: tuple[FakeCall, ...] = ()
        if "calls" in words and messages[-1]["role"] != "tool" and self.calls is not None:
            calls, count = self.calls.planned(request.call, prompt_of(request.body)), 3
        elif "tool" in words and messages[-1]["role"] != "tool":
            calls = (FakeCall("note", {"text": "a"}), FakeCall("note", {"text": "b"}))
            if request.call % 3 == 0 and DELEGATED not in words:
                calls = (*calls, FakeCall("delegate", {"text": DELEGATED}))
            count = 3
        return Answer(token_count=count, tokens_per_s=self._tokens_per_s, calls=calls)

    # --- clients

    def start_watchers(self) -> None:
        """Two (or more) for each chat: one from the beginning, the others from now."""
        places = [(chat_id, i) for chat_id in self.chat_ids for i in range(self._watchers_each)]
        self._watchers = [asyncio.create_task(self._watch(chat_id, i)) for chat_id, i in places]

    async def create_chats(self) -> None:
        names = (uuid.UUID(int=self.random.getrandbits(128), version=4) for _ in range(self._chat_count))
        self.chat_ids = [str(name) for name in names]
        if self.calls is not None:
            await self.calls.make_owners(self.server.ask)
        for chat_id in self.chat_ids:
            if self.calls is not None:
                self.calls.add_chat(chat_id)
                self._answering.append(asyncio.create_task(self.calls.answer_calls(chat_id, self._asker(chat_id))))
            await self._ask_until_answered(chat_id, "POST", "/chats", self._new_chat(chat_id))

    def _new_chat(self, chat_id: str) -> dict[str, Any]:
        return {"id": chat_id} | ({"tools": [CLIENT_TOOL]} if self.calls is not None else {})

    def _token(self, chat_id: str) -> str | None:
        return self.calls.token_of(chat_id) if self.calls is not None else None

    def _asker(self, chat_id: str) -> Any:
        """Requests with the token of the chat's owner."""
        return partial(self._ask, chat_id)

    async def _ask(self, chat_id: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.server.ask(method, path, body, token=self._token(chat_id))

    @property
    def acknowledged(self) -> int:
        """How many sends were answered with success."""
        return sum(sent.is_acked for sent in self.sent)

    async def busy(self, seconds: float) -> None:
        """Send random commands to every chat for this long."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for chat_id in self.chat_ids:
                tasks.create_task(self._client(chat_id, random.Random(self.random.random()), until))

    async def _client(self, chat_id: str, rnd: random.Random, until: float) -> None:
        number = 0
        while time.monotonic() < until:
            number += 1
            choice = rnd.random()
            try:
                if choice < 0.66:
                    await self._send(chat_id, rnd, f"{chat_id[:4]}-{rnd.getrandbits(40):x}-{number}")
                elif choice < 0.82:
                    await self._interrupt(chat_id)
                elif choice < 0.88:
                    await self._delete_queued(chat_id, rnd)
                elif choice < 0.95:
                    await self._ask(chat_id, "POST", "/chats", self._new_chat(chat_id))
                else:
                    await self._edit(chat_id, rnd)
            except OSError:
                pass  # no response: the outcome is unknown
            await asyncio.sleep(rnd.uniform(0.01, 0.25))

    async def _send(self, chat_id: str, rnd: random.Random, client_id: str) -> None:
        text = f"n={rnd.randint(1, 60)}" + (" tool" if rnd.random() < 0.2 else "")
        if self.calls is not None:
            text += f" {self.calls.canary_of(chat_id)}" + (" calls" if rnd.random() < 0.3 else "")
        when_busy = rnd.choice(["queue", "queue", "queue", "steer", "interrupt", "reject"])
        body = {"content": text, "client_message_id": client_id, "when_busy": when_busy}
        for _ in range(rnd.choice([1, 1, 2, 6])):  # some give up, some repeat until they are answered, some beyond
            try:
                status, answer = await self._ask(chat_id, "POST", f"/chats/{chat_id}/messages", body)
            except OSError:
                self.sent.append(Sent(chat_id=chat_id, client_message_id=client_id, text=text))
                await asyncio.sleep(0.1)
                continue
            self.sent.append(
                Sent(chat_id=chat_id, client_message_id=client_id, text=text, status=status, answer=answer)
            )

    async def _interrupt(self, chat_id: str) -> None:
        status, chat = await self._ask(chat_id, "GET", f"/chats/{chat_id}")
        if status != 200 or not chat["turn_id"]:
            return
        body = {"turn_id": chat["turn_id"]}
        status, answer = await self._ask(chat_id, "POST", f"/chats/{chat_id}/interrupt", body)
        if status == 200:
            self.interrupted.append(
                Interrupted(
                    chat_id=chat_id,
                    turn_id=chat["turn_id"],
                    was_interrupted=answer["interrupted"],
                    seq=answer["seq"],
                    at=time.monotonic(),
                )
            )

    async def _delete_queued(self, chat_id: str, rnd: random.Random) -> None:
        status, page = await self._ask(chat_id, "GET", f"/chats/{chat_id}/messages?limit=1")
        if status != 200 or not page["queued_messages"]:
            return
        item = rnd.choice(page["queued_messages"])
        status, _ = await self._ask(chat_id, "DELETE", f"/chats/{chat_id}/queue/{item['id']}")
        away = (503,) if self._members > 1 else ()  # a standby whose primary goes in the middle
        assert status in (200, 409, *away), f"deleting {item['id']} answered {status}"

    async def _edit(self, chat_id: str, rnd: random.Random) -> None:
        status, page = await self._ask(chat_id, "GET", f"/chats/{chat_id}/messages?limit=30")
        users = [m for m in page["messages"] if m["role"] == "user"] if status == 200 else []
        if not users:
            return
        message = rnd.choice(users[-3:])
        await self._ask(chat_id, "PATCH", f"/chats/{chat_id}/messages/{message['id']}", {"content": "n=5"})

    async def _ask_until_answered(self, chat_id: str, method: str, path: str, body: Any = None) -> Any:
        deadline = time.monotonic() + SETTLE_S
        while True:
            try:
                status, answer = await self._ask(chat_id, method, path, body)
                if status < 500:
                    return answer
            except OSError:
                pass
            assert time.monotonic() < deadline, f"{method} {path} is not answered\n{self.server.log()[-3000:]}"
            await asyncio.sleep(0.05)

    # --- watchers

    async def _watch(self, chat_id: str, number: int) -> None:
        """Follow from the beginning (the first) or from now (the second), coming back by the cursor."""
        watched = Watched(chat_id=chat_id, events=[], breaks=[])
        self.watched.append(watched)
        rnd = random.Random(f"{chat_id}{number}")
        cursor = "0" if number == 0 else ""
        while not self._is_finished:
            try:
                cursor = await self._watch_once(chat_id, cursor, watched, rnd)
            except OSError:
                await asyncio.sleep(0.05)
            watched.breaks.append(len(watched.events))

    async def _watch_once(self, chat_id: str, cursor: str, watched: Watched, rnd: random.Random) -> str:
        path = f"/chats/{chat_id}/stream"
        stream = await self.server.open_stream(path, cursor=cursor, token=self._token(chat_id))
        try:
            for _ in range(rnd.randint(5, 400)):
                raw = await stream.next()
                if raw is None:
                    return cursor
                event_id, _, data = raw
                event: Event = decode_event(data, cursor=event_id)
                if isinstance(event, Bye):
                    return cursor
                watched.events.append((event, time.monotonic()))
                cursor = event_id or cursor
        except OSError:
            await asyncio.sleep(0.02)
        finally:
            await stream.close()
        return cursor

    # --- the end

    async def settle(self) -> None:
        """Wait until every chat rests and every watcher has seen all of it."""
        deadline = time.monotonic() + (SETTLE_S if self.calls is None else CALLS_SETTLE_S)
        for chat_id in self.chat_ids:
            while True:
                for task in self._watchers:
                    if task.done():
                        task.result()
                chat = await self._ask_until_answered(chat_id, "GET", f"/chats/{chat_id}")
                if chat["status"] in ("waiting", "error") and self._have_seen(chat_id, chat["seq"]):
                    break
                assert time.monotonic() < deadline, self._stuck(chat_id, chat)
                await asyncio.sleep(0.05)

    def _stuck(self, chat_id: str, chat: Any) -> str:
        seen = [(len(w.events), w.events[-3:], w.breaks[-3:]) for w in self.watched if w.chat_id == chat_id]
        return f"NO-STUCK, CONVERGE: {chat}\n{seen}\n{self.server.log()[-2000:]}"

    def _have_seen(self, chat_id: str, seq: int) -> bool:
        for watched in self.watched:
            if watched.chat_id == chat_id:
                cursors = (event.cursor for event, _ in reversed(watched.events) if event.cursor)
                if int(next(cursors, "0").split(".")[0]) < seq:
                    return False
        return True

    async def _stop_watchers(self) -> None:
        """Cancel them once, and wait for the ends of their connections."""
        self._is_finished = True
        watchers, self._watchers = [*self._watchers, *self._answering], []
        for task in watchers:
            task.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        await asyncio.sleep(0.05)

    async def collect(self, *, stuck_s: float = 15.0) -> Evidence:
        """Stop the watchers, read everything once more, and say what was seen."""
        await self._stop_watchers()
        final = [await self._final(chat_id) for chat_id in [*self.chat_ids, *await self._child_ids()]]
        return Evidence(
            sent=self.sent,
            interrupted=self.interrupted,
            watched=self.watched,
            model_calls=[_call_of(request) for request in self.model.requests],
            final=final,
            tool_runs=self._tool_runs(final),
            idempotent_tools=IDEMPOTENT,
            denied_calls=frozenset(self.calls.denied) if self.calls is not None else frozenset(),
            canaries=self.calls.canaries if self.calls is not None else {},
            is_stop_timed=False,
            stuck_s=stuck_s,
        )

    async def _child_ids(self) -> list[str]:
        """The child chats, once they rest. Each call has started at most one."""
        found: list[str] = []
        for chat_id in self.chat_ids:
            path = f"/chats?parent_chat_id={chat_id}&limit=500"
            children = (await self._ask_until_answered(chat_id, "GET", path))["chats"]
            calls = [child["parent_tool_call_id"] for child in children]
            assert len(set(calls)) == len(calls), f"a call has started several child chats: {calls}"
            for child in children:
                if self.calls is not None:
                    self.calls.add_child(chat_id, child["id"])
                await self._wait_rests(child["id"])
                found.append(child["id"])
        self.child_count = len(found)
        return found

    async def _wait_rests(self, chat_id: str) -> None:
        """A child whose parent was interrupted or edited is stopped a moment later."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            chat = await self._ask_until_answered(chat_id, "GET", f"/chats/{chat_id}")
            if chat["status"] in ("waiting", "error"):
                return
            assert time.monotonic() < deadline, f"NO-STUCK: {chat}"
            await asyncio.sleep(0.05)

    def _tool_runs(self, final: list[FinalChat]) -> list[ToolRun]:
        path = self._folder / "tools.log"
        if self.calls is not None:
            return self.calls.tool_runs(path, final)
        lines = path.read_text().splitlines() if path.exists() else []
        return [ToolRun(chat_id=line.split()[0], tool_call_id=line.split()[1]) for line in lines]

    async def _final(self, chat_id: str) -> FinalChat:
        chat = await self._ask_until_answered(chat_id, "GET", f"/chats/{chat_id}")
        page = await self._ask_until_answered(chat_id, "GET", f"/chats/{chat_id}/messages?limit=1000")
        log: list[Event] = []
        path = f"/chats/{chat_id}/stream?after=0&until=idle"
        stream = await self.server.open_stream(path, token=self._token(chat_id))
        while (raw := await stream.next()) is not None:
            log.append(decode_event(raw[2], cursor=raw[0]))
        await stream.close()
        return FinalChat(
            chat_id=chat_id,
            chat=chat,
            messages=page["messages"],
            queued_messages=page["queued_messages"],
            log=log,
        )


def _call_of(request: SeenRequest) -> ModelCall:
    """The call with all tokens that it may have sent, and the beginning from which it went on."""
    beginning = beginning_of(request.body)
    first = len(beginning.split()) + 1
    tokens = tuple(f"c{request.call}t{number} " for number in range(first, 100))
    canaries = frozenset(CANARY.findall(prompt_of(request.body)))
    return ModelCall(number=request.call, tokens=tokens, beginning=beginning, canaries=canaries)
