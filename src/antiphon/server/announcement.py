"""Publishes where an instance is reached: lock file, instance file, announcement and local token."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from antiphon.api.protocols import protocols_without
from antiphon.api.zmq.endpoint import ZmqEndpoint
from antiphon.clock import SystemClock
from antiphon.errors import Unavailable
from antiphon.instance import Instance
from antiphon.local.discovery import Announcement, announce, withdraw
from antiphon.local.lock import (
    TOKEN_NAME,
    InstanceFile,
    LockFile,
    remove_instance_file,
    write_instance_file,
    write_private,
)
from antiphon.version import __version__
from antiphon.wire.gotime import format_time_us

log = structlog.get_logger(__name__)


async def local_token(instance: Instance, data: Path) -> str:
    """The admin token of the data directory. It is created once and stays valid after restarts. A new one replaces it
    if it was revoked, or if its file was lost or is empty."""
    secret = read_token(data)
    if not secret or not await instance.tokens.ensure(instance.owner_id, secret):
        secret = instance.ids.secret()
        await instance.tokens.add(instance.owner_id, secret)
        write_private(data / TOKEN_NAME, secret.encode() + b"\n")
    return secret


def read_token(data: Path) -> str:
    """The admin token of the data directory; empty if there is none yet."""
    try:
        return (data / TOKEN_NAME).read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def announce_primary(instance: Instance, lock: LockFile, endpoint: ZmqEndpoint, *, token: str) -> None:
    """Announce an instance that holds the lock of its data directory, as primary or as replica."""
    url = instance.http_url
    data = lock.data
    keys = str(Path(instance.options.keys).resolve()) if instance.options.keys else ""
    started_at = format_time_us(instance.started_at)
    lock.write(
        {
            "instance_id": instance.instance_id,
            "pid": os.getpid(),
            "pub_port": _port_of(endpoint.pub_endpoint),
            "rpc_port": _port_of(endpoint.rpc_endpoint),
            "pub_endpoint": endpoint.pub_endpoint,
            "rpc_endpoint": endpoint.rpc_endpoint,
            "started_at": started_at,
        }
    )
    write_instance_file(
        data,
        InstanceFile(
            instance_id=instance.instance_id,
            pid=os.getpid(),
            role=instance.role,
            version=__version__,
            http_url=url,
            token=token,
            started_at=started_at,
            pub_endpoint=endpoint.pub_endpoint,
            rpc_endpoint=endpoint.rpc_endpoint,
            keys=keys or None,
        ),
    )
    _announce(
        Announcement(
            instance_id=instance.instance_id,
            pid=os.getpid(),
            role=instance.role,
            version=__version__,
            project_id=endpoint.project_id,
            data=str(data.resolve()),
            http_url=url,
            started_at=started_at,
            pub_endpoint=endpoint.pub_endpoint,
            rpc_endpoint=endpoint.rpc_endpoint,
            keys=keys,
            apis=tuple(dict.fromkeys(protocol.name for protocol in protocols_without(instance.options.no_api))),
        )
    )


def announce_without_sockets(instance_id: str, data: Path, *, role: str, url: str) -> None:
    """Announce a standby, or a replica that shares its data directory with another one."""
    _announce(
        Announcement(
            instance_id=instance_id,
            pid=os.getpid(),
            role=role,
            version=__version__,
            project_id=str(data.resolve().parent),
            data=str(data.resolve()),
            http_url=url,
            started_at=format_time_us(SystemClock().now_us()),
        )
    )


def withdraw_announcement(instance_id: str, data: Path) -> None:
    """Remove the instance file and the announcement."""
    remove_instance_file(data, instance_id)
    withdraw(instance_id)


def _announce(announcement: Announcement) -> None:
    """Announce on this machine if possible. The instance runs without, too."""
    try:
        announce(announcement)
    except (OSError, Unavailable) as error:
        log.warning("announcement_failed", error=str(error))


def _port_of(endpoint: str) -> int:
    return int(endpoint.rsplit(":", 1)[1]) if endpoint.startswith("tcp://") else 0
