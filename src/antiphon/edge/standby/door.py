"""The HTTP door of a standby."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path

import httpx2
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon.config import Options
from antiphon.edge.answers import JsonAnswer
from antiphon.edge.auth import OriginGate, bearer
from antiphon.edge.bodies import Bodies
from antiphon.edge.http import ELSEWHERE_HEADER, MEANT_HEADER, OPERATIONS, lifespan, path_of, refusal
from antiphon.edge.routing import Router
from antiphon.edge.standby.primary import ANSWER_S, RETRY_S, Primary
from antiphon.edge.standby.request import Forwarded
from antiphon.edge.standby.stream import WAIT_S, StreamRelay, start_of
from antiphon.edge.table import Operation
from antiphon.errors import AntiphonError, Forbidden, Unauthenticated, Unavailable
from antiphon.lockfile import TOKEN_NAME
from antiphon.observe import METRICS


class StandbyDoor:
    """Hands on what comes, until `succeed` makes `successor` the door. Reads and sends wait for the next primary
    when theirs goes and are asked again; any other command is refused as unavailable then, for whether it took effect
    is not known."""

    def __init__(self, *, instance_id: str, data: Path, options: Options, primary: Primary) -> None:
        self._instance_id = instance_id
        self._data = data
        self._options = options
        self._primary = primary
        self._gate = OriginGate(options)
        self._bodies = Bodies()
        self._router = Router(OPERATIONS)
        self._relays: set[StreamRelay] = set()
        self._successor: ASGIApp | None = None
        self.is_stopping = False

    def succeed(self, successor: ASGIApp) -> None:
        """From now on this process answers for itself, also those who wait."""
        self._successor = successor
        self._primary.succeeded = True

    def stop(self) -> None:
        """Send the readers away: they find another instance, or this one when it is back."""
        self.is_stopping = True
        for relay in self._relays:
            relay.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._successor is not None:
            await self._successor(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        request = Request(scope, receive)
        try:
            place = path_of(scope)
            self._gate.check(request, place)
            answer = await self._answer(request, place)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = refusal(error, {ELSEWHERE_HEADER: "1"} if isinstance(error, Unavailable) else None)
        if isinstance(answer, StreamRelay):
            await self._relay(answer, scope, receive, send)
        else:
            await answer(scope, receive, send)

    async def _relay(self, relay: StreamRelay, scope: Scope, receive: Receive, send: Send) -> None:
        self._relays.add(relay)
        try:
            await relay(scope, receive, send)
        except AntiphonError as error:
            await refusal(error)(scope, receive, send)
        finally:
            self._relays.discard(relay)

    async def _answer(self, request: Request, place: str) -> ASGIApp:
        if request.method == "GET" and place in ("/healthz", "/readyz", "/metrics"):
            return self._own_answer(request, place)
        if self.is_stopping:
            raise Unavailable("the server is stopping")
        if MEANT_HEADER in request.headers:
            raise Unavailable("the primary that was meant is not here")
        operation = self._operation(request.method, place)
        body = await self._bodies.read(request, self._options.limits.body_bytes)
        forwarded = Forwarded.of(request, body, operation)
        if operation is not None and operation.is_stream:
            return StreamRelay(forwarded, self._primary, self)
        return await self._exchange(forwarded)

    def _operation(self, method: str, place: str) -> Operation | None:
        """The route, if this version has it; a newer primary may have others."""
        try:
            return self._router.match(method, place)[0]
        except (AntiphonError, HTTPException):
            return None

    async def _exchange(self, forwarded: Forwarded) -> ASGIApp:
        """The primary's answer, whoever is the primary when it can be had."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while True:
            primary = await self._primary.wait(deadline)
            if primary is None:
                return _Handed(self, forwarded)
            try:
                response = await self._primary.open(primary, forwarded, answer_s=ANSWER_S)
                try:
                    body = b"".join([piece async for piece in response.aiter_raw()])
                finally:
                    await response.aclose()
            except httpx2.TransportError as error:
                _check_repeatable(forwarded, error)
            else:
                if ELSEWHERE_HEADER not in response.headers or not forwarded.is_repeatable:
                    return _answer_of(response, body)
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("the primary does not answer")
            await asyncio.sleep(RETRY_S)

    # --- what a standby says for itself

    def _own_answer(self, request: Request, place: str) -> Response:
        if place == "/healthz":
            return JsonAnswer({"status": "ok", "instance_id": self._instance_id, "role": "standby"})
        if place == "/readyz":
            problems = self._primary.problem() or self.is_stopping
            return JsonAnswer({"status": "degraded" if problems else "ready"}, 503 if problems else 200)
        self._check_local_token(request)
        METRICS.degraded.set(1 if self._primary.problem() else 0)
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


class _Handed:
    """A request that this process's own door answers after all."""

    def __init__(self, door: ASGIApp, forwarded: Forwarded) -> None:
        self._door = door
        self._forwarded = forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(self._forwarded.scope(scope), self._forwarded.receive(receive), send)


def _check_repeatable(forwarded: Forwarded, error: httpx2.TransportError) -> None:
    if forwarded.is_repeatable:
        return
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        raise Unavailable("the primary is gone; another instance takes over") from error
    raise Unavailable("the primary went away meanwhile: look whether this was done before you ask again") from error


def _answer_of(response: httpx2.Response, body: bytes) -> Response:
    answer = Response(body, response.status_code)
    answer.raw_headers = [*start_of(response)["headers"], (b"content-length", str(len(body)).encode())]
    return answer
