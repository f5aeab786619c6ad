"""Reaching an instance over ZeroMQ: that of the data directory, or any that is announced on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.cli.verb import DATA
from antiphon.errors import InstanceMissing

if TYPE_CHECKING:
    from antiphon.client.zmq import RemoteInstance

PING_S = 2.0


def endpoints_of(data: Path | None) -> tuple[str, str]:
    """Where the instance of a data directory publishes and answers. Raises `InstanceMissing`."""
    from antiphon.lockfile import is_held, read_instance_file

    folder = data or Path(DATA)
    found = read_instance_file(folder)
    if found is None or not is_held(folder) or not found.pub_endpoint or not found.rpc_endpoint:
        option = "" if data is None else f" --data {data}"
        raise InstanceMissing(f"no instance runs on {folder}; start one with `antiphon serve{option}`")
    return found.pub_endpoint, found.rpc_endpoint


def open_remote(data: Path | None, *, timeout_s: float = PING_S) -> RemoteInstance:
    """The instance of a data directory; use it in an `async with`."""
    from antiphon.client.zmq import RemoteInstance

    pub, rpc = endpoints_of(data)
    return RemoteInstance(pub, rpc, timeout_s=timeout_s)
