"""Responses of unknown length to clients of HTTP/1.0, which do not support chunks: they end with the
connection.

uvicorn offers no hook for this: without a Content-Length it always sends chunks, whatever headers the application
gives, and it creates the object that writes an answer by itself. So this replaces that object's `send`.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def delimit_by_close(cycle: RequestResponseCycle) -> None:
    """Have uvicorn send the bodies of this request's answer as they are, unless the answer gives its length."""
    send = cycle.send
    is_delimited = False

    async def send_plainly(message: Any) -> None:
        nonlocal is_delimited
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            is_delimited = b"content-length" not in names
            if is_delimited:
                cycle.chunked_encoding = False
        elif is_delimited:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    setattr(cycle, "send", send_plainly)  # noqa: B010 - mypy refuses to replace a method
