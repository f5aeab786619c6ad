"""The calls on an instance that a watch or a request needs; `RemoteInstance` implements them."""

from __future__ import annotations

from typing import Protocol

from antiphon.wire import instance as i


class Remote(Protocol):
    """`skipped_frames` counts the event frames that could not be read."""

    skipped_frames: int

    async def about(self) -> i.InstanceInfo: ...

    async def info(self) -> i.InstanceInfo: ...

    async def sessions(self) -> tuple[i.SessionPayload, ...]: ...

    async def session(self, session_id: str) -> i.SessionPayload: ...

    async def messages(self, session_id: str) -> tuple[i.MessagePayload, ...]: ...

    async def send(self, session_id: str, content: str) -> None: ...

    async def interrupt(self, session_id: str) -> None: ...

    async def read(
        self, session_id: str, after: str = "", limit: int | None = None, *, reads_all: bool = False
    ) -> i.ReadResult: ...

    def read_frame(self, frame: bytes, kind: type[i.E]) -> i.E | None: ...
