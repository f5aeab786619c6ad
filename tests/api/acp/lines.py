"""An editor in the process of the test, which an `Agent` serves."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from support.waiting import wait_until

_numbers = itertools.count(1)


class Lines:
    """An editor in this process, as two byte streams."""

    def __init__(self) -> None:
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.updates: list[dict[str, Any]] = []
        self.answers: dict[int, Any] = {}

    async def read(self) -> bytes:
        return await self._sent.get()

    async def write(self, data: bytes) -> None:
        message = json.loads(data)
        if message.get("method") == "session/update":
            self.updates.append(message["params"]["update"])
        elif "result" in message or "error" in message:
            self.answers[message["id"]] = message

    async def ask(self, method: str, params: Any) -> Any:
        number = self.send(method, params)
        return (await wait_until(lambda: self.answers.get(number), method)).get("result")

    def send(self, method: str, params: Any) -> int:
        number = next(_numbers)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._sent.put_nowait(json.dumps(request).encode() + b"\n")
        return number

    def end(self) -> None:
        self._sent.put_nowait(b"")


def text(words: str) -> dict[str, Any]:
    return {"prompt": [{"type": "text", "text": words}]}
