"""`antiphon serve`: an instance and its HTTP door, from start to the last good-bye. Signals are handled here alone.

Closing order: drain, good-bye to the streams, the sockets, the database, the lock.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from antiphon import __version__
from antiphon.app import Instance, open_instance
from antiphon.config import Options
from antiphon.discovery import Announcement, announce, withdraw
from antiphon.edge.instance.door import InstanceDoor, open_instance_door
from antiphon.edge.server import open_server
from antiphon.errors import Invalid, Unavailable
from antiphon.lockfile import TOKEN_NAME, InstanceFile, remove_instance_file, write_instance_file, write_private
from antiphon.ports import Bus
from antiphon.wire.gotime import format_time_us

YOUNG_MAX = 20_000
"""So many new objects that could form cycles before the garbage collector looks at them."""

log = structlog.get_logger(__name__)


async def serve(
    *,
    agent: Any = None,
    data: str | os.PathLike[str],
    on_ready: Callable[[Instance, str, str], None] | None = None,
    make_bus: Callable[[], Bus] | None = None,
    **options: Any,
) -> None:
    """Run an instance and its HTTP door until SIGINT or SIGTERM. `on_ready(instance, url, token)` is called when
    requests are answered. Raises `Invalid` for options that are not safe, `Unavailable` if the port or the data
    directory is taken."""
    settings = Options.make(options)
    _check_exposure(settings)
    stopping = asyncio.Event()
    _on_signals(stopping)
    bus = make_bus() if make_bus is not None else None
    async with (
        open_instance(agent=agent, data=data, bus=bus, **options) as instance,
        open_instance_door(instance, Path(data)) as door,
    ):
        async with open_server(instance) as url:
            token = await _local_token(instance, Path(data))
            _collect_seldom()
            try:
                _tell_where(instance, door, Path(data), url, token)
                log.info("ready", url=url, instance_id=instance.instance_id, data=str(data))
                if on_ready is not None:
                    on_ready(instance, url, token)
                await _until_stopped(stopping, instance.background, door.task)
            finally:
                remove_instance_file(Path(data), instance.instance_id)
                withdraw(instance.instance_id)
                await instance.stop()
        log.info("stopped")


def _collect_seldom() -> None:
    """What there is at the start stays; values are no garbage of cycles. So the collector has little to find, and
    looking for it at every 700th object cost a sixth of a busy server's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)


def _check_exposure(options: Options) -> None:
    if not options.is_loopback and not (options.behind_proxy or options.tls_cert):
        raise Invalid(
            "--host",
            f"{options.host} is reachable from other machines: give --tls-cert and --tls-key, or --behind-proxy if "
            "a proxy in front of it speaks TLS",
        )
    if bool(options.tls_cert) != bool(options.tls_key):
        raise Invalid("--tls-cert", "goes together with --tls-key")


def _on_signals(stopping: asyncio.Event) -> None:
    """The first signal drains; a second one of the same ends the process at once."""
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        stopping.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


async def _until_stopped(stopping: asyncio.Event, *running: asyncio.Task[None] | None) -> None:
    """Until a signal; a background task that dies takes the whole down, loudly."""
    waiting = asyncio.create_task(stopping.wait())
    tasks = [task for task in running if task is not None]
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _local_token(instance: Instance, data: Path) -> str:
    """The data directory's own admin token: made once, the same after every restart. One that was revoked, or whose
    file was lost or emptied, is replaced."""
    path = data / TOKEN_NAME
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        secret = ""
    if not secret or not await instance.tokens.ensure(instance.owner_id, secret):
        secret = instance.ids.secret()
        await instance.tokens.add(instance.owner_id, secret)
        write_private(path, secret.encode() + b"\n")
    return secret


def _tell_where(instance: Instance, door: InstanceDoor, data: Path, url: str, token: str) -> None:
    """Write down where this instance is reached: lock file, instance file and announcement. The last is a kindness:
    where it cannot be made the instance runs all the same."""
    door.calls.http_url = url
    started_at = format_time_us(instance.started_at)
    assert instance.lock is not None, "what is served has a data directory"
    instance.lock.write(
        {
            "instance_id": instance.instance_id,
            "pid": os.getpid(),
            "pub_port": _port_of(door.pub_endpoint),
            "rpc_port": _port_of(door.rpc_endpoint),
            "pub_endpoint": door.pub_endpoint,
            "rpc_endpoint": door.rpc_endpoint,
            "started_at": started_at,
        }
    )
    write_instance_file(
        data,
        InstanceFile(
            instance_id=instance.instance_id,
            pid=os.getpid(),
            role="primary",
            version=__version__,
            http_url=url,
            token=token,
            started_at=started_at,
            pub_endpoint=door.pub_endpoint,
            rpc_endpoint=door.rpc_endpoint,
        ),
    )
    announcement = Announcement(
        instance_id=instance.instance_id,
        pid=os.getpid(),
        role="primary",
        version=__version__,
        project_id=door.project_id,
        data=str(data.resolve()),
        http_url=url,
        started_at=started_at,
        pub_endpoint=door.pub_endpoint,
        rpc_endpoint=door.rpc_endpoint,
    )
    try:
        announce(announcement)
    except (OSError, Unavailable) as error:
        log.warning("not_announced", error=str(error))


def _port_of(endpoint: str) -> int:
    return int(endpoint.rsplit(":", 1)[1]) if endpoint.startswith("tcp://") else 0
