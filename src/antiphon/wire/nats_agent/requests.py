"""Prompts, and replies to questions: plain text, or an envelope of JSON (§5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from antiphon.core.model import Needs
from antiphon.core.parts import File, Part, Text
from antiphon.core.values import Value
from antiphon.errors import Invalid, PeerError
from antiphon.wire.codec import decode
from antiphon.wire.stream import OpenCall
from antiphon.wire.tool_answers import ToolAnswer
from antiphon.wire.typed_answers import NO, YES, typed_answer
from antiphon.wire.user_content import checked_file

ATTACHMENTS_MAX = 64
"""Maximum number of attachments of a prompt."""
SESSION_MAX = 256
"""Maximum length of a caller's own name of a session, in characters."""
MESSAGE_ID_HEADER = "Nats-Msg-Id"
"""NATS' own header for the id of a message."""

_SPACES = b"\t\n\r "
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
APPROVING = YES | {"ok", "approve", "approved", "allow", "true"}
DENYING = NO | {"deny", "denied", "reject", "rejected", "false"}


class Attachment(Value, gc=True):
    filename: str
    content: str


class Envelope(Value, gc=True):
    """The protocol's fields; `session` and `message_id` are this server's own, which others ignore."""

    prompt: str
    attachments: list[Attachment] | None = None
    session: str | None = None
    message_id: str | None = None


class Prompt(Value, gc=True):
    """A prompt: `content` is that of a message. `session` is the caller's own name below that of the agent; empty:
    the agent's session itself. `message_id` makes a repeat safe; empty: it is not."""

    content: tuple[Part, ...]
    session: str = ""
    message_id: str = ""


def read_prompt(payload: bytes, headers: Mapping[str, str] | None = None) -> Prompt:
    """A received prompt. Raises `Invalid`."""
    envelope = _envelope(payload)
    attachments = envelope.attachments or []
    if len(attachments) > ATTACHMENTS_MAX:
        raise Invalid("attachments", f"at most {ATTACHMENTS_MAX} attachments")
    files = [_file(attachment, f"attachments[{number}]") for number, attachment in enumerate(attachments)]
    session = envelope.session or ""
    if len(session) > SESSION_MAX:
        raise Invalid("session", f"at most {SESSION_MAX} characters")
    message_id = (headers or {}).get(MESSAGE_ID_HEADER) or envelope.message_id or ""
    return Prompt(content=(Text(envelope.prompt), *files), session=session, message_id=message_id)


def _envelope(payload: bytes) -> Envelope:
    if not payload:
        raise Invalid("prompt", "the payload is empty")
    if payload.lstrip(_SPACES)[:1] == b"{":
        try:
            envelope = decode(payload, Envelope)
        except PeerError as error:
            raise Invalid("", f"the envelope is not valid: {error}") from error
    else:
        try:
            envelope = Envelope(prompt=payload.decode())
        except UnicodeDecodeError as error:
            raise Invalid("prompt", "the payload is neither JSON nor text in UTF-8") from error
    if not envelope.prompt:
        raise Invalid("prompt", "must not be empty")
    return envelope


def _file(attachment: Attachment, field: str) -> File:
    if not _BASE64.fullmatch(attachment.content):
        raise Invalid(f"{field}.content", "must be padded base64 of the standard alphabet, without white space")
    return checked_file(File(name=attachment.filename, data=attachment.content), field)


def read_reply(payload: bytes, call: OpenCall) -> ToolAnswer:
    """The reply to a question about `call`: a word for an approval, JSON or text for a result, and for a question of
    the agent what its schema says. Raises `Invalid` with what was expected."""
    envelope = _envelope(payload)
    if envelope.attachments:
        raise Invalid("attachments", "a reply is text alone")
    text, call_id = envelope.prompt, call.tool_call_id
    if call.needs is Needs.APPROVAL:
        word = text.strip().strip(".!").lower()
        if word not in APPROVING | DENYING:
            raise Invalid("", "yes or no is expected")
        return ToolAnswer(tool_call_id=call_id, is_approved=word in APPROVING)
    if call.needs is Needs.ANSWER:
        return ToolAnswer(tool_call_id=call_id, value=typed_answer(text, {"args": call.args}))
    try:
        return ToolAnswer(tool_call_id=call_id, value=decode(text.encode(), Any))
    except PeerError:
        return ToolAnswer(tool_call_id=call_id, value=text)
