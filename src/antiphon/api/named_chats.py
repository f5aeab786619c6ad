"""The chats that a request of another protocol names: by this server's id, or by the client's own text."""

from __future__ import annotations

from antiphon.api.embedded import EmbeddedChats, embedded_chats
from antiphon.api.http.table import Call
from antiphon.core.model import Chat
from antiphon.errors import Invalid, NotFound
from antiphon.observe.traces import checked_traceparent
from antiphon.wire.ids import canonical_id, is_uuid, named_chat_id

CHAT_NAME_MAX = 1_024
"""Maximum length of a client's name of a chat, in characters."""


def chats_of(call: Call) -> EmbeddedChats:
    """The chats of the request's owner."""
    trace = checked_traceparent(call.request.headers.get("traceparent"))
    return embedded_chats(call.instance, call.owner_id, trace=trace, via=call.via)


def chat_id_of(call: Call, protocol: str, name: str, *, field: str = "id", kind: str = "") -> str:
    """A UUID is the id of the chat itself; any other text is the owner's own name of one. `kind` separates the names
    that a protocol gives for different purposes. Raises `Invalid` for a name that is too long."""
    if len(name) > CHAT_NAME_MAX:
        raise Invalid(field, f"at most {CHAT_NAME_MAX} characters")
    if is_uuid(name):
        return canonical_id(name)
    return named_chat_id(call.owner_id, protocol, f"{kind}:{name}" if kind else name)


async def find_chat(call: Call, chat_id: str) -> Chat | None:
    """None for a chat that does not exist. Raises `NotFound` for one of another owner, and for a deleted one."""
    try:
        return await chats_of(call).get(chat_id)
    except NotFound:
        if await call.instance.service.chat(chat_id) is not None:
            raise
        return None
