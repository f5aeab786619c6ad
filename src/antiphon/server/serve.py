"""`antiphon serve`: runs an instance and its APIs, from start to stop. Only this module handles signals.

The process that holds the lock of the data directory is the primary; the others are standbys and take over. A stop
drains the turns, ends the streams, closes the sockets and the database, and releases the lock, in this order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import structlog

from antiphon.api.http.server import HttpServer, start_server
from antiphon.api.proxy.limits import ProxyLimits
from antiphon.api.zmq.endpoint import open_zmq_endpoint
from antiphon.clock import RandomIds
from antiphon.errors import Invalid, Unavailable
from antiphon.local.descriptors import raise_limit
from antiphon.local.lock import LockFile, check_free, check_no_replica, claim_unless_held, make_data
from antiphon.observe.metrics import METRICS
from antiphon.options import GivenOptions, Options
from antiphon.ports import Bus
from antiphon.server.announcement import announce_primary, local_token, withdraw_announcement
from antiphon.server.lifetime import Ready, collect_seldom, until_stopped
from antiphon.server.nats_agents import open_agents
from antiphon.server.open_instance import open_instance
from antiphon.server.replica import serve_replica
from antiphon.worker.loading import load_agent, load_tools

if TYPE_CHECKING:
    from antiphon.server.standby import Standby

TAKEOVER_RETRY_S = 1.0
"""How long to wait after a failed takeover before the next attempt, in seconds."""

Serve = Callable[[LockFile, "Standby | None"], Awaitable[None]]
"""Runs as the primary with a claimed lock, after a standby if this process was one."""

log = structlog.get_logger(__name__)


async def serve(
    *,
    agent: Any = None,
    data: str | os.PathLike[str],
    on_ready: Callable[[Ready], None] | None = None,
    wrap_bus: Callable[[Bus], Bus] = lambda bus: bus,
    may_stand_by: bool = True,
    proxy_limits: ProxyLimits = ProxyLimits(),
    **options: Unpack[GivenOptions],
) -> None:
    """Run an instance and its APIs until SIGINT or SIGTERM.

    Args:
        agent: An `Agent`, an async generator function, or `file.py:name`; None is the built-in agent.
        data: The data directory; created if it does not exist.
        on_ready: Called when requests are served, and again when a standby has become the primary.
        wrap_bus: Wraps the bus; tests inject faults by it.
        may_stand_by: Become a standby if another process is the primary of `data`.
        proxy_limits: How long a standby waits for its primary; tests pass their own.
        options: The options of the command line, see `options.Options`; None is the default.

    Raises:
        Invalid: An option is not valid, or not safe.
        Unavailable: The port is in use; or the data directory is, and `may_stand_by` is false.
    """
    settings = Options.make(options)
    _check_exposure(settings)
    place = Path(data)
    agent, options["tools"] = _loaded(agent, options.get("tools") or ())
    instance_id = RandomIds().uuid()
    stopping = asyncio.Event()
    _on_signals(stopping)
    raise_limit()
    make_data(place)
    report_ready = partial(_report_ready, on_ready)
    running: dict[str, Any] = {"stopping": stopping, "report_ready": report_ready, "wrap_bus": wrap_bus}
    if settings.store:
        await serve_replica(agent, place, instance_id, options=options, **running)
    else:
        primary: Serve = partial(_serve_primary, agent, options=options, **running)
        if (lock := claim_unless_held(place, instance_id=instance_id)) is not None:
            try:
                await primary(lock, None)
            finally:
                lock.release()
        elif not may_stand_by:
            check_free(place)
        else:
            check_no_replica(place)
            # Imported here because the HTTP client of the proxy takes a tenth of the start of a primary.
            from antiphon.server.standby import open_standby

            any_port = options.get("port") is None
            opening = open_standby(instance_id, place, settings, may_use_any_port=any_port, limits=proxy_limits)
            async with opening as standby:
                report_ready(standby.ready)
                await _stand_by(standby, primary, stopping)
    log.info("server_stopped")


async def _stand_by(standby: Standby, primary: Serve, stopping: asyncio.Event) -> None:
    """Wait for the lock and become the primary, until `stopping` is set. After a failed takeover (a full disk, no
    descriptor left) the lock is released, and this or another standby tries again."""
    while (lock := await standby.wait_lock(stopping)) is not None:
        try:
            await primary(lock, standby)
            return
        except (OSError, Unavailable) as error:
            if standby.app.has_succeeded:
                raise
            log.error("takeover_failed", error=str(error))
            METRICS.unexpected.labels("takeover_failure").inc()
            standby.announce()
        finally:
            lock.release()
        await asyncio.sleep(TAKEOVER_RETRY_S)


async def _serve_primary(
    agent: Any,
    lock: LockFile,
    standby: Standby | None,
    *,
    stopping: asyncio.Event,
    report_ready: Callable[[Ready], None],
    wrap_bus: Callable[[Bus], Bus],
    options: GivenOptions,
) -> None:
    """Run as the primary until `stopping` is set. The HTTP server of a standby is kept."""
    data = lock.data
    async with (
        open_instance(agent=agent, data=data, wrap_bus=wrap_bus, lock=lock, **options) as instance,
        open_zmq_endpoint(instance, instance.asgi, data) as endpoint,
        open_agents(instance) as agents,
    ):
        server: HttpServer | None = None
        try:
            server = standby.server if standby is not None else await start_server(instance.asgi, instance.options)
            token = await local_token(instance, data)
            await instance.serve_at(server.url)
            announce_primary(instance, lock, endpoint, token=token)
            collect_seldom()
            if standby is not None:
                METRICS.role_changes.inc()
                standby.app.succeed(instance.asgi)
            log.info("server_started", url=server.url, instance_id=instance.instance_id, data=str(data))
            report_ready(Ready(instance_id=instance.instance_id, role="primary", url=server.url, token=token))
            await until_stopped(stopping, instance.background, endpoint.task, agents.task)
        finally:
            await agents.leave()
            if standby is None or standby.app.has_succeeded:
                await instance.stop()
                endpoint.publish_shutdown("stopped")
                if server is not None:
                    await server.aclose()
            withdraw_announcement(instance.instance_id, data)


def _loaded(agent: Any, tools: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The agent and the tools, loaded where they are names. A standby finds a mistake at its start, not when it takes
    over."""
    found = load_tools(tools)
    if not isinstance(agent, str):
        return agent, found
    agent, own = load_agent(agent)
    return agent, (*found, *own)


def _report_ready(on_ready: Callable[[Ready], None] | None, ready: Ready) -> None:
    """Call `on_ready`. An error of writing is ignored: the starting process may have closed its pipe."""
    if on_ready is not None:
        with contextlib.suppress(OSError, ValueError):
            on_ready(ready)


def _check_exposure(options: Options) -> None:
    if not options.is_loopback and not (options.behind_proxy or options.tls_cert):
        raise Invalid(
            "--host",
            f"{options.host} is reachable from other machines: give --tls-cert and --tls-key, or --behind-proxy if "
            "a proxy in front of it terminates TLS",
        )
    if bool(options.tls_cert) != bool(options.tls_key):
        raise Invalid("--tls-cert", "requires --tls-key, and the reverse")


def _on_signals(stopping: asyncio.Event) -> None:
    """The first signal drains and stops; a second one of the same kind ends the process at once."""
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        stopping.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
