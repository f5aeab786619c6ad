"""Connections to NATS: the URL, and a client that connects, is closed, and reports both.

The client library does not reconnect by itself here: it stops for good after some errors of the server, waits forever
for a frozen server, and does not report missed messages. Its users open a new connection instead.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import nats.errors
from nats.aio.client import Client

from antiphon.bus.networked import BusConnectionLost, ignore_outcome
from antiphon.errors import Invalid

CONNECT_S = 2
"""How long the library may take to connect, in seconds."""
CANCEL_AGAIN_S = 0.5
"""How long a cancelled task may take to end before it is cancelled again, in seconds."""
SCHEMES = ("nats", "tls", "ws", "wss")
OPTIONS = ("creds", "nkey", "tls_ca", "tls_cert", "tls_key", "tls_hostname", "tls_first")

T = TypeVar("T")


def connect_options(url: str) -> dict[str, Any]:
    """The client's options, from `nats://[user:password@|token@]host[:port][,host…][?option=…]`.

    Options: `creds` (a credentials file), `nkey` (a seed file), `tls_ca`, `tls_cert`, `tls_key` (PEM files),
    `tls_hostname`, `tls_first=1`. Raises `Invalid`.
    """
    parts = urlsplit(url)
    login, _, host_list = parts.netloc.rpartition("@")
    hosts = [host for host in host_list.split(",") if host]
    is_whole = bool(hosts) and parts.path in ("", "/")  # the slash of an unescaped password would begin a path
    if parts.scheme not in SCHEMES or not is_whole or not all(map(_is_host, hosts)):
        raise Invalid("bus", "a NATS server is nats://host:port or tls://host:port")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in OPTIONS:
            raise Invalid("bus", f"there is no option {name!r}; there are {', '.join(OPTIONS)}")
    options: dict[str, Any] = {"servers": [f"{parts.scheme}://{host}" for host in hosts]}
    user, has_password, password = login.partition(":")
    if has_password:
        options |= {"user": unquote(user), "password": unquote(password)}
    elif user:
        options["token"] = unquote(user)
    if given.get("creds"):
        options["user_credentials"] = _file(given["creds"])
    if given.get("nkey"):
        options["nkeys_seed"] = _file(given["nkey"])
    if parts.scheme in ("tls", "wss") or any(name.startswith("tls_") for name in given):
        options["tls"] = _tls_context(given)
        options["tls_handshake_first"] = given.get("tls_first", "") in ("1", "true")
        if given.get("tls_hostname"):
            options["tls_hostname"] = given["tls_hostname"]
    return options


def _is_host(host: str) -> bool:
    """Whether it is HOST or HOST:PORT. The client would retry an invalid one forever."""
    try:
        parts = urlsplit(f"//{host}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _tls_context(given: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_file(given["tls_ca"]) if given.get("tls_ca") else None)
        if given.get("tls_cert"):
            key = _file(given["tls_key"]) if given.get("tls_key") else None
            context.load_cert_chain(_file(given["tls_cert"]), key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("bus", f"its TLS files cannot be used: {error}") from error
    return context


def _file(path: str) -> str:
    if not Path(path).is_file():
        raise Invalid("bus", f"there is no file {path}")
    return path


async def connect_client(
    client: Client,
    options: dict[str, Any],
    *,
    on_error: Callable[[Exception], Awaitable[None]],
    on_closed: Callable[[], Awaitable[None]],
    close_s: float,
) -> None:
    """Connect once. `on_closed` is called when the connection is lost or closed. Raises `BusConnectionLost`."""
    try:
        await client.connect(
            **options,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,
            error_cb=on_error,
            closed_cb=on_closed,
        )
    except asyncio.CancelledError:
        await close_client(client, close_s=close_s)
        raise
    except Exception as error:
        await close_client(client, close_s=close_s)
        raise BusConnectionLost(sentence_of(client.last_error or error)) from error


async def close_client(client: Client, *, close_s: float) -> None:
    """Close, and abort the socket after `close_s`: the library waits forever for a frozen server."""
    closing = asyncio.ensure_future(client.close())
    closing.add_done_callback(ignore_outcome)
    await asyncio.wait({closing}, timeout=close_s)
    writer = getattr(client._transport, "_bare_io_writer", None)
    if writer is not None:
        writer.transport.abort()
    closing.cancel()


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], *, again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancel tasks that call the library, until they have ended: it ignores a cancellation while it flushes."""
    pending = set(tasks)
    for task in pending:
        task.add_done_callback(ignore_outcome)
    while pending := {task for task in pending if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again_s)


async def request(client: Client, call: Awaitable[T]) -> T:
    """The result of a call of the library. Raises `BusConnectionLost` for any of its errors."""
    try:
        return await call
    except (nats.errors.Error, OSError, AssertionError) as error:
        raise BusConnectionLost(sentence_of(client.last_error or error)) from error


def sentence_of(error: BaseException) -> str:
    """Without the URL, which may hold a password."""
    return f"NATS: {str(error).removeprefix('nats: ') or 'the connection failed without a reason'}"[:200]
