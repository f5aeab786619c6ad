"""A peer made from the reference document alone, with its own types and JSON. It imports nothing of Antiphon.

    python minimal_peer.py URL CHANNEL...

prints `{"channel", "received"}` for each message that it decodes, and publishes each line of its input,
`{"channel", "kind"?, "chat"?, …}`, as one of the document's messages. It is an older replica in both roles: it has no
field that this project added.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class ChatEvent:
    kind: str = ""
    chat: dict[str, Any] | None = None


@dataclass
class ChatStreamNotifyMessage:
    after_message_id: int = 0
    status: str = ""
    worker_id: str = ""
    retry: dict[str, Any] | None = None
    error_payload: dict[str, Any] | None = None
    error: str = ""
    queue_update: bool = False
    full_refresh: bool = False


def decode(channel: str, text: str) -> dict[str, Any]:
    """Decode the fields of the document; a missing field is zero, as in the document's decoder."""
    kind = ChatEvent if channel.startswith("chat:owner:") else ChatStreamNotifyMessage
    given = json.loads(text)
    known = {field.name for field in fields(kind)}
    return asdict(kind(**{name: value for name, value in given.items() if name in known}))


def encode(channel: str, given: dict[str, Any]) -> str:
    kind = ChatEvent if channel.startswith("chat:owner:") else ChatStreamNotifyMessage
    return json.dumps({name: value for name, value in asdict(kind(**given)).items() if value})


def show(channel: str, text: str) -> None:
    print(json.dumps({"channel": channel, "received": decode(channel, text)}), flush=True)


async def over_postgres(url: str, channels: list[str]) -> Any:
    import asyncpg

    connection = await asyncpg.connect(url)
    for channel in channels:
        await connection.add_listener(channel, lambda _, pid, name, payload: show(name, payload))

    async def publish(channel: str, text: str) -> None:
        await connection.execute("SELECT pg_notify($1, $2)", channel, text)

    return publish


async def over_nats(url: str, channels: list[str]) -> Any:
    import nats

    client = await nats.connect(url)

    async def receive(message: Any) -> None:
        show(message.subject, message.data.decode())

    for channel in channels:
        await client.subscribe(channel, cb=receive)
    await client.flush()

    async def publish(channel: str, text: str) -> None:
        await client.publish(channel, text.encode())
        await client.flush()

    return publish


async def main(url: str, channels: list[str]) -> None:
    publish = await (over_nats if url.startswith("nats:") else over_postgres)(url, channels)
    print("{}", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        given = json.loads(line)
        channel = given.pop("channel")
        await publish(channel, encode(channel, given))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
