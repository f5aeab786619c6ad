"""The secrets that the primary has accepted. A standby has no store of tokens, so it distinguishes senders by these:
all secrets that were not accepted yet (invented ones, too) share one part of the memory."""

from __future__ import annotations

import hashlib

from starlette.requests import Request

from antiphon.api.http.auth import bearer, session_secret
from antiphon.api.http.table import Operation, Policy
from antiphon.api.proxy.limits import ProxyLimits

UNKNOWN = ""
"""The sender of every request whose secret was not accepted yet."""


class AcceptedSecrets:
    """Identifies the sender of a request by the responses of the primary to earlier requests."""

    def __init__(self, count_max: int = ProxyLimits().accepted_max) -> None:
        self._count_max = count_max
        self._senders: dict[str, None] = {}

    def sender_of(self, request: Request) -> str:
        """The digest of the request's secret if it was accepted, else UNKNOWN."""
        sender = _sender_of(request)
        return sender if sender in self._senders else UNKNOWN

    def note(self, request: Request, operation: Operation | None, status: int) -> None:
        """Update the cache by the primary's response. Only success on a route that needs a token shows that the
        primary accepted the secret."""
        sender = _sender_of(request)
        if sender == UNKNOWN or operation is None or operation.policy is Policy.OPEN:
            return
        if status == 401:
            self._senders.pop(sender, None)
        elif 200 <= status < 300:
            self._senders.pop(sender, None)
            self._senders[sender] = None
            if len(self._senders) > self._count_max:
                del self._senders[next(iter(self._senders))]


def _sender_of(request: Request) -> str:
    secret = bearer(request) or session_secret(request)
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest() if secret else UNKNOWN
