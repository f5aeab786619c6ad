"""Several replicas on one PostgreSQL database, each a process of its own; a request goes to any of them."""

from __future__ import annotations

import asyncio
import itertools
import signal
from pathlib import Path
from typing import Any

from support.waiting import wait_until
from system.fleet import Member
from system.server_process import SseStream


class ReplicaFleet:
    """`size` members with data directories below `data`; used like a single `ServerProcess`."""

    def __init__(
        self, data: Path, *, store: str, bus: str = "", size: int = 3, options: tuple[str, ...] = (), **how: Any
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        options += ("--store", store, *(("--bus", bus) if bus else ()))
        self.data = data
        self.store = store
        self.members = [Replica(data / str(number), number, options=options, **how) for number in range(size)]
        self._next = itertools.cycle(range(size))

    @property
    def token(self) -> str:
        """The token of the first member: every member accepts any token in the store."""
        return self.members[0].token

    @property
    def kills(self) -> int:
        return sum(member.kills for member in self.members)

    @property
    def running(self) -> list[Replica]:
        return [member for member in self.members if member.is_running and not member.is_frozen]

    async def start(self) -> None:
        await self.members[0].start()  # every member accepts its token
        await asyncio.gather(*(member.start() for member in self.members[1:]))

    async def wait_whole(self) -> None:
        """Wait until each member lists all of them: turns are distributed over the listed members."""
        wanted = {member.instance_id for member in self.members}
        for member in self.members:
            await wait_until(
                lambda member=member: self._listed_by(member),
                f"{member} lists all members",
                accept=lambda listed: wanted <= listed,
            )

    async def _listed_by(self, member: Replica) -> set[str]:
        _, shown = await member.ask("GET", "/instances", token=self.token)
        return {item["instance_id"] for item in shown["instances"] if "capacity" in item and not item["is_silent"]}

    async def kill(self) -> None:
        for member in self.members:
            await member.kill()

    async def close_streams(self) -> None:
        """Close the streams that a failed test has left open."""
        for member in self.members:
            while member.streams:
                await member.streams.pop().close()

    def log(self) -> str:
        return "\n".join(member.log()[-3000:] for member in self.members)

    async def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        return await self._any().ask(method, path, body, token=token or self.token)

    async def open_stream(self, path: str, *, cursor: str = "", token: str | None = None) -> SseStream:
        return await self._any().open_stream(path, cursor=cursor, token=token or self.token)

    def member(self, instance_id: str) -> Replica:
        """The member that has this instance id now."""
        return next(member for member in self.members if member.instance_id == instance_id)

    def others(self, member: Replica) -> list[Replica]:
        return [other for other in self.running if other is not member]

    def _any(self) -> Replica:
        """The next running member."""
        for _ in self.members:
            member = self.members[next(self._next)]
            if member.is_running and not member.is_frozen:
                return member
        raise ConnectionRefusedError("no member runs")


class Replica(Member):
    """A member of a fleet of replicas."""

    def __init__(self, data: Path, number: int, **how: Any) -> None:
        super().__init__(data, number, **how)
        self.is_frozen = False
        self.instance_id = ""
        self.streams: list[SseStream] = []

    async def open_stream(self, path: str, *, cursor: str = "", token: str | None = None) -> SseStream:
        stream = await super().open_stream(path, cursor=cursor, token=token)
        self.streams.append(stream)
        return stream

    async def start(self, **env: str) -> None:
        await super().start(**env)
        if self.is_running:
            self.instance_id = (await self.healthz())["instance_id"]

    async def kill(self) -> None:
        await super().kill()
        self.is_frozen = False

    def freeze(self) -> None:
        self.is_frozen = True
        self.signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.signal(signal.SIGCONT)
        self.is_frozen = False
