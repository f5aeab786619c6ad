"""The two bindings of A2A: how results, updates and errors are wrapped in JSON-RPC, and in plain HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from antiphon.api.http.answers import JsonAnswer, error_answer
from antiphon.api.protocol import kept_headers
from antiphon.wire.a2a.errors import a2a_error, error_of, status_json
from antiphon.wire.codec import decode, encode
from antiphon.wire.jsonrpc import INTERNAL_ERROR, NULL, Refusal, RpcRefused, encode_refusal, encode_result


class Binding(ABC):
    """How one request is answered. `head` and `tail` are around each update of a stream."""

    head: bytes
    tail: bytes

    @abstractmethod
    def result(self, value: Any) -> JsonAnswer: ...

    @abstractmethod
    def refusal(self, error: RpcRefused, status: int | None = None, headers: Mapping[str, str] = {}) -> JsonAnswer:
        """The response with an error. `status`: that of a request that was not read."""

    @abstractmethod
    def last(self, error: RpcRefused) -> bytes:
        """The last event of a stream that the server ends."""

    def answer(self, make: Callable[[], Any]) -> JsonAnswer:
        """The response with what `make` returns, or with the error that it raises."""
        try:
            return self.result(make())
        except Exception as error:
            return self.failed(error)

    def failed(self, error: Exception) -> JsonAnswer:
        """The response with an error. Its traceback would keep the request in memory."""
        headers: Mapping[str, str] = {}
        if not isinstance(error, RpcRefused):
            answer = error_answer(error)
            detail: dict[str, Any] = decode(bytes(answer.body), dict[str, Any])["error"]
            error.__traceback__ = None
            error, headers = error_of(detail, status=answer.status_code, is_read=True), kept_headers(answer)
        return self.refusal(error, headers=headers)

    def cut_off(self, reason: str) -> bytes:
        message = f"The server closed the stream ({reason}). The task goes on: SubscribeToTask has the rest."
        return self.last(a2a_error(INTERNAL_ERROR, message))


class RpcBinding(Binding):
    """JSON-RPC: errors of methods have the status 200."""

    tail = b"}\n\n"

    def __init__(self, echoed: Raw = NULL) -> None:
        self._id = echoed
        self.head = b'data: {"jsonrpc":"2.0","id":%b,"result":' % bytes(echoed)

    def result(self, value: Any) -> JsonAnswer:
        return JsonAnswer(encode_result(self._id, value))

    def refusal(self, error: RpcRefused, status: int | None = None, headers: Mapping[str, str] = {}) -> JsonAnswer:
        return JsonAnswer(self._encoded(error), status or 200, dict(headers))

    def last(self, error: RpcRefused) -> bytes:
        return b"data: %b\n\n" % self._encoded(error)

    def _encoded(self, error: RpcRefused) -> bytes:
        refusal = Refusal(code=error.rpc_code, message=str(error), data=error.data, id=self._id)
        return encode_refusal(refusal)


class A2aAnswer(JsonAnswer):
    media_type = "application/a2a+json"


class HttpBinding(Binding):
    """HTTP+JSON: an error has its own status."""

    head = b"data: "
    tail = b"\n\n"

    def result(self, value: Any) -> JsonAnswer:
        return A2aAnswer(encode(value))

    def refusal(self, error: RpcRefused, status: int | None = None, headers: Mapping[str, str] = {}) -> JsonAnswer:
        status = status or error.status
        return A2aAnswer(encode(status_json(error, status)), status, dict(headers))

    def last(self, error: RpcRefused) -> bytes:
        return b"event: error\ndata: %b\n\n" % encode(status_json(error, error.status))
