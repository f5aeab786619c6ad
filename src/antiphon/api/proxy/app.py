"""The HTTP API of a standby, as one ASGI app."""

from __future__ import annotations

import hmac
from contextlib import AsyncExitStack
from pathlib import Path

from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.app import (
    RETRY_HEADER,
    TARGET_HEADER,
    clear_tracebacks,
    lifespan,
    path_of,
    refusal,
)
from antiphon.api.http.auth import OriginGate, bearer, is_websocket
from antiphon.api.http.bodies import Bodies
from antiphon.api.http.cross_origin import CrossOrigin
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.operations import operations_of
from antiphon.api.http.routing import Router
from antiphon.api.http.table import Operation
from antiphon.api.protocols import protocol_of, protocols_without
from antiphon.api.proxy.accepted import AcceptedSecrets
from antiphon.api.proxy.exchange import Exchange, LocalRequest
from antiphon.api.proxy.primary import Primary
from antiphon.api.proxy.request import Forwarded
from antiphon.api.proxy.stream import StreamRelay
from antiphon.api.proxy.transfer import FileTransfer
from antiphon.api.proxy.tunnel import SocketTunnel
from antiphon.errors import AntiphonError, Forbidden, TooMany, Unauthenticated, Unavailable
from antiphon.local.lock import TOKEN_NAME
from antiphon.observe.metrics import METRICS
from antiphon.options import Options


class StandbyApp:
    """Forwards requests to the primary until `succeed` replaces it by the app of this process's own instance."""

    def __init__(
        self, *, instance_id: str, data: Path, options: Options, primary: Primary, http: HttpLimits = HttpLimits()
    ) -> None:
        self._instance_id = instance_id
        self._data = data
        self._options = options
        self._primary = primary
        self._gate = OriginGate(options)
        self._cross_origin = CrossOrigin(options.allow_origin)
        self._bodies = Bodies(http)
        self._accepted = AcceptedSecrets(primary.limits.accepted_max)
        self._protocols = protocols_without(options.no_api)
        self._router = Router(operations_of(self._protocols))
        self._relays: set[StreamRelay] = set()
        self._exchanges: set[Exchange] = set()
        self._transfers: dict[FileTransfer, str] = {}
        self._tunnels: set[SocketTunnel] = set()
        self._successor: ASGIApp | None = None
        self.is_stopping = False

    @property
    def has_succeeded(self) -> bool:
        return self._successor is not None

    def succeed(self, successor: ASGIApp) -> None:
        """This process is the primary now: `successor` handles all requests, those that are waiting, too."""
        self._successor = successor
        self._primary.succeed()

    def stop(self) -> None:
        """End all requests and streams. Their clients retry with another instance, or later with this one."""
        self.is_stopping = True
        for relay in tuple(self._relays):
            relay.end()
        for exchange in tuple(self._exchanges):
            exchange.end()
        for transfer in tuple(self._transfers):
            transfer.end()
        for tunnel in tuple(self._tunnels):
            tunnel.end()

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
            answer = self._refusal(error, path_of(scope))
            clear_tracebacks(error)
        if isinstance(answer, StreamRelay):
            await self._relay(answer, scope, receive, send)
        elif isinstance(answer, SocketTunnel):
            await self._tunnel(answer, scope, receive, send)
        elif isinstance(answer, FileTransfer):
            await self._transfer(answer, request, scope, receive, send)
        else:
            await answer(scope, receive, send)

    def _refusal(self, error: Exception, place: str) -> Response:
        """The response to a request that failed, in the shape of the protocol that owns the address."""
        answer = refusal(error, {RETRY_HEADER: "1"} if isinstance(error, Unavailable) else None)
        protocol = protocol_of(self._protocols, place)
        return answer if protocol is None else protocol.refusal(answer)

    async def _relay(self, relay: StreamRelay, scope: Scope, receive: Receive, send: Send) -> None:
        self._relays.add(relay)
        try:
            await relay(scope, receive, send)
        except (AntiphonError, HTTPException) as error:
            await refusal(error)(scope, receive, send)
        finally:
            self._relays.discard(relay)

    async def _tunnel(self, tunnel: SocketTunnel, scope: Scope, receive: Receive, send: Send) -> None:
        self._tunnels.add(tunnel)
        try:
            await tunnel(scope, receive, send)
        except Unavailable as error:
            if self._successor is not None:
                await self._successor(scope, receive, send)
                return
            await self._refusal(error, path_of(scope))(scope, receive, send)
        finally:
            self._tunnels.discard(tunnel)

    async def _transfer(
        self, transfer: FileTransfer, request: Request, scope: Scope, receive: Receive, send: Send
    ) -> None:
        sender = self._accepted.sender_of(request)
        self._transfers[transfer] = sender
        try:
            await transfer(scope, receive, send)
            self._accepted.note(request, self._operation(request.method, path_of(scope)), transfer.status)
        except ClientDisconnect:
            return
        except (AntiphonError, HTTPException) as error:
            await self._refusal(error, path_of(scope))(scope, receive, send)
        finally:
            del self._transfers[transfer]

    async def _make_translated(self, request: Request, operation: Operation) -> FileTransfer:
        """A request of another protocol. Its body is counted until the primary answers, which may take as long as a
        turn. Raises `TooMany`."""
        self._check_streams()
        async with AsyncExitStack() as stack:
            sender = self._accepted.sender_of(request)
            counted = self._bodies.read_counted(request, self._options.limits.body_bytes, owner=sender)
            body = await stack.enter_async_context(counted)
            held = stack.pop_all()
        return FileTransfer(
            request, operation, self._primary, self, http=self._bodies.limits, body=body, release=held.aclose
        )

    def _check_streams(self) -> None:
        translated = sum(transfer.is_translated for transfer in self._transfers)
        if len(self._relays) + len(self._tunnels) + translated >= self._options.watchers_max:
            raise TooMany("watchers", self._options.watchers_max, retry_after_ms=5000)

    def _make_transfer(self, request: Request, operation: Operation) -> FileTransfer:
        """An upload or a download. Raises `TooMany` or `Unavailable` while there are too many."""
        limits, sender = self._primary.limits, self._accepted.sender_of(request)
        senders = [of for transfer, of in self._transfers.items() if not transfer.is_translated]
        if senders.count(sender) >= limits.sender_transfers_max:
            raise TooMany("uploads and downloads at once", limits.sender_transfers_max, retry_after_ms=1000)
        if len(senders) >= limits.transfers_max:
            raise Unavailable("too many uploads and downloads are being forwarded")
        return FileTransfer(request, operation, self._primary, self, http=self._bodies.limits)

    async def _answer(self, request: Request, place: str) -> ASGIApp:
        if request.method == "GET" and place in ("/healthz", "/readyz", "/metrics"):
            return self._own_answer(request, place)
        if self.is_stopping:
            raise Unavailable("the server is stopping")
        if TARGET_HEADER in request.headers:
            raise Unavailable("this is a standby, not the target instance")
        operation = self._operation(request.method, place)
        if operation is not None and operation.is_websocket and is_websocket(request):
            self._check_streams()
            return SocketTunnel(request, self._primary)
        if operation is not None and operation.is_stream:
            self._check_streams()
            return StreamRelay(Forwarded.of(request, b"", operation), self._primary, self)
        if operation is not None and (operation.is_upload or operation.is_download):
            return self._make_transfer(request, operation)
        if operation is not None and operation.protocol:
            return await self._make_translated(request, operation)
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
        if len(self._exchanges) >= self._primary.limits.requests_max:
            raise Unavailable("too many requests are waiting for the primary")
        exchange = Exchange(forwarded, self._primary)
        self._exchanges.add(exchange)
        try:
            return await exchange.run(receive) or LocalRequest(self, forwarded)
        finally:
            self._exchanges.discard(exchange)

    # --- routes that a standby handles itself

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
        """A standby has no store of tokens; it can only read the token file of the data directory."""
        secret = bearer(request)
        if secret is None:
            raise Unauthenticated
        try:
            secret_of_directory = (self._data / TOKEN_NAME).read_text().strip()
        except OSError:
            secret_of_directory = ""
        if not secret_of_directory or not hmac.compare_digest(secret.encode(), secret_of_directory.encode()):
            raise Forbidden("a standby's metrics require the token of the data directory")
