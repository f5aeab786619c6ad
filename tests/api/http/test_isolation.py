"""Two owners at once: no byte of one ever reaches the other."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from .api_client import ApiClient, open_api, random_chat_id
from .wire import Stream, Wire, make_request

pytestmark = pytest.mark.anyio

OPERATIONS_EACH = 500
SEED = 20_260_701


class Person:
    """Does things at random, always with a canary of their own, and keeps every byte they get."""

    def __init__(self, api: ApiClient, name: str, seed: int) -> None:
        self.api = api
        self.canary = f"canary-of-{name}"
        self.random = random.Random(seed)
        self.chats: list[str] = []
        self.foreign_ids: list[str] = []
        self.files: list[str] = []
        self.foreign_files: list[str] = []
        self.got = bytearray()
        self.sent: list[tuple[str, str]] = []
        self.statuses: dict[int, int] = {}
        self._watching: list[asyncio.Task[None]] = []

    async def ask(self, method: str, path: str, body: Any = None, *, data: bytes | None = None) -> Any:
        headers = {"x-canary": self.canary, "x-filename": self.canary}
        answer = await self.api.ask(method, path, body, data=data, headers=headers)
        self.got += repr(answer.headers).encode() + answer.body
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.json if answer.body and is_json else None

    # --- watching

    async def watch(self, path: str) -> None:
        stream = await self.api.stream(path)
        self._watching.append(asyncio.create_task(self._follow(stream)))

    async def _follow(self, stream: Stream) -> None:
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            while True:
                self.got += (await stream.next()).raw

    async def stop(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    # --- doing

    async def live(self) -> None:
        await self.watch("/feed")
        await self.create()
        actions = [self.create] * 3 + [self.send] * 8 + [self.change] * 3 + [self.interrupt] * 3 + [self.edit] * 2
        actions += [self.queue] * 4 + [self.read] * 4 + [self.pry] * 6 + [self.follow] * 2 + [self.retry] * 2
        actions += [self.wrong] * 3 + [self.prompt] * 2 + [self.delete]
        actions += [self.upload] * 3 + [self.refer] * 2
        for _ in range(OPERATIONS_EACH):
            action: Callable[[], Awaitable[Any]] = self.random.choice(actions)
            await action()

    @property
    def any_chat(self) -> str:
        return self.random.choice(self.chats)

    def text(self) -> str:
        script = self.random.choice(["/say", "/think", "/tokens 3\n/say", "/fail auth\n/say", "/stall 0.02\n/say"])
        return f"{script} {self.canary} {self.random.random()}"

    async def create(self) -> None:
        body: dict[str, Any] = {"title": self.canary, "labels": {self.canary: self.canary}, "system": self.canary}
        if self.random.random() < 0.5:
            body["content"] = self.text()
        chat_id = (await self.ask("POST", "/chats", body))["id"]
        self.chats.append(chat_id)
        if self.random.random() < 0.3:
            await self.watch(f"/chats/{chat_id}/stream?after={self.random.choice(['', '0'])}")

    async def send(self) -> None:
        when_busy = self.random.choice(["queue", "steer", "interrupt", "reject"])
        body = {"content": self.text(), "when_busy": when_busy}
        if self.random.random() < 0.5:
            body["client_message_id"] = f"{self.canary}-{self.random.randrange(30)}"
        await self.ask("POST", f"/chats/{self.any_chat}/messages", body)

    async def upload(self) -> None:
        data = random.Random(self.random.randrange(5)).randbytes(999) + self.canary.encode()
        made = await self.ask("POST", "/files", data=data)
        self.files.append(made["file_id"])
        await self.ask("GET", f"/files/{self.random.choice(self.files)}")

    async def refer(self) -> None:
        file_ids = [*self.files, *self.foreign_files, random_chat_id()]
        content = [{"type": "file-reference", "file_id": self.random.choice(file_ids)}]
        await self.ask("POST", f"/chats/{self.any_chat}/messages", {"content": content})

    async def change(self) -> None:
        chosen = self.random.choice(
            [{"title": f"{self.canary}!"}, {"archived": True}, {"pin_order": 1}, {"system": ""}]
        )
        await self.ask("PATCH", f"/chats/{self.any_chat}", chosen)

    async def interrupt(self) -> None:
        chat = await self.ask("GET", f"/chats/{(chat_id := self.any_chat)}")
        await self.ask("POST", f"/chats/{chat_id}/interrupt", {"turn_id": chat.get("turn_id") or 2})

    async def edit(self) -> None:
        message_id = self.random.randrange(2, 12)
        await self.ask("PATCH", f"/chats/{self.any_chat}/messages/{message_id}", {"content": self.text()})

    async def queue(self) -> None:
        path = f"/chats/{self.any_chat}/queue/{self.random.randrange(2, 15)}"
        method, more, body = self.random.choice(
            [
                ("PATCH", "", {"content": self.text()}),
                ("DELETE", "", None),
                ("POST", "/promote", None),
                ("POST", "/move", {"before": None}),
            ]
        )
        await self.ask(method, path + more, body)

    async def read(self) -> None:
        chosen = ["/chats", f"/chats?q={self.canary}", f"/chats/{self.any_chat}/messages", "/session", "//readyz"]
        chosen += ["/inbox", "/inbox?unread=true&limit=3"]
        chosen += ["/me/prompt", "/providers", "/model-configs"]
        await self.ask("GET", self.random.choice(chosen))

    async def prompt(self) -> None:
        if self.random.random() < 0.7:
            await self.ask("PUT", "/me/prompt", {"prompt": self.text()})
        else:
            await self.ask("DELETE", "/me/prompt")

    async def retry(self) -> None:
        await self.ask("POST", f"/chats/{self.any_chat}/retry")

    async def follow(self) -> None:
        for query in ("until=idle&after=0", "until=idle"):
            stream = await self.api.stream(f"/chats/{self.any_chat}/stream?{query}")
            with contextlib.suppress(EOFError):
                for _ in range(self.random.randrange(1, 20)):
                    self.got += (await stream.next()).raw
            await stream.close()

    async def delete(self) -> None:
        if len(self.chats) > 3:
            await self.ask("DELETE", f"/chats/{self.chats.pop(self.random.randrange(len(self.chats)))}")

    async def wrong(self) -> None:
        """What is refused, with the canary in it."""
        chosen = self.random.choice(
            [
                ("POST", f"/chats/{self.any_chat}/messages", {"content": {self.canary: self.canary}}),
                ("PATCH", f"/chats/{self.any_chat}", {"title": self.canary * 40}),
                ("GET", f"/chats?limit={self.canary}", None),
                ("GET", f"/{self.canary}", None),
                ("POST", "/tokens", {"owner": self.canary}),
                ("POST", "/providers", {"name": self.canary, "kind": "openai", "secret": self.canary}),
                ("POST", "/session", {"token": self.canary}),
                ("DELETE", f"/chats/{self.any_chat}/queue/{self.canary}", None),
            ]
        )
        await self.ask(*chosen)

    async def pry(self) -> None:
        """Everything about the other's chats."""
        chat_id = self.random.choice([*self.foreign_ids, random_chat_id()])
        file_id = self.random.choice([*self.foreign_files, random_chat_id()])
        chosen = self.random.choice(
            [
                ("GET", f"/files/{file_id}", None),
                ("GET", f"/chats/{chat_id}", None),
                ("GET", f"/chats/{chat_id}/messages", None),
                ("GET", f"/chats/{chat_id}/stream?after=0", None),
                ("PATCH", f"/chats/{chat_id}", {"title": self.canary}),
                ("DELETE", f"/chats/{chat_id}", None),
                ("POST", f"/chats/{chat_id}/messages", {"content": self.canary}),
                ("POST", f"/chats/{chat_id}/interrupt", {"turn_id": 2, "clear_queue": True}),
                ("PATCH", f"/chats/{chat_id}/messages/2", {"content": self.canary}),
                ("PUT", f"/chats/{chat_id}/read", None),
                ("PUT", f"/chats/{chat_id}/diff-status", {"url": self.canary}),
                ("PUT", f"/inbox/{random_chat_id()}/read", None),
                ("POST", "/chats", {"id": chat_id, "content": self.canary}),
            ]
        )
        if chosen[1] == "/chats" and chat_id not in self.foreign_ids:
            return
        await self.ask(*chosen)


async def test_no_byte_of_one_owner_reaches_another(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with open_api(data=tmp_path / "data") as api:
        people = [Person(await api.as_owner(name), name, SEED + n) for n, name in enumerate(("anna", "bert"))]
        people[0].foreign_ids, people[1].foreign_ids = people[1].chats, people[0].chats
        people[0].foreign_files, people[1].foreign_files = people[1].files, people[0].files
        await asyncio.gather(*(person.live() for person in people))
        metrics = (await api.ask("GET", "//metrics")).body
        listed = [await person.ask("GET", "/chats?limit=500") for person in people]
        for person in people:
            await person.stop()
    output = "".join(capfd.readouterr())
    for person, other in ((people[0], people[1]), (people[1], people[0])):
        assert person.canary.encode() in person.got
        assert len(person.got) > 200_000
        assert other.canary.encode() not in person.got
        for foreign_id in (*other.chats, *other.files):
            assert foreign_id.encode() not in person.got
        assert other.api.owner_id.encode() not in person.got
        assert person.canary.encode() not in metrics
        assert person.canary not in output, re.findall(f".*{person.canary}.*", output)[:1]
        assert person.statuses.get(404, 0) > 30
        assert not any(status >= 500 for status in person.statuses)
    assert all(chat["title"].startswith(people[n].canary) for n in (0, 1) for chat in listed[n]["chats"])


async def test_two_owners_may_use_one_connection_after_another(api: ApiClient) -> None:
    """A proxy shares a connection between users; a response never has data of the previous user."""
    other = await api.as_owner("other on the same wire")
    own_chat, other_chat = await api.make_chat(title="mine"), await other.make_chat(title="theirs")
    wire = await Wire.open(api.port)
    for _ in range(20):
        for token, title, foreign in ((api.token, "mine", other_chat), (other.token, "theirs", own_chat)):
            wire.send(make_request("GET", "/api/v1/chats", token=token))
            wire.send(make_request("GET", f"/api/v1/chats/{foreign}", token=token))
            assert [chat["title"] for chat in (await wire.read_answer()).json["chats"]] == [title]
            assert (await wire.read_answer()).status == 404
    await wire.close()
