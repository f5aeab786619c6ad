"""A provider that writes prepared bytes to a real socket, whatever it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from antiphon.models.openai import OpenAIModel
from antiphon.ports import ModelEvent, ModelRequest
from support.tcp_server import Handler, open_tcp_server

from .asking import KEY, request


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """The request line, the headers (names in lower case) and the body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest)}
    return line, headers, await reader.readexactly(int(headers.get("content-length", "0")))


def sending(*pieces: bytes) -> Handler:
    """Answer the first request with these pieces, each by a write of its own, then close."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return handle


def head(status: int = 200, content_type: str = "text/event-stream", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def sse(*chunks: Any, done: bool = True) -> bytes:
    """Chunks as server-sent events; a `bytes` stands as it is."""
    events = (chunk if isinstance(chunk, bytes) else b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}} | fields]}


STOP: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def called(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}}]}


async def answer_of(
    *pieces: bytes, asked: ModelRequest | None = None, content_type: str = "text/event-stream", **limits: float
) -> Sequence[ModelEvent]:
    """What the model makes of a body that is written in these pieces and ended by closing the connection."""
    async with open_tcp_server(sending(head(content_type=content_type), *pieces)) as port:
        return await ask(port, asked, **limits)


async def ask(port: int, asked: ModelRequest | None = None, **limits: float) -> list[ModelEvent]:
    model = OpenAIModel("m", api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", **limits)  # type: ignore[arg-type]
    try:
        return [event async for event in model.stream(asked or request())]
    finally:
        await model.aclose()
