"""The secrets that the primary has accepted. A standby has no store to look tokens up in, so this is how it
distinguishes senders: all secrets that were not accepted yet (invented ones, too) share one part of the memory."""

from __future__ import annotations

import hashlib

from starlette.requests import Request

from antiphon.api.http.auth import bearer, session_secret
from antiphon.api.http.table import Operation, Policy

ACCEPTED_MAX = 10_000
"""Maximum number of accepted secrets that are remembered. The one that was used least recently is forgotten first."""
UNKNOWN = ""
"""The sender of every request whose secret was not accepted yet."""


class AcceptedSecrets:
    """Names the sender of a request, by what the primary answered before."""

    def __init__(self) -> None:
        self._senders: dict[str, None] = {}

    def sender_of(self, request: Request) -> str:
        """A name for the request's secret if it was accepted, else UNKNOWN."""
        sender = _sender_of(request)
        return sender if sender in self._senders else UNKNOWN

    def note(self, request: Request, operation: Operation | None, status: int) -> None:
        """The primary answered this. Only success on a route that needs a token shows that it accepted the secret."""
        sender = _sender_of(request)
        if sender == UNKNOWN or operation is None or operation.policy is Policy.OPEN:
            return
        if status == 401:
            self._senders.pop(sender, None)
        elif 200 <= status < 300:
            self._senders.pop(sender, None)
            self._senders[sender] = None
            if len(self._senders) > ACCEPTED_MAX:
                del self._senders[next(iter(self._senders))]


def _sender_of(request: Request) -> str:
    secret = bearer(request) or session_secret(request)
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest() if secret else UNKNOWN
