"""The HTTP door of a standby."""

from __future__ import annotations

import hmac
from pathlib import Path

from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.app import (
    ELSEWHERE_HEADER,
    TARGET_HEADER,
    clear_tracebacks,
    lifespan,
    path_of,
    refusal,
)
from antiphon.api.http.auth import OriginGate, bearer
from antiphon.api.http.bodies import Bodies
from antiphon.api.http.cross_origin import CrossOrigin
from antiphon.api.http.operations import OPERATIONS
from antiphon.api.http.routing import Router
from antiphon.api.http.table import Operation
from antiphon.api.proxy.accepted import AcceptedSecrets
from antiphon.api.proxy.exchange import Exchange, Handed
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import Forwarded
from antiphon.api.proxy.stream import StreamRelay
from antiphon.errors import AntiphonError, Forbidden, TooMany, Unauthenticated, Unavailable
from antiphon.local.lock import TOKEN_NAME
from antiphon.observe.metrics import METRICS
from antiphon.options import Options

EXCHANGES_MAX = 1_000
"""Maximum number of requests being forwarded, streams not counted."""


class StandbyDoor:
    """Hands on what comes, until `succeed` makes `successor` the door."""

    def __init__(self, *, instance_id: str, data: Path, options: Options, primary: Primary) -> None:
        self._instance_id = instance_id
        self._data = data
        self._options = options
        self._primary = primary
        self._gate = OriginGate(options)
        self._cross_origin = CrossOrigin(options.allow_origin)
        self._bodies = Bodies()
        self._accepted = AcceptedSecrets()
        self._router = Router(OPERATIONS)
        self._relays: set[StreamRelay] = set()
        self._exchanges: set[Exchange] = set()
        self._successor: ASGIApp | None = None
        self.is_stopping = False

    @property
    def has_succeeded(self) -> bool:
        return self._successor is not None

    def succeed(self, successor: ASGIApp) -> None:
        """From now on this process answers for itself, also those who wait."""
        self._successor = successor
        self._primary.succeed()

    def stop(self) -> None:
        """Send everybody away: they find another instance, or this one when it is back."""
        self.is_stopping = True
        for relay in tuple(self._relays):
            relay.end()
        for exchange in tuple(self._exchanges):
            exchange.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._successor is not None:
            await self._successor(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        request = Request(scope, receive)
        send = self._cross_origin.sending(request, send)
        try:
            place = path_of(scope)
            self._gate.check(request, place)
            if (preflight := self._cross_origin.preflight(request)) is not None:
                await preflight(scope, receive, send)
                return
            answer = await self._answer(request, place)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = refusal(error, {ELSEWHERE_HEADER: "1"} if isinstance(error, Unavailable) else None)
            clear_tracebacks(error)
        if isinstance(answer, StreamRelay):
            await self._relay(answer, scope, receive, send)
        else:
            await answer(scope, receive, send)

    async def _relay(self, relay: StreamRelay, scope: Scope, receive: Receive, send: Send) -> None:
        self._relays.add(relay)
        try:
            await relay(scope, receive, send)
        except (AntiphonError, HTTPException) as error:
            await refusal(error)(scope, receive, send)
        finally:
            self._relays.discard(relay)

    async def _answer(self, request: Request, place: str) -> ASGIApp:
        if request.method == "GET" and place in ("/healthz", "/readyz", "/metrics"):
            return self._own_answer(request, place)
        if self.is_stopping:
            raise Unavailable("the server is stopping")
        if TARGET_HEADER in request.headers:
            raise Unavailable("this is a standby, not the target instance")
        operation = self._operation(request.method, place)
        if operation is not None and operation.is_stream:
            if len(self._relays) >= self._options.watchers_max:
                raise TooMany("watchers", self._options.watchers_max, retry_after_ms=5000)
            return StreamRelay(Forwarded.of(request, b"", operation), self._primary, self)
        sender = self._accepted.sender_of(request)
        async with self._bodies.read_counted(request, self._options.limits.body_bytes, owner=sender) as body:
            answer = await self._exchange(Forwarded.of(request, body, operation), request.receive)
        if isinstance(answer, Response):
            self._accepted.note(request, operation, answer.status_code)
        return answer

    def _operation(self, method: str, place: str) -> Operation | None:
        """The route, if this version has it; a newer primary may have others."""
        try:
            return self._router.match(method, place)[0]
        except (AntiphonError, HTTPException):
            return None

    async def _exchange(self, forwarded: Forwarded, receive: Receive) -> ASGIApp:
        if len(self._exchanges) >= EXCHANGES_MAX:
            raise Unavailable("too much waits for the primary")
        exchange = Exchange(forwarded, self._primary)
        self._exchanges.add(exchange)
        try:
            return await exchange.run(receive) or Handed(self, forwarded)
        finally:
            self._exchanges.discard(exchange)

    # --- what a standby says for itself

    def _own_answer(self, request: Request, place: str) -> Response:
        if place == "/healthz":
            return JsonAnswer({"status": "ok", "instance_id": self._instance_id, "role": "standby"})
        if place == "/readyz":
            problems = self._primary.is_silent or self.is_stopping
            return JsonAnswer({"status": "degraded" if problems else "ready"}, 503 if problems else 200)
        self._check_local_token(request)
        METRICS.degraded.set(1 if self._primary.is_silent else 0)
        METRICS.primary_silent.set(self._primary.silent_s)
        return Response(generate_latest(METRICS.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _check_local_token(self, request: Request) -> None:
        """A standby has no store to look tokens up in; the data directory's own it knows."""
        secret = bearer(request)
        if secret is None:
            raise Unauthenticated
        try:
            known = (self._data / TOKEN_NAME).read_text().strip()
        except OSError:
            known = ""
        if not known or not hmac.compare_digest(secret.encode(), known.encode()):
            raise Forbidden("a standby's metrics are for the data directory's own token")
