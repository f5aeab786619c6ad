"""Parameters of methods as values, and results and errors as JSON-RPC responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from antiphon.api.http.answers import JsonAnswer, error_answer
from antiphon.api.http.decoding import invalid
from antiphon.errors import Invalid
from antiphon.wire.a2a.errors import error_of
from antiphon.wire.a2a.requests import fields_of
from antiphon.wire.codec import decode
from antiphon.wire.jsonrpc import Refusal, RpcRefused, encode_refusal, encode_result

T = TypeVar("T")


def params_of(given: Any, kind: type[T], place: str = "") -> T:
    """Raises `Invalid` with the place of what is wrong."""
    if not isinstance(given, dict):
        raise Invalid(place or "params", "an object")
    try:
        return msgspec.convert(fields_of(given), kind, strict=False)
    except msgspec.ValidationError as error:
        found = invalid(error)
        raise Invalid(".".join(filter(None, (place, found.field))), found.reason) from error


def answer_of(echoed: Raw, make: Callable[[], Any]) -> JsonAnswer:
    """The response with a result, or with the error that making it raises."""
    try:
        return JsonAnswer(encode_result(echoed, make()))
    except Exception as error:
        return error_response(echoed, error)


def error_response(echoed: Raw, error: Exception) -> JsonAnswer:
    """An error in the shape of the protocol. Its traceback would keep the request in memory."""
    if not isinstance(error, RpcRefused):
        answer = error_answer(error)
        detail: dict[str, Any] = decode(bytes(answer.body), dict[str, Any])["error"]
        error.__traceback__ = None
        error = error_of(detail, status=answer.status_code, is_read=True)
    return JsonAnswer(encode_refusal(refusal_of(error, echoed)))


def refusal_of(error: RpcRefused, echoed: Raw) -> Refusal:
    return Refusal(code=error.rpc_code, message=str(error), data=error.data, id=echoed)
