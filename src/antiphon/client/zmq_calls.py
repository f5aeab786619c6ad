"""Calls on an instance over one ZeroMQ socket: requests, their responses, and the state of the connection."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, TypeVar, cast

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from antiphon.client.errors import AnswerLost, MethodMissing, error_of_detail
from antiphon.errors import Forbidden, InstanceMissing, PeerError, TooLarge
from antiphon.local.keys import Keys
from antiphon.wire import codec, jsonrpc
from antiphon.wire import instance as i

POLL_MS = 100
"""How often the socket is polled while responses are pending, in milliseconds."""
MESSAGE_BYTES_MAX = 32 * 1024 * 1024
"""Maximum size of a reply (16 MiB) or an event frame; a peer that sends a larger one is disconnected."""
REFUSAL_CHARACTERS_MAX = 500
"""Maximum length of a peer's message in an error, in characters."""
_MONITORED_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
"""The socket events of the calls' connection that are monitored."""

R = TypeVar("R")


class Sockets:
    """The sockets of one client: they have the same keys and are closed together."""

    def __init__(self, keys: Keys | None, server_key: str, *, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._message_bytes_max = message_bytes_max
        self.has_keys = keys is not None
        self._keys, self._server_key = keys, server_key
        self._context = zmq.asyncio.Context()

    def open(self, kind: int) -> zmq.asyncio.Socket:
        """A socket that is not connected yet."""
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, self._message_bytes_max)
        if self._keys is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_key.encode())
        return socket

    def close(self) -> None:
        self._context.destroy(linger=0)


class Calls:
    """Sends calls and returns their results; `skipped` counts responses that could not be decoded."""

    def __init__(self, sockets: Sockets, endpoint: str, *, timeout_s: float) -> None:
        """Raises `InstanceMissing` if the endpoint is not a valid address."""
        self.skipped = 0
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._has_keys = sockets.has_keys
        self._is_refused = False
        self._has_pending = asyncio.Event()
        try:
            self._socket = sockets.open(zmq.DEALER)
            self._socket.setsockopt(zmq.IMMEDIATE, 1)  # a call is not queued for an instance that connects later
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise invalid_endpoint(endpoint, error) from error
        self._monitor = self._socket.get_monitor_socket(_MONITORED_EVENTS)
        self._ids = itertools.count(1)
        self._pending: dict[str, asyncio.Future[jsonrpc.Answer]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        self._socket.disable_monitor()

    async def call(self, method: str, params: Any = None, kind: type[R] | Any = Any) -> R:
        """The result of a call, as `kind`; `RemoteInstance.call` describes the errors."""
        call_id = str(next(self._ids))  # servers of the reference protocol accept only strings
        request = jsonrpc.encode_request(method, params if params is not None else {}, call_id)
        if len(request) > i.CALL_BYTES_MAX:
            raise TooLarge("request (in bytes)", i.CALL_BYTES_MAX)
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._receive_forever()),
                asyncio.create_task(self._watch_connection()),
            ]
        answered: asyncio.Future[jsonrpc.Answer] = asyncio.get_running_loop().create_future()
        is_sent = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._socket.send_multipart([b"", request])
                is_sent = True
                self._pending[call_id] = answered  # from here on a lost connection loses the call
                self._has_pending.set()
                answer = await answered
        except TimeoutError as error:
            if self._is_refused:
                reason = "does not accept these keys" if self._has_keys else "requires keys"
                raise Forbidden(f"the instance {reason}") from error
            if not is_sent:
                raise InstanceMissing(f"no instance answers at {self._endpoint}") from error
            raise AnswerLost("no answer came in time") from error
        finally:
            self._pending.pop(call_id, None)
            answered.cancel()
        if answer.error_code:
            raise _error_of(method, answer)
        return cast(R, codec.decode(bytes(answer.result), kind))

    async def _watch_connection(self) -> None:
        """Fail the pending calls when their connection is lost: no response will arrive."""
        while True:
            event = parse_monitor_message(await self._monitor.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_refused = False
            elif event["event"] in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                self._is_refused = True
            elif event["event"] == zmq.EVENT_DISCONNECTED:
                for answered in self._pending.values():
                    if not answered.done():
                        answered.set_exception(AnswerLost())

    async def _receive_forever(self) -> None:
        """Receive responses. While calls are pending the socket is polled even without a signal: uvloop sometimes
        (once in some thousand times) loses the signal of a descriptor whose number another socket had before."""
        while True:
            if not self._pending:
                self._has_pending.clear()
                await self._has_pending.wait()
            try:
                await self._socket.poll(POLL_MS)
                frames = await self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                continue
            try:
                answer = jsonrpc.decode_answer(frames[-1])
            except PeerError:
                self.skipped += 1
                continue
            self._resolve(answer)

    def _resolve(self, answer: jsonrpc.Answer) -> None:
        """Resolve the call of a response. An error without an id answers a request that the instance could not
        decode: it resolves the oldest call."""
        future = self._pending.get(answer.id) if isinstance(answer.id, str) else None
        if future is None and not answer.id and answer.error_code:
            future = next((pending for pending in self._pending.values() if not pending.done()), None)
        if future is not None and not future.done():
            future.set_result(answer)


def invalid_endpoint(endpoint: str, error: zmq.ZMQError) -> InstanceMissing:
    return InstanceMissing(f"{endpoint or 'an empty endpoint'} is not a valid address ({error.strerror})")


def _error_of(method: str, answer: jsonrpc.Answer) -> Exception:
    if isinstance(answer.error_data.get("code"), str):
        return error_of_detail({"message": answer.error_message, **answer.error_data})
    message = answer.error_message[:REFUSAL_CHARACTERS_MAX]
    if answer.error_code == jsonrpc.METHOD_NOT_FOUND:
        return MethodMissing(method, message)
    return PeerError(f"the instance refused the call: {message} ({answer.error_code})")
