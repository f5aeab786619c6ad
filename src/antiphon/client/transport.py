"""The clients' use of httpx2: settings, requests, and translation of its exceptions."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import httpx2
import msgspec

from antiphon.client.api_requests import ApiRequest
from antiphon.client.bodies import check_coding
from antiphon.client.errors import AnswerLost, error_of
from antiphon.errors import InstanceMissing, Invalid, PeerError
from antiphon.observe.traces import TRACES

CONNECT_S = 10.0
"""How long to wait for a connection, in seconds."""
KEEPALIVE_S = 20.0
"""How long an idle connection is kept, in seconds: less than the server's 75 s, so that a request is not sent on a
connection that the server is closing."""
IDLE_CONNECTIONS_MAX = 20
"""Maximum number of idle connections."""
SENTENCE_MAX = 200
"""Maximum length of a reason in an error, in characters."""

Verify = ssl.SSLContext | bool


def client_settings(url: str, token: str, *, timeout_s: float) -> dict[str, Any]:
    """The settings of an httpx2 client. Raises `Invalid` for an invalid address or token."""
    headers = {"user-agent": "antiphon-client", "accept-encoding": "identity"}
    if token:
        if not (token.isascii() and token.isprintable()):
            raise Invalid("token", "a token is printable ASCII")
        headers["authorization"] = f"Bearer {token}"
    return {
        "base_url": check_url(url),
        "headers": headers,
        "timeout": httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
        "follow_redirects": False,
    }


def transport_settings(url: str, verify: Verify) -> dict[str, Any]:
    """The settings of its transport. Only https has a certificate to verify."""
    limits = httpx2.Limits(
        max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_S
    )
    return {"limits": limits, "verify": verify if url.startswith("https:") else False}


def check_url(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise Invalid("url", "an address such as http://127.0.0.1:8414 is needed") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid("url", "an address such as http://127.0.0.1:8414 is needed")
    return parsed.copy_with(fragment=None, query=None)


def is_loopback(url: str) -> bool:
    """Whether the address is on this machine: then the environment's proxy is not used."""
    host = check_url(url).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def request_settings(request: ApiRequest[Any]) -> dict[str, Any]:
    headers = dict(request.headers)
    if request.body is not None:
        headers["content-type"] = "application/json"
    if trace := TRACES.current():
        headers["traceparent"] = trace
    return {
        "method": request.method,
        "url": request.path,
        "params": request.query or None,
        "content": request.body,
        "headers": headers,
    }


def stream_settings(request: ApiRequest[Any], silence_s: float) -> dict[str, Any]:
    """As `request_settings`, for a stream: it does not end, but is never silent for `silence_s` seconds."""
    return request_settings(request) | {"timeout": httpx2.Timeout(silence_s, connect=CONNECT_S)}


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Translates httpx2's exceptions: `InstanceMissing` if the connection fails, `AnswerLost` if it is lost later."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise InstanceMissing(f"no instance answers at {url} ({_reason(error)})") from error
    except httpx2.TimeoutException as error:
        raise AnswerLost("the server did not respond in time") from error
    except httpx2.TransportError as error:
        raise AnswerLost from error
    except httpx2.DecodingError as error:
        raise PeerError("The server's response cannot be decoded.") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:SENTENCE_MAX] or "no connection"


def answer_of(response: httpx2.Response, body: bytes) -> Any:
    """The JSON of a response; None: it is empty. Raises the error of an error response."""
    if not response.is_success:
        raise error_of(response.status_code, body)
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError("The server's response is not JSON.") from error


def check_stream(response: httpx2.Response) -> None:
    """Raises `PeerError` unless the response is an uncompressed event stream."""
    check_coding(response)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise PeerError("The server's response is not an event stream.")
