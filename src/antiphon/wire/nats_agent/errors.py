"""Errors in the protocol's shape (§9): two headers, and a body of JSON."""

from __future__ import annotations

from typing import Any

from antiphon.core.values import Value
from antiphon.errors import AntiphonError, one_line
from antiphon.wire.codec import encode

CODE_HEADER = "Nats-Service-Error-Code"
TEXT_HEADER = "Nats-Service-Error"
HEADER_CHARACTERS_MAX = 200
"""Maximum length of the sentence in the header, in characters. The body has it, too."""
MESSAGE_CHARACTERS_MAX = 400
"""Maximum length of the sentence in the body, in characters: a server may accept messages of 1,000 bytes only."""

_STATUS = {
    "invalid": 400,
    "too_large": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "busy": 409,
    "conflict": 409,
    "not_allowed_now": 409,
    "already_delivered": 409,
    "too_many": 429,
    "rate_limited": 429,
    "budget_exhausted": 429,
}
"""The protocol's statuses (§9.2) of this server's codes. All others are 500: the protocol has no 503."""


class ServiceError(Value):
    """The error that ends a stream. `code` is stable."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """One line of printable ASCII: a line break would begin another header."""
        text = one_line(self.message, HEADER_CHARACTERS_MAX).encode("ascii", "replace").decode()
        return {CODE_HEADER: str(self.status), TEXT_HEADER: text or self.code}

    @property
    def body(self) -> bytes:
        shown: dict[str, Any] = {"error": self.code, "message": one_line(self.message, MESSAGE_CHARACTERS_MAX)}
        return encode(shown | ({} if self.retry_after_s is None else {"retry_after_s": self.retry_after_s}))


def service_error(error: AntiphonError) -> ServiceError:
    """An error of this server as one of the protocol."""
    retry_ms = getattr(error, "retry_after_ms", None)
    retry_s = None if retry_ms is None else -(-retry_ms // 1000)
    return ServiceError(
        status=_STATUS.get(error.code, 500), code=error.code, message=str(error), retry_after_s=retry_s
    )


INTERNAL = ServiceError(status=500, code="internal", message="The server has a fault; its log says more.")
STOPPING = ServiceError(
    status=500,
    code="unavailable",
    message="The server closed the stream. The turn goes on: send the prompt again with the same message id.",
    retry_after_s=1,
)
CONNECTION_LOST = ServiceError(
    status=500,
    code="connection_lost",
    message="The server's connection to NATS was lost, and a part of the answer may be missing. The turn goes on: "
    "send the prompt again with the same message id to read all of it.",
    retry_after_s=0,
)
TOO_MANY = ServiceError(
    status=429, code="too_many", message="This instance has too many prompts in progress.", retry_after_s=1
)
NO_REPLY = ServiceError(
    status=409,
    code="no_reply",
    message="The question was not answered in time. The chat still waits for the answer; another prompt cancels it.",
)
BLOCKED = ServiceError(
    status=409,
    code="blocked",
    message="The answer before this prompt has failed, and the prompt waits until another one is sent.",
)
RESTARTED = ServiceError(
    status=500,
    code="answer_restarted",
    message="The answer was begun again with another text, and what was sent cannot be taken back.",
)
INTERRUPTED = ServiceError(status=409, code="interrupted", message="The turn was interrupted.")
REPLACED = ServiceError(status=409, code="replaced", message="The prompt was replaced by another message.")
DELETED = ServiceError(status=409, code="deleted", message="The prompt was deleted before it was answered.")


def turn_error(error: dict[str, Any] | None) -> ServiceError:
    """The error of a turn that has failed."""
    found = error or {}
    message = str(found.get("message") or "The turn has failed.")
    return ServiceError(status=500, code=str(found.get("kind") or "server"), message=message)
