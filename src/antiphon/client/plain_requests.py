"""Requests of the HTTP API on an instance without `antiphon.request`, by the reference protocol's methods."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from antiphon.client.api_requests import PREFIX, ApiRequest
from antiphon.client.plain_watch import chat_of, message_of
from antiphon.client.remote import Remote
from antiphon.errors import Refused

Answer = Callable[[Remote, str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def answer_by_reference_methods(remote: Remote, request: ApiRequest[Any]) -> Any:
    """The response to a request, made from the results of the protocol's methods. Raises `Refused` for a request that
    they do not cover. Nothing is retried: the protocol's messages have no id that makes them idempotent."""
    path = request.path.removeprefix(PREFIX)
    body = msgspec.json.decode(request.body) if request.body is not None else {}
    for method, pattern, answer in _ANSWERS:
        match = re.fullmatch(pattern, path)
        if match is not None and method == request.method:
            return await answer(remote, match["id"] if "id" in match.groupdict() else "", body)
    raise Refused(f"{request.method} {path}: this instance has the reference protocol's methods only.")


async def _chats(remote: Remote, session_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"chats": [chat_of(session) for session in await remote.sessions()], "next": None}


async def _chat(remote: Remote, session_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return chat_of(await remote.session(session_id))


async def _messages(remote: Remote, session_id: str, body: dict[str, Any]) -> dict[str, Any]:
    listed = await remote.messages(session_id)
    shown = [message_of(session_id, number, message) for number, message in enumerate(listed, start=1)]
    return {"messages": shown, "queued_messages": [], "has_more": False}


async def _send(remote: Remote, session_id: str, body: dict[str, Any]) -> dict[str, Any]:
    content = body["content"]
    if not isinstance(content, str):
        if any(part.get("type") != "text" for part in content):
            raise Refused("This instance accepts only text messages.")
        content = "\n".join(part["text"] for part in content)
    await remote.send(session_id, content)
    return {"seq": 0}


async def _interrupt(remote: Remote, session_id: str, body: dict[str, Any]) -> dict[str, Any]:
    await remote.interrupt(session_id)
    return {"interrupted": True, "seq": 0}


_ID = r"/chats/(?P<id>[^/]+)"
_ANSWERS: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "/chats", _chats),
    ("GET", _ID, _chat),
    ("GET", _ID + "/messages", _messages),
    ("POST", _ID + "/messages", _send),
    ("POST", _ID + "/interrupt", _interrupt),
)
