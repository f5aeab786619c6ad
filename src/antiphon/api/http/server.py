"""Serves an ASGI app on its own socket: uvicorn, started from code."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from antiphon.api.http.connection import Connection
from antiphon.api.http.connection_limit import ConnectionLimit
from antiphon.api.http.limits import HttpLimits
from antiphon.errors import AntiphonError, Invalid, Unavailable
from antiphon.local.descriptors import connections_max
from antiphon.options import Options

GRACE_S = 0.4
"""How long uvicorn waits for open requests when it stops, in seconds."""
CLOSE_S = 1.5
"""How long the server may take to stop before its connections are closed, in seconds."""
BACKLOG = 2048
"""Maximum number of connections that wait to be accepted."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers, and without its check ten times a second whether to stop: `stop` does
    it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the headers of all answers
        await self._stopped.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """An ASGI app that is being served at `url`."""

    def __init__(self, server: Server, task: asyncio.Task[None], listener: socket.socket, url: str) -> None:
        self.url = url
        self.task = task
        self._server = server
        self._listener = listener

    async def aclose(self) -> None:
        """Accept no more requests, wait for the open ones, and close the connections. A second call does nothing."""
        self._server.stop()
        done, _ = await asyncio.wait({self.task}, timeout=CLOSE_S)
        if not done:
            self._server.force_exit = True
            await asyncio.wait({self.task}, timeout=CLOSE_S)
        self._listener.close()


async def start_anywhere(
    app: ASGIApp, options: Options, *, may_use_any_port: bool, descriptors_each: int = 1
) -> HttpServer:
    """As `start_server`. `may_use_any_port`: if the default port is in use, use any other."""
    try:
        return await start_server(app, options, descriptors_each=descriptors_each)
    except Unavailable:
        if not may_use_any_port:
            raise
        return await start_server(app, options.with_port(0), descriptors_each=descriptors_each)


async def start_server(
    app: ASGIApp,
    options: Options,
    *,
    descriptors_each: int = 1,
    limits: HttpLimits = HttpLimits(),
) -> HttpServer:
    """Serve `app` at the address in `options`; port 0 is any free port.

    Args:
        app: The ASGI app.
        options: Host, port, TLS files, and the maximum number of streams.
        descriptors_each: How many descriptors a connection needs; a standby opens one to the primary for each.
        limits: How long connections may be idle.

    Raises:
        Unavailable: The port is in use.
        Invalid: The certificate or its key cannot be used.
    """
    listener = _listen(options)
    limit = ConnectionLimit(connections_max(descriptors_each=descriptors_each, watchers_max=options.watchers_max))
    config = uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], partial(Connection, limit=limit, head_s=limits.head_s)),
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=cast(int, GRACE_S),  # an int by its type, but any number of seconds
        timeout_keep_alive=cast(int, limits.keep_alive_s),
        ssl_certfile=options.tls_cert or None,
        ssl_keyfile=options.tls_key or None,
        proxy_headers=options.behind_proxy,
        backlog=BACKLOG,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.001)
    if task.done():
        listener.close()
        raise _not_started(task.exception()) from task.exception()
    host, port = listener.getsockname()[:2]
    scheme = "https" if options.tls_cert else "http"
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return HttpServer(server, task, listener, f"{scheme}://{shown}:{port}")


def _not_started(error: BaseException | None) -> AntiphonError:
    if isinstance(error, OSError):  # an ssl.SSLError is one
        return Invalid("--tls-cert", f"the certificate and its key cannot be used ({error.strerror or error})")
    return Unavailable(f"the HTTP server could not be started ({error})")


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio sets no TCP_NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"port {options.port} on {options.host} cannot be used ({error.strerror}); choose another with --port, "
            "or --port 0 for any"
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
