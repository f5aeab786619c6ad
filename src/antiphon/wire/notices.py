"""Notices: transient reports of a foreign peer on a chat's channel, as events of the stream.

An Antiphon instance stores retries and failures as facts, and each of its messages has the chat's latest `seq`. A
message without a `seq` comes from another program: its `retry`, `error_payload` or legacy `error` is not in the
store. It is sent to the current watchers as a `notice` event without an id.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.errors import PeerError, one_line
from antiphon.wire import codec
from antiphon.wire.notify import ChatStreamError, ChatStreamRetry
from antiphon.wire.stream import Frame

TEXT_MAX = 500
"""Maximum length of a peer's error text, in characters."""
NAME_MAX = 100
"""Maximum length of the names beside it, in characters."""


def notices_of(*, retry: Any, error_payload: Any, error: Any) -> dict[str, Frame]:
    """The notices for a foreign message's inline fields, by their kind. Fields that cannot be decoded are ignored."""
    notices = {}
    try:
        if isinstance(retry, dict):
            notices["retry"] = _frame("retry", _clean(codec.convert(retry, ChatStreamRetry), text="error"))
    except PeerError:
        pass
    failure = _failure(error_payload, error)
    if failure is not None:
        notices["error"] = _frame("error", _clean(failure, text="message"))
    return notices


def _failure(payload: Any, legacy: Any) -> ChatStreamError | None:
    """The payload, else the legacy string of an older peer."""
    if isinstance(payload, dict):
        try:
            return codec.convert(payload, ChatStreamError)
        except PeerError:
            pass
    return ChatStreamError(message=legacy) if isinstance(legacy, str) and legacy else None


def _clean(value: ChatStreamRetry | ChatStreamError, *, text: str) -> ChatStreamRetry | ChatStreamError:
    fields = {
        text: one_line(getattr(value, text), TEXT_MAX),
        "kind": one_line(value.kind, NAME_MAX),
        "provider": one_line(value.provider, NAME_MAX),
    }
    return msgspec.structs.replace(value, **fields)


def _frame(kind: str, value: ChatStreamRetry | ChatStreamError) -> Frame:
    return Frame(None, 0, "notice", codec.encode({"type": "notice", "kind": kind, kind: value}))
