"""The run itself, and the events that belong to no part of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon.core.parts import NO_USAGE, Usage
from antiphon.core.values import Value
from antiphon.wire.agui.messages import NAMESPACE
from antiphon.wire.codec import encode

Json = dict[str, Any]

VERSION = "1.0"


class RunInfo(Value):
    """The run: its chat here, and the client's names."""

    chat_id: str
    thread_id: str
    run_id: str
    model: str = ""
    turn_id: int = 0
    has: frozenset[str] = frozenset()
    """Messages of users, and calls with a result, that the client has sent: it has their messages."""


def run_started(info: RunInfo) -> Json:
    here = {"chatId": info.chat_id, "model": info.model} | ({"turnId": info.turn_id} if info.turn_id else {})
    names = {"threadId": info.thread_id, "runId": info.run_id, "protocolVersion": VERSION}
    return {"type": "RUN_STARTED", **names, "metadata": {NAMESPACE: here}}


def run_finished(info: RunInfo, outcome: Json, *, usage: Usage = NO_USAGE, **metadata: Any) -> Json:
    shown: Json = {"type": "RUN_FINISHED", "threadId": info.thread_id, "runId": info.run_id, "outcome": outcome}
    if counts := usage_json(usage, info.model):
        shown["usage"] = [counts]
    return shown | ({"metadata": {NAMESPACE: metadata}} if metadata else {})


def run_error(error: Json, *, usage: Usage = NO_USAGE, model: str = "") -> Json:
    """`error` has `message`, and `kind` or `code`."""
    code = error.get("kind") or error.get("code") or "failed"
    shown: Json = {"type": "RUN_ERROR", "message": error.get("message") or "The turn has failed.", "code": code}
    counts = usage_json(usage, model)
    return shown | ({"usage": [counts]} if counts else {})


def messages_snapshot(messages: Iterable[Any], *, has_more: bool = False) -> Json:
    """`has_more`: there are older messages."""
    more = {"metadata": {NAMESPACE: {"hasMore": True}}} if has_more else {}
    return {"type": "MESSAGES_SNAPSHOT", "messages": list(messages), **more}


def custom(name: str, value: Any) -> Json:
    return {"type": "CUSTOM", "name": f"{NAMESPACE}.{name}", "value": value}


def sse(events: Iterable[Json]) -> bytes:
    """Events as server-sent events."""
    return b"".join(b"data: %b\n\n" % encode(event) for event in events)


def usage_json(usage: Usage, model: str) -> Json:
    """With the names of AG-UI; unknown counts are left out."""
    counts = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.tokens or None,
        "reasoningTokens": usage.reasoning_tokens,
        "cachedInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_creation_tokens,
    }
    known = {name: count for name, count in counts.items() if count is not None}
    return known | ({"model": model} if known and model else {})
